package verify

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// compose reads compose.yaml with the code that docker compose reads it with, by its schema.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "deploy/container/compose.yaml")}, cli.WithResolvedPaths(true))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestComposeIsWholeAndClosed(t *testing.T) {
	project := compose(t)
	require.Len(t, project.Services, 3)
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$|^retryd:local$`)
	for name, s := range project.Services {
		require.Regexp(t, pinned, s.Image, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
		require.NotEmpty(t, s.Restart, name)
		for _, port := range s.Ports {
			ip, err := netip.ParseAddr(port.HostIP)
			require.NoError(t, err, "%s: port %s is open to the network", name, port.Published)
			require.True(t, ip.IsLoopback(), "%s: port %s is open to the network", name, port.Published)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				_, err := os.Stat(v.Source)
				require.NoError(t, err, name)
				require.True(t, v.ReadOnly, "%s %s", name, v.Source)
			}
		}
	}
	retryd := project.Services["retryd"]
	require.True(t, retryd.ReadOnly)
	require.GreaterOrEqual(t, time.Duration(*retryd.StopGracePeriod), 15*time.Second)
}

// Docker mounts files. What comes from elsewhere it would have to write into the container, and it refuses to
// where the root is read-only (docker/compose issue 12031).
func TestComposeWritesNothingIntoAReadOnlyRoot(t *testing.T) {
	project := compose(t)
	for name, s := range project.Services {
		if !s.ReadOnly {
			continue
		}
		for _, c := range s.Configs {
			require.NotEmpty(t, project.Configs[c.Source].File, "%s: config %s", name, c.Source)
		}
		for _, c := range s.Secrets {
			require.NotEmpty(t, project.Secrets[c.Source].File, "%s: secret %s", name, c.Source)
		}
	}
	require.True(t, project.Services["prometheus"].ReadOnly)
}

// What compose.yaml writes into the containers itself has to fit what it mounts there.
func TestComposeLeadsPrometheusAndGrafanaToEachOther(t *testing.T) {
	project := compose(t)
	var prometheus struct {
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `json:"job_name"`
			StaticConfigs []struct{ Targets []string }
		} `json:"scrape_configs"`
	}
	require.NoError(t, yaml.Unmarshal(read(t, project.Configs["prometheus"].File), &prometheus))
	require.Equal(t, "retryd", prometheus.ScrapeConfigs[0].JobName, "the alerts look for it")
	for _, v := range project.Services["prometheus"].Volumes {
		if v.Type == types.VolumeTypeBind {
			matched, err := filepath.Match(prometheus.RuleFiles[0], v.Target)
			require.NoError(t, err)
			require.True(t, matched, v.Target)
		}
	}
	var provider struct {
		Providers []struct{ Options struct{ Path string } }
	}
	require.NoError(t, yaml.Unmarshal([]byte(project.Configs["dashboards"].Content), &provider))
	for _, v := range project.Services["grafana"].Volumes {
		if filepath.Ext(v.Target) == ".json" {
			require.True(t, strings.HasPrefix(v.Target, provider.Providers[0].Options.Path+"/"), "%s is not in %s", v.Target, provider.Providers[0].Options.Path)
		}
	}
}

func TestPrometheusTakesWhatComposeGivesIt(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	folder := t.TempDir()
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), read(t, root, "deploy/prometheus", name), 0o644))
	}
	content := strings.ReplaceAll(string(read(t, compose(t).Configs["prometheus"].File)), "/etc/prometheus/retryd", folder)
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	text, err := exec.Command("promtool", "check", "config", path).CombinedOutput()
	require.NoError(t, err, "%s", text)
	require.Contains(t, string(text), "2 rule files found")
}
