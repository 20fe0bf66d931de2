package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestModeObserveSendsNothingAndCountsWhatItWould(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.campaign(failing("d", 120, 1)...)
			p := w.policies[0]
			if whole {
				p = wholly(w)
			}
			p.Mode, p.Limits.TargetsPerSweep = policy.ModeObserve, 150
			w.run(2 * time.Hour)
			r := w.sweep()
			require.Equal(t, map[string]int{string(policy.Observed): 120}, r.Counts)
			require.Equal(t, 120.0, metric(t, w, "retryd_targets", "reason=observe"))
			require.Empty(t, w.posts())
			w.joined(func(ledger *store.Store) {
				totals, err := ledger.Totals(t.Context())
				require.NoError(t, err)
				require.Zero(t, totals)
			})
		})
	}
}

func TestModeObserveCountsNoMoreThanTheLimitsWouldLetThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 120, 1)...)
		w.campaign(failing("e", 120, 1)...)
		w.policies[0].Mode, w.policies[0].Limits.TargetsPerSweep = policy.ModeObserve, 150
		require.Equal(t, map[string]int{string(policy.Observed): 150, string(policy.Capped): 90}, w.sweep().Counts)
	})
}

func TestModeObserveStillObservesWhatWasRetriedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 20, 1)...)
		w.sweep()
		w.policies[0].Mode = policy.ModeObserve
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(time.Hour)
			require.Equal(t, 20.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
		})
	})
}

func TestAPolicyTakesNoTaskThatWasThereBeforeItUnlessItSaysSoOrNamesIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules        func(*policy.TaskRules, string)
		first, taken int
	}{
		"plain":   {func(*policy.TaskRules, string) {}, 0, 10},
		"backlog": {func(r *policy.TaskRules, _ string) { r.Backlog = true }, 10, 20},
		"named":   {func(r *policy.TaskRules, id string) { r.IDs = []string{id} }, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.policies[0].Tasks.Backlog = false
				old := w.campaign(failing("old", 10, 1)...)
				c.rules(&w.policies[0].Tasks, old)
				r := w.sweep()
				require.Equal(t, c.first, r.Counts[string(policy.Due)])
				require.Equal(t, 10-c.first, r.Counts[string(policy.Backlog)])
				time.Sleep(time.Minute)
				w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("new", 10, 1)})
				w.run(time.Hour) // over a restart
				require.Len(t, w.tries(), c.taken)
			})
		})
	}
}

func TestATaskThatWasTakenOnIsFinishedUnderThePolicysNewName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("taken", 10, 2)...)
		w.sweep()
		w.campaign(failing("left", 10, 1)...)
		w.policies = []*policy.Policy{newPolicy("renamed")}
		w.policies[0].Tasks.Backlog = false
		w.run(5 * time.Hour)
		require.Equal(t, 10, count(w.tries(), 2))
		require.Len(t, w.tries(), 10, "what nobody has taken on was there before it")
	})
}
