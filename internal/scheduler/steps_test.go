package scheduler_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// posts gives the retry calls that the platform saw.
func (w *world) posts() []emulator.Call { return w.calls("RetryBatchTask") }

func (w *world) calls(op string) []emulator.Call {
	return slices.DeleteFunc(w.e.Calls(), func(c emulator.Call) bool { return c.Op != op })
}

// fail lets all calls of an operation fail for some time from now on.
func (w *world) fail(op string, fault emulator.Fault, d time.Duration) {
	until := time.Now().Add(d)
	w.e.SetFault(func(c emulator.Call) emulator.Fault {
		if c.Op == op && time.Now().Before(until) {
			return fault
		}
		return ""
	})
}

// refuseRetries answers retry calls with a refusal that has no effect, while it is wanted.
func (w *world) refuseRetries(status int, code string, while func() bool) {
	w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/retry") || !while() {
			w.e.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"error_code":%q,"error_msg":"no"}`, code)
	})
}

// joined runs f with the ledger as a person's command opens it while the program runs.
func (w *world) joined(f func(*store.Store)) {
	ledger, err := store.Open(context.Background(), store.Options{Path: filepath.Join(w.folder, "retryd.db"), Join: true})
	require.NoError(w.t, err)
	f(ledger)
	require.NoError(w.t, ledger.Close())
}

// plan plans on the ledger, and gives what it counts.
func (w *world) plan() (r scheduler.Report) {
	w.t.Helper()
	w.start(store.Options{Path: filepath.Join(w.folder, "retryd.db"), Join: true}, func(s *scheduler.Scheduler, _ *store.Store) {
		reports, err := s.Plan(context.Background(), nil)
		require.NoError(w.t, err)
		r = reports[0]
	})
	return r
}

// during runs the daemon while f goes on, and stops it then.
func (w *world) during(f func(*scheduler.Scheduler, *store.Store)) {
	w.t.Helper()
	w.with(func(s *scheduler.Scheduler, ledger *store.Store) { w.runs(s, func() { f(s, ledger) }) })
}

// runs runs a scheduler while f goes on.
func (w *world) runs(s *scheduler.Scheduler, f func()) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() { // also where f ends the test
		stop()
		require.NoError(w.t, <-done)
	}()
	f()
}

// record gives what the ledger knows of one device.
func (w *world) record(ledger *store.Store, task, device string) store.Record {
	known, err := ledger.Records(context.Background(), project, task, []string{device})
	require.NoError(w.t, err)
	return known[device]
}

// metric adds up the samples of a metric that have all these labels, each as name=value.
func metric(t testing.TB, w *world, name string, labels ...string) (total float64) {
	families, err := w.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// campaign is a firmware upgrade that was made an hour ago.
func (w *world) campaign(devices ...emulator.Device) string {
	return w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: devices})
}

// failingWith makes devices that fail for a cause however often they are tried.
func failingWith(message, prefix string, n int) []emulator.Device {
	devices := failing(prefix, n, 0)
	for i := range devices {
		devices[i].Fate.Message = message
	}
	return devices
}
