package prometheus_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// program finds the first of the names, or leaves the test out.
func program(t *testing.T, packaged string, names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("without %s this is not tried (Debian: apt-get install %s)", names[0], packaged)
	return ""
}

func TestPromtoolTakesTheConfigurationAndTheRules(t *testing.T) {
	promtool := program(t, "prometheus", "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yaml", "alerts.yaml"}, {"check", "config", "prometheus.yaml"}} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

func TestAmtoolTakesTheConfiguration(t *testing.T) {
	out, err := exec.Command(program(t, "prometheus-alertmanager", "amtool"), "check-config", "alertmanager.yaml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestEachSceneComesOutAsItSays runs them all: that each alert has its two is in sides_test.go.
func TestEachSceneComesOutAsItSays(t *testing.T) {
	t.Parallel()
	promtool := program(t, "prometheus", "promtool")
	files, err := filepath.Glob("*_test.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

func TestMakeAlertsWritesLinksThatOpen(t *testing.T) {
	folder := t.TempDir()
	run := func(args ...string) (string, error) {
		out, err := exec.Command("make", append([]string{"-C", "../..", "--no-print-directory", "alerts", "ALERTS_DIR=" + folder}, args...)...).CombinedOutput()
		return string(out), err
	}
	out, err := run("RUNBOOKS=")
	require.Error(t, err, out)
	require.Contains(t, out, "RUNBOOKS=https://")
	out, err = run("RUNBOOKS=https://wiki.example.com/retryd/")
	require.NoError(t, err, out)
	require.Equal(t, rules(t, "rules.yaml"), rules(t, filepath.Join(folder, "rules.yaml")))
	for _, a := range rules(t, filepath.Join(folder, "alerts.yaml")) {
		require.Equal(t, "https://wiki.example.com/retryd/"+a.Alert+".md", a.Annotations["runbook_url"])
	}
}
