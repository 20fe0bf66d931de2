package prometheus_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/buildtest"
)

// soon is how long the machine may take for one step, when it is busy with other tests.
const soon = 90 * time.Second

// TestAnAlertReachesWhoeverIsToBeTold runs the real programs: an emulated platform goes away, and the
// pager is told so by way of retryd, Prometheus with the rules and Alertmanager; and again when it is back.
// Only durations are shortened, a minute to a second. This Prometheus ingests native histograms, which
// promtool's tests cannot write.
func TestAnAlertReachesWhoeverIsToBeTold(t *testing.T) {
	t.Parallel()
	prometheus := program(t, "prometheus", "prometheus")
	alertmanager := program(t, "prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
	folder := t.TempDir()
	retryd, err := buildtest.Retryd(t.Context(), folder)
	require.NoError(t, err)
	told := listen(t)

	platform, daemon, prom, am := address(t), address(t), address(t), address(t)
	write(t, folder, "alertmanager.yaml", replaced(t, "alertmanager.yaml", "127.0.0.1:9095", told.address, "group_wait: 30s", "group_wait: 0s", "group_interval: 5m", "group_interval: 1s"))
	run(t, alertmanager, "--config.file="+filepath.Join(folder, "alertmanager.yaml"), "--storage.path="+folder+"/alertmanager",
		"--web.listen-address="+am, "--cluster.listen-address=", "--log.level=warn")
	for _, file := range []string{"rules.yaml", "alerts.yaml"} {
		write(t, folder, file, minutesToSeconds(replaced(t, file)))
	}
	write(t, folder, "prometheus.yaml", minutesToSeconds(replaced(t, "prometheus.yaml", "127.0.0.1:9464", daemon, "127.0.0.1:9093", am, "scrape_interval: 30s", "scrape_interval: 1s")))
	run(t, prometheus, "--config.file="+filepath.Join(folder, "prometheus.yaml"), "--storage.tsdb.path="+folder+"/tsdb",
		"--web.listen-address="+prom, "--enable-feature=native-histograms", "--log.level=warn")
	require.Eventually(t, func() bool { return len(query(t, prom, "up")) > 0 }, soon, 100*time.Millisecond)
	emulator := run(t, retryd, "emulator", "--listen", platform, "--devices", "300", "--upgrade", "1s")
	write(t, folder, "retryd.yaml", fmt.Sprintf(configuration, daemon, platform))
	run(t, retryd, "--config", filepath.Join(folder, "retryd.yaml"), "run")

	// Every rule is evaluated on what retryd really exports, and those that have to give something do.
	for _, name := range []string{
		"retryd:policy_due_first:timestamp_seconds", "retryd:recovery_ratio:1d", "retryd:given_up_ratio:1d", "retryd:unknown_ratio:1h", "retryd:api_throttled_ratio:30m",
		"retryd:api_errors_ratio:15m", "retryd:api_request_duration_seconds:p90_15m", "retryd:ledger_write_duration_seconds:p99_15m", "retryd:ledger_created:timestamp_seconds",
	} {
		require.Eventually(t, func() bool { return len(query(t, prom, name+" == "+name)) > 0 }, soon, 200*time.Millisecond, "%s has no value", name)
	}
	require.NotEmpty(t, query(t, prom, "histogram_count(retryd_ledger_write_duration_seconds) > 0"), "the histograms were not ingested as native ones")
	require.Empty(t, query(t, prom, "retryd_ledger_write_duration_seconds_bucket"), "the classic ones answered in place of the native ones")
	require.Equal(t, len(rules(t, "rules.yaml"))+len(rules(t, "alerts.yaml")), healthy(t, prom))
	require.Eventually(t, func() bool { return len(query(t, prom, `ALERTS{severity="page"}`)) == 0 }, soon, 200*time.Millisecond, "nothing is wrong yet")

	require.NoError(t, emulator.Process.Signal(syscall.SIGSTOP)) // it keeps its tasks
	alert := told.wait(t, "/page", "RetrydConnectionDown", "firing")
	require.Equal(t, map[string]string{"alertname": "RetrydConnectionDown", "severity": "page", "connection": "emulator", "job": "retryd"}, alert.Labels)
	require.Equal(t, "Connection emulator cannot be used: nothing is retried there. Reason: transient.", alert.Annotations["description"])
	require.Equal(t, "docs/runbooks/RetrydConnectionDown.md", alert.Annotations["runbook_url"])

	require.NoError(t, emulator.Process.Signal(syscall.SIGCONT))
	told.wait(t, "/page", "RetrydConnectionDown", "resolved")
}

// configuration is small enough in flight that devices go on recovering for a minute.
const configuration = `server: {listen: %q}
connections:
  - name: emulator
    endpoint: http://%s
    region: cn-north-4
    project_id: 0123456789abcdef0123456789abcdef
    auth: {aksk: {access_key: EXAMPLEACCESSKEY, secret_key: example-secret-key-of-the-emulator}}
    requests_per_second: 50
    timeout: 1s
    backoff: {max_elapsed: 1s}
policies:
  - name: upgrades
    schedule: "@every 2s"
    tasks: {backlog: true}
    limits: {in_flight: 5}
    attempts: {max: 3, settle: 1s, backoff: {initial: 2s, multiplier: 2, max: 10s}}
`

// minutesToSeconds has all waits take a second, and all windows as many seconds as they had minutes,
// or one minute.
func minutesToSeconds(text string) string {
	text = regexp.MustCompile(`\[(\d+)m\]`).ReplaceAllString(text, "[${1}s]")
	text = regexp.MustCompile(`\[\d+[hd]\]`).ReplaceAllString(text, "[60s]")
	text = regexp.MustCompile(`for: \d+[mh]`).ReplaceAllString(text, "for: 1s")
	return regexp.MustCompile(`(interval: )1m`).ReplaceAllString(text, "${1}1s")
}

// replaced gives a file of this folder with some things replaced, each of which is there.
func replaced(t *testing.T, file string, pairs ...string) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, string(data), pairs[i])
	}
	return strings.NewReplacer(pairs...).Replace(string(data))
}

func write(t *testing.T, folder, name, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
}

// address gives one that is free.
func address(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// run starts a program, which ends with the test.
func run(t *testing.T, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait() // that it was ended is no mistake
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(name), args[0], log.String())
		}
	})
	return cmd
}
