package scheduler_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// sum adds up the samples of a metric that have a label's value.
func sum(t testing.TB, w *world, metric, label, value string) (total float64) {
	families, err := w.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != metric {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return total
}

func TestAWrongSecretKeyIsNamedAndNotHammered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.secret = "wrong"
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 5, 1)})
		r := w.sweep()
		require.Equal(t, scheduler.SweepFailed, r.Result)
		require.ErrorContains(t, r.Problems[0], `connection "prod"`)
		require.ErrorContains(t, r.Problems[0], "APIGW.0301")
		require.ErrorContains(t, r.Problems[0], "check access_key and secret_key")
		before := len(w.e.Calls())
		w.run(12 * time.Hour)
		refused := w.e.Calls()[before:]
		require.NotEmpty(t, refused)
		for i := range refused {
			if i >= 2 {
				require.GreaterOrEqual(t, refused[i].At.Sub(refused[i-2].At), 5*time.Minute, "at most two 401s in 5 minutes")
			}
		}
		require.Equal(t, 0.0, sum(t, w, "retryd_connection_up", "connection", "prod"))
		for _, line := range w.logs.All() {
			require.NotContains(t, line.Message, "wrong")
		}
	})
}

// TestEveryFaultLeavesTheLedgerRight sends each fault at each kind of call, and holds
// the ledger against the platform's own record.
func TestEveryFaultLeavesTheLedgerRight(t *testing.T) {
	t.Parallel()
	for _, fault := range emulator.Faults() {
		for _, op := range []string{"ListBatchTasks", "ShowBatchTask", "RetryBatchTask"} {
			t.Run(op+"/"+string(fault), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { trouble(t, op, fault) })
			})
		}
	}
}

func trouble(t *testing.T, op string, fault emulator.Fault) {
	w := newWorld(t)
	id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 130, 1)})
	until := time.Now().Add(50 * time.Minute)
	w.e.SetFault(func(c emulator.Call) emulator.Fault {
		if c.Op == op && time.Now().Before(until) {
			return fault
		}
		return ""
	})
	w.run(45 * time.Minute)
	if op == "RetryBatchTask" || (fault != emulator.FaultUnknownField && fault != emulator.FaultMissingRow && fault != emulator.FaultExtraRow) {
		said := w.logs.FilterLevelExact(2).Len() + w.logs.FilterLevelExact(1).Len()
		harmless := fault == emulator.FaultUnknownField || fault == emulator.FaultDoubleRow && op == "ListBatchTasks"
		require.True(t, harmless || said > 0 || strings.Contains(logText(w), "unknown"), "the log says nothing of it")
	}
	w.holdsPromises()
	if op == "RetryBatchTask" && (fault == emulator.FaultGone || fault == emulator.FaultRefused) {
		require.Empty(t, w.tries())
		calls := len(w.posts())
		w.run(10 * time.Minute) // the fault is over
		require.Len(t, w.posts(), calls, "what was refused twice is left until it changes")
		w.e.ConsoleRetry(id, "d-00000")
	}
	w.run(6 * time.Hour)
	w.holdsPromises()
	tries := w.tries()
	w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
		var devices []string
		for _, d := range failing("d", 130, 1) {
			devices = append(devices, d.ID)
		}
		known, err := ledger.Records(t.Context(), project, id, devices)
		require.NoError(t, err)
		for _, device := range devices {
			require.GreaterOrEqual(t, known[device].Counted, tries[id+" "+device], "%s: an attempt that happened is not counted", device)
			s, _ := w.e.Subtask(id, device)
			if known[device].Counted < 3 {
				require.Equal(t, iotda.SubtaskSuccess, s.Status, "%s: it was left", device)
			}
		}
	})
}

func logText(w *world) string {
	var b strings.Builder
	for _, line := range w.logs.All() {
		b.WriteString(line.Message + "\n")
	}
	return b.String()
}

func TestARestartAtAnyMomentCarriesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: append(failing("a", 120, 1), failing("b", 80, 3)...)})
		w.perSec, w.burst = 2, 1
		for i := range 150 { // starts and stops, in the middle of sweeps too
			w.run(time.Duration(3+i%41) * time.Second)
			time.Sleep(time.Duration(i%7) * 10 * time.Minute)
		}
		w.holdsPromises()
		for _, r := range w.e.Retries() {
			s, _ := w.e.Subtask(id, r.Target)
			require.Equal(t, iotda.SubtaskSuccess, s.Status, r.Target)
		}
		require.Len(t, w.tries(), 200)
	})
}
