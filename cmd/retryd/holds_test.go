package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/emulator"
	"retryd/internal/store"
)

// reloading is a house whose scheduler does not run, with the configuration in a file.
func reloading(t *testing.T, text string) (*reloader, string) {
	folder := t.TempDir()
	file := filepath.Join(folder, "retryd.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	a := &app{ctx: t.Context(), config: []string{file}, stdout: &lines{}, stderr: &lines{}}
	c, err := a.load()
	require.NoError(t, err)
	h := build(c, config.Log{Level: "info"}, a.stderr)
	require.NoError(t, h.open(a, h.ledger(store.Options{Create: true})))
	t.Cleanup(h.close)
	s, err := h.scheduler(nil)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	tells, err := h.sender(t.Context(), c)
	require.NoError(t, err)
	return &reloader{a: a, h: h, s: s, tells: tells, systemd: newSupervisor(h.log, s, h.store.Writable), current: c, door: newDoor(c.Server.Web)}, file
}

func (r *reloader) again(t *testing.T, file, text string) error {
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return r.ask(context.Background(), reload{why: "test"}).error
}

const twoRates = `budgets: [{name: b, requests_per_second: RATE, burst: 5}]
connections:
  - {name: c, endpoint: "https://127.0.0.1:1", region: x, project_id: p, budget: b, auth: {aksk: {access_key: a, secret_key: s}}CA}
policies:
  - {name: NAME, schedule: "@daily"}
`

func rates(rate, name, ca string) string {
	return strings.NewReplacer("RATE", rate, "NAME", name, "CA", ca).Replace(twoRates)
}

func TestARefusedReloadChangesNothing(t *testing.T) {
	t.Parallel()
	r, file := reloading(t, rates("5", "p", ""))
	rate := func() float64 { return r.h.budgets["b"].PerSecond() }
	require.NoError(t, r.again(t, file, rates("6", "p", "")))
	require.InDelta(t, 6, rate(), 0)
	_, err := r.h.store.PauseNow(t.Context(), store.Action{Who: "w"}, store.Pause{Scope: store.PausePolicy, Policy: "p", Who: "w"})
	require.NoError(t, err)
	require.ErrorContains(t, r.again(t, file, rates("7", "q", "")), `policy "p" is not in the configuration and was paused`)
	require.InDelta(t, 6, rate(), 0)
	pem := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(pem, []byte("no certificate"), 0o600))
	require.ErrorContains(t, r.again(t, file, rates("8", "p", fmt.Sprintf(", ca_file: %q", pem))), "holds no certificate")
	require.InDelta(t, 6, rate(), 0)
	require.Equal(t, "p", r.current.Policies[0].Name)
	held, err := r.h.store.HeldPolicies(t.Context())
	require.NoError(t, err)
	require.Len(t, held, 1)
}

func TestAHaltedPolicyIsNotLostByARename(t *testing.T) {
	t.Parallel()
	r, file := reloading(t, rates("5", "p", ""))
	db, err := sql.Open("sqlite", r.current.Store.Path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `INSERT INTO halts (scope, policy, connection, project_id, task_id, failed, recovered, at) VALUES ('policy', 'p', 'c', 'p', '', 9, 1, ?)`, time.Now().UnixMicro())
	require.NoError(t, err)
	require.ErrorContains(t, r.again(t, file, rates("5", "q", "")), `policy "p" is not in the configuration and was halted: 9 of 10 retried targets failed again`)
	require.NoError(t, r.ask(t.Context(), reload{why: "test", drop: true}).error)
	held, err := r.h.store.HeldPolicies(t.Context())
	require.NoError(t, err)
	require.Empty(t, held)
}

func TestPausesAreDroppedFromThisMachineOnly(t *testing.T) {
	t.Parallel()
	r, file := reloading(t, rates("5", "p", ""))
	_, err := r.h.store.PauseNow(t.Context(), store.Action{Who: "w"}, store.Pause{Scope: store.PausePolicy, Policy: "p", Who: "w"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(rates("5", "q", "")), 0o600))
	for from, status := range map[string]int{"192.0.2.7:4000": http.StatusForbidden, "127.0.0.1:4000": http.StatusOK} {
		req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:9464/-/reload?drop_pauses=true", nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		r.serve(w, req)
		require.Equal(t, status, w.Code, w.Body)
	}
}

// TestAConnectionThatJoinsDisturbsNoSweep: with `connections: all` every policy has one more, and is
// the same policy.
func TestAConnectionThatJoinsDisturbsNoSweep(t *testing.T) {
	t.Parallel()
	e := newEmulator(emulator.Options{Latency: 20 * time.Millisecond})
	_, err := e.AddScene(3000, time.Now())
	require.NoError(t, err)
	first, second := httptest.NewServer(e), httptest.NewServer(newEmulator(emulator.Options{}))
	defer first.Close()
	defer second.Close()
	address, file := freeAddress(t), filepath.Join(t.TempDir(), "retryd.yaml")
	text := fmt.Sprintf("server: {listen: %q}\n", address) + strings.NewReplacer("schedule:", "connections: all\n    schedule:",
		"requests_per_second: 50", "requests_per_second: 20", "settle: 1s", "settle: 1s\n    limits: off").Replace(sample(strings.TrimPrefix(first.URL, "http://")))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	d := startDaemon(t, address, "-c", file)
	d.until("it sweeps", func() bool { return len(e.Retries()) > 0 })
	joined := strings.Replace(text, "policies:", fmt.Sprintf("  - {name: second, endpoint: %q, region: %s, project_id: %s, auth: {aksk: {access_key: %s, secret_key: %s}}}\npolicies:",
		second.URL, demoRegion, demoProject, demoKey, demoSecret), 1)
	require.NoError(t, os.WriteFile(file, []byte(joined), 0o600))
	status, answer := d.ask(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusOK, status, answer)
	d.until("the sweep comes to its end", func() bool { return strings.Contains(d.out.String(), `"result":"complete"`) })
	d.until("the new connection is swept too", func() bool {
		_, metrics := d.ask(http.MethodGet, "/metrics")
		return strings.Contains(metrics, `retryd_policy_last_success_timestamp_seconds{connection="second",policy="upgrades"}`)
	})
	require.False(t, strings.Contains(d.out.String(), "sweep stopped before its end"), "the sweep under way was cut off")
	d.end()
}
