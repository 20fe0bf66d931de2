package verify

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	core "k8s.io/api/core/v1"
)

// running is a pod of the chart in the image, as far as that goes without a cluster: its files, environment,
// arguments and probes are those that were rendered.
type running struct {
	*container
	pod  core.PodTemplateSpec
	data string // of the ConfigMap
	port string
}

const nowhere = `---
image: {repository: r}
secrets: {existingSecret: retryd}
config:
  connections:
    - name: prod
      endpoint: http://127.0.0.1:9
      region: cn-north-4
      project_id: 0123456789abcdef0123456789abcdef
      auth: {token: {file: /etc/retryd-secrets/token}}
  policies:
    - {name: upgrades, schedule: "@daily"}
`

// runPod starts the pod of the chart with values, with Secrets by their names.
func runPod(t *testing.T, values string, secrets map[string]map[string]string) *running {
	t.Helper()
	p := &running{container: theContainer(t), port: freePort(t)}
	o, err := render(t, nowhere+"service: {port: "+p.port+"}\n---\n"+values)
	require.NoError(t, err)
	p.pod = podOf(t, o)
	p.env = nil
	volumes := map[string]string{}
	for _, v := range p.pod.Spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			volumes[v.Name] = volume(t, get[core.ConfigMap](t, o, "ConfigMap/"+v.ConfigMap.Name).Data, 0o644)
			p.data = volumes[v.Name]
		case v.Secret != nil:
			require.Contains(t, secrets, v.Secret.SecretName)
			volumes[v.Name] = volume(t, secrets[v.Secret.SecretName], os.FileMode(*v.Secret.DefaultMode))
		}
	}
	c := p.pod.Spec.Containers[0]
	for _, m := range c.VolumeMounts {
		if m.Name != "state" {
			p.mounts[m.MountPath] = volumes[m.Name]
		}
	}
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			p.env = append(p.env, e.Name+"="+e.Value)
		case e.ValueFrom.SecretKeyRef != nil:
			p.env = append(p.env, e.Name+"="+secrets[e.ValueFrom.SecretKeyRef.Name][e.ValueFrom.SecretKeyRef.Key])
		default:
			p.env = append(p.env, fmt.Sprintf("%s=%d", e.Name, c.Resources.Limits.Memory().Value()))
		}
	}
	p.start(t, append(c.Args, "--auto-reload-every", "200ms")...) // so that nobody waits
	return p
}

// volume lays files as the kubelet does: links to links, which a change swaps in one step.
func volume(t *testing.T, data map[string]string, mode os.FileMode) string {
	t.Helper()
	folder := folderOf(t, 0)
	require.NoError(t, os.Chmod(folder, 0o755))
	swap(t, folder, "..1", data, mode)
	for name := range data {
		require.NoError(t, os.Symlink("..data/"+name, filepath.Join(folder, name)))
	}
	return folder
}

func swap(t *testing.T, folder, version string, data map[string]string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(folder, version), 0o755))
	for name, text := range data {
		path := filepath.Join(folder, version, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chown(path, 0, 65532)) // fsGroup
		require.NoError(t, os.Chmod(path, mode))
	}
	require.NoError(t, os.Symlink(version, filepath.Join(folder, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")))
}

// passes does what the kubelet does with a probe.
func (p *running) passes(t *testing.T, probe *core.Probe) bool {
	t.Helper()
	if probe.Exec != nil {
		require.Equal(t, p.config.Entrypoint[0], probe.Exec.Command[0])
		_, code := p.run(t, probe.Exec.Command[1:]...)
		return code == 0
	}
	status, _ := p.ask(t, strings.ToLower(string(probe.HTTPGet.Scheme)), probe.HTTPGet.Path)
	return status == http.StatusOK
}

func (p *running) ask(t *testing.T, scheme, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(scheme + "://127.0.0.1:" + p.port + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func (p *running) becomesReady(t *testing.T) {
	t.Helper()
	c := p.pod.Spec.Containers[0]
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		require.Eventually(t, func() bool { return p.passes(t, probe) }, 15*time.Second, 50*time.Millisecond)
	}
}

func TestAChangedConfigMapIsTakenOverAndABrokenOneIsNot(t *testing.T) {
	p := runPod(t, "{}", map[string]map[string]string{"retryd": {"token": "none"}})
	p.becomesReady(t)
	good := string(read(t, p.data, "retryd.yaml"))
	metric := func(want string) func() bool {
		return func() bool {
			_, page := p.ask(t, "http", "/metrics")
			return strings.Contains(page, want)
		}
	}
	swap(t, p.data, "..2", map[string]string{"retryd.yaml": good + "polices: []\n"}, 0o644)
	require.Eventually(t, metric("retryd_config_last_reload_successful 0"), 10*time.Second, 50*time.Millisecond)
	require.True(t, p.passes(t, p.pod.Spec.Containers[0].LivenessProbe), "a mistake is no outage")
	swap(t, p.data, "..3", map[string]string{"retryd.yaml": strings.ReplaceAll(good, "upgrades", "nightly")}, 0o644)
	require.Eventually(t, metric(`policy="nightly"`), 10*time.Second, 50*time.Millisecond)
}

func TestProbesWorkBehindTLSAndPasswords(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	hash, err := bcrypt.GenerateFromPassword([]byte("long and unlikely"), bcrypt.MinCost)
	require.NoError(t, err)
	const withTLS = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"
	web := map[string]string{
		"web.yaml": withTLS + "basic_auth_users: {probe: " + string(hash) + ", ann: " + string(hash) + "}\n",
		"tls.crt":  certificate, "ca.crt": certificate,
		"tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
	secrets := map[string]map[string]string{
		"retryd": {"token": "none"}, "retryd-web": web, "retryd-probe": {"username": "probe", "password": "long and unlikely"},
	}
	t.Run("passwords", func(t *testing.T) {
		p := runPod(t, guarded, secrets)
		p.becomesReady(t)
		status, _ := p.ask(t, "https", "/metrics")
		require.Equal(t, http.StatusUnauthorized, status)
		swap(t, p.data, "..2", map[string]string{"retryd.yaml": "connections: ["}, 0o644)
		require.True(t, p.passes(t, p.pod.Spec.Containers[0].LivenessProbe), "a mistake is no outage")
	})
	t.Run("TLS alone", func(t *testing.T) {
		web["web.yaml"] = withTLS
		runPod(t, "web: {existingSecret: retryd-web}\n", secrets).becomesReady(t)
	})
}
