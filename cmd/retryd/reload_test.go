package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/store"
)

// lines is a place for the output of a command that runs.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// daemon is `retryd run` in this process.
type daemon struct {
	t       *testing.T
	url     string
	out     *lines
	stop    context.CancelFunc
	stopped chan int
}

func freeAddress(t *testing.T) string {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func startDaemon(t *testing.T, address string, args ...string) *daemon {
	ctx, stop := context.WithCancel(context.Background())
	d := &daemon{t: t, url: "http://" + address, out: &lines{}, stop: stop, stopped: make(chan int, 1)}
	go func() { d.stopped <- run(ctx, append([]string{"run"}, args...), d.out, d.out) }()
	d.until("the daemon answers", func() bool {
		status, _ := d.ask(http.MethodGet, "/-/ready")
		return status == http.StatusOK
	})
	return d
}

// end stops the daemon and gives all that it wrote.
func (d *daemon) end() string {
	d.stop()
	require.Equal(d.t, exitDone, <-d.stopped, d.out)
	return d.out.String()
}

func (d *daemon) ask(method, path string) (int, string) {
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, nil)
	require.NoError(d.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, string(body)
}

// until waits for something that other goroutines, on real sockets, bring about.
func (d *daemon) until(what string, done func() bool) {
	require.Eventually(d.t, done, 60*time.Second, 5*time.Millisecond, "not yet: %s\n%s", what, d.out)
}

// TestReloadsUnderLoadLoseAndDoubleNothing reloads 200 times while sweeps run, every tenth
// time a file that is broken.
func TestReloadsUnderLoadLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	const devices, reloads, perSecond, burst = 1000, 200, 150, 20
	e := newEmulator(emulator.Options{Latency: 2 * time.Millisecond, Upgrade: 300 * time.Millisecond})
	campaign := emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour)}
	for i := range devices {
		campaign.Devices = append(campaign.Devices, emulator.Device{
			ID: fmt.Sprintf("d-%04d", i), Status: iotda.SubtaskFail, Fate: emulator.Fate{RecoverAt: 1 + i%2, Message: "Task Conflict"},
		})
	}
	task, err := e.AddTask(campaign)
	require.NoError(t, err)
	platform := httptest.NewServer(e)
	defer platform.Close()
	address, folder := freeAddress(t), t.TempDir()
	file := filepath.Join(folder, "retryd.yaml")
	write := func(n int) {
		text := fmt.Sprintf("server: {listen: %q}\n", address) + strings.NewReplacer(
			"requests_per_second: 50", fmt.Sprintf("requests_per_second: %d\n    burst: %d\n    concurrency: %d", perSecond, burst, 4+n%3),
			"backoff: {initial: 2s, multiplier: 2, max: 10s}", fmt.Sprintf("backoff: {initial: 10ms, multiplier: 1, max: %dms}", 10+n),
			"settle: 1s", "settle: 100ms\n    limits: off", "@every 2s", "@every 1s", "name: upgrades", fmt.Sprintf("name: upgrades-%d", n/20%4),
		).Replace(sample(strings.TrimPrefix(platform.URL, "http://")))
		if n%10 == 9 {
			text += "    retires: 3\n"
		}
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write(0)
	d := startDaemon(t, address, "-c", file)
	for n := 1; n <= reloads; n++ {
		calls := len(e.Calls())
		d.until("a sweep goes on", func() bool { // once all have recovered there is little to call for
			return len(e.Calls()) > calls+2 || recovered(e, task) == devices
		})
		write(n)
		status, text := d.ask(http.MethodPost, "/-/reload")
		if n%10 == 9 {
			require.Equal(t, http.StatusBadRequest, status)
			require.Contains(t, text, file+":20:5: unknown key \"retires\"")
			continue
		}
		require.Equal(t, http.StatusOK, status, text)
	}
	d.until("every device has recovered", func() bool { return recovered(e, task) == devices })
	metrics, text := d.ask(http.MethodGet, "/metrics")
	require.Equal(t, http.StatusOK, metrics)
	require.Contains(t, text, `policy="upgrades-2"`)
	require.NotContains(t, text, `policy="upgrades-1"`, "a policy that is gone leaves no series")
	require.Contains(t, text, "retryd_config_last_reload_successful 1")
	d.end()

	tries := map[string]int{}
	for _, r := range e.Retries() {
		require.True(t, r.Accepted, "%s was asked for while it was %s", r.Target, r.From)
		tries[r.Target]++
	}
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(folder, "retryd.db"), ReadOnly: true})
	require.NoError(t, err)
	defer s.Close()
	var ids []string
	for _, dev := range campaign.Devices {
		ids = append(ids, dev.ID)
	}
	known, err := s.Records(t.Context(), demoProject, task, ids)
	require.NoError(t, err)
	for i, id := range ids {
		require.Equal(t, 1+i%2, tries[id], id)
		require.Equal(t, tries[id], known[id].Counted, "%s: the ledger and the platform agree", id)
	}
	requireRate(t, e.Calls(), perSecond+burst)
}

func recovered(e *emulator.Emulator, task string) int {
	t, _ := e.Task(task)
	return t.Progress.Success
}

// requireRate looks at every second that begins with a call.
func requireRate(t *testing.T, calls []emulator.Call, most int) {
	for i, j := 0, 0; j < len(calls); j++ {
		for calls[j].At.Sub(calls[i].At) >= time.Second {
			i++
		}
		require.LessOrEqual(t, j-i+1, most, "calls in one second")
	}
}
