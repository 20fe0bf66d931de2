package grafana_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/buildtest"
	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// The world that the queries are asked about: a fleet in which everything happens that a panel shows, the real
// binary that sweeps it, and people who pause, sweep and retry by hand.

const (
	account, person, secret = "example-account", "example-user", "example-password"
	badNews                 = "Firmware update failed"
	offline                 = "Device Abnormal is not online"
)

func failing(id, message string, recoverAt int) emulator.Device {
	return emulator.Device{ID: id, Status: iotda.SubtaskFail, Fate: emulator.Fate{RecoverAt: recoverAt, Message: message}}
}

// platform is an IoTDA with one task, and its address. Once the campaigns have begun it throttles twice, since each
// time lowers the rate for long, and now and then contradicts itself.
func platform(t *testing.T) (*emulator.Emulator, string) {
	t.Helper()
	e := emulator.New(emulator.Options{
		ProjectID: strings.Repeat("a", 32), Region: "cn-north-4", Upgrade: 300 * time.Millisecond, Latency: 5 * time.Millisecond,
		Users: []emulator.User{{Domain: account, Name: person, Password: secret}}, TokenLife: 8 * time.Second,
	})
	endless := failing("lamp-9", offline, 1)
	endless.Fate.Upgrade = time.Hour
	_, err := e.AddTask(emulator.Task{Name: "fw-0", Type: iotda.FirmwareUpgrade, Created: time.Now(), Devices: []emulator.Device{endless}})
	require.NoError(t, err)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return e, server.URL
}

// campaigns begins the campaigns that the policies below are for.
func campaigns(t *testing.T, e *emulator.Emulator) {
	t.Helper()
	var reads atomic.Int32
	e.SetFault(func(c emulator.Call) emulator.Fault {
		if c.Op != "ShowBatchTask" {
			return ""
		}
		switch n := reads.Add(1); {
		case n == 5 || n == 25:
			return emulator.FaultThrottled
		case rand.IntN(6) == 0: // by chance: every so many falls into step with the order of reads, and always hits one task
			return emulator.FaultDoubleRow
		}
		return ""
	})
	for _, c := range []emulator.Task{
		{Name: "fw-1", Type: iotda.FirmwareUpgrade, Devices: []emulator.Device{
			failing("lamp-1", offline, 1), failing("lamp-2", offline, 2), failing("lamp-3", offline, 0), failing("lamp-4", "Unsupported package type", 0),
		}},
		{Name: "bad-1", Type: iotda.FirmwareUpgrade, Devices: []emulator.Device{failing("valve-1", badNews, 0), failing("valve-2", badNews, 0)}},
		{Name: "held-1", Type: iotda.FirmwareUpgrade, Devices: []emulator.Device{failing("pump-1", offline, 1)}},
		{Name: "asks-1", Type: iotda.SoftwareUpgrade, Devices: []emulator.Device{failing("meter-1", offline, 1), failing("meter-2", offline, 1)}},
		{Name: "whole-1", Type: iotda.SoftwareUpgrade, Devices: []emulator.Device{failing("gate-1", offline, 1)}},
	} {
		c.Created = time.Now()
		_, err := e.AddTask(c)
		require.NoError(t, err)
	}
}

const configuration = `
server: {listen: "LISTEN", socket: retryd.sock}
connections:
  - name: site
    endpoint: ENDPOINT
    region: cn-north-4
    project_id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    auth: {iam: {domain: example-account, user: example-user, password: example-password, endpoint: ENDPOINT}}
    requests_per_second: 50
  - name: away
    endpoint: AWAY
    region: cn-north-4
    project_id: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    auth: {token: {value: a-token}}
    backoff: {initial: 100ms, max_elapsed: 200ms}
defaults:
  policy:
    schedule: "@every 1s"
    attempts: {max: 2, settle: 0s, backoff: {initial: 500ms, multiplier: 1, max: 500ms}}
policies:
  - {name: upgrades, connections: [site], tasks: {names: ["fw-.*"]}, halt: off}
  - {name: halts, connections: [site], tasks: {names: ["bad-.*"]}, attempts: {max: 9}, halt: {failure_ratio: 0.5, min_outcomes: 1}}
  - {name: held, connections: [site], tasks: {names: ["held-.*"]}}
  - {name: asks, connections: [site], mode: approve, tasks: {names: ["asks-.*"]}}
  - {name: whole, connections: [site], targets: {mode: all, statuses: [Fail, FailWaitRetry, Stopped]}, tasks: {names: ["whole-.*"]}}
  - {name: elsewhere, connections: [away]}
notify:
  - {name: own, url: "HEARD", format: json, batch: 0s}
  - {name: deaf, url: "DEAF", format: json, batch: 0s}
`

// daemonAt is a retryd that runs, its configuration, and the platform that it looks after.
type daemonAt struct {
	binary, config, address string
	platform                *emulator.Emulator
}

// start builds retryd and runs it until the test ends.
func start(t *testing.T) daemonAt {
	t.Helper()
	folder := t.TempDir()
	binary, err := buildtest.Retryd(t.Context(), folder)
	require.NoError(t, err)
	d := daemonAt{binary: binary, config: filepath.Join(folder, "retryd.yaml"), address: freeAddress(t)}
	answers := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		return server.URL
	}
	e, endpoint := platform(t)
	d.platform = e
	text := strings.NewReplacer("LISTEN", d.address, "ENDPOINT", endpoint, "AWAY", answers(http.StatusServiceUnavailable),
		"HEARD", answers(http.StatusOK), "DEAF", answers(http.StatusInternalServerError)).Replace(configuration)
	require.NoError(t, os.WriteFile(d.config, []byte(text), 0o600))
	d.does(t, "sweep", "upgrades", "--new-ledger") // an attempt that is open when the daemon starts
	run(t, "http://"+d.address+"/-/ready", d.binary, "-c", d.config, "run")
	return d
}

// does runs a command of retryd.
func (d daemonAt) does(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, d.binary, append([]string{"-c", d.config}, args...)...).CombinedOutput()
	require.NoError(t, err, "retryd %s: %s", strings.Join(args, " "), out)
}

// run runs a program until the test ends, and waits until it answers.
func run(t *testing.T, ready, name string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &said, &said
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), tail(said.String(), 4000))
		}
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get(ready)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond, "%s is not ready", filepath.Base(name))
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// freeAddress gives an address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// scraper starts a Prometheus that reads the daemon's metrics and its own each second, and gives its address.
func scraper(t *testing.T, daemon string, features ...string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("the dashboards' queries are not asked: install Prometheus (Debian: apt-get install prometheus)")
	}
	folder, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(folder, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - {job_name: retryd, static_configs: [{targets: [%q]}]}
  - {job_name: other, static_configs: [{targets: [%q]}]}
`, daemon, address), 0o600))
	args := []string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(folder, "data"), "--web.listen-address=" + address}
	for _, f := range features {
		args = append(args, "--enable-feature="+f)
	}
	run(t, "http://"+address+"/-/ready", program, args...)
	return "http://" + address
}
