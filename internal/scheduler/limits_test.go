package scheduler_test

import (
	"context"
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

func TestTargetsPerSweepHoldsOverRestartsWithinATick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Limits.TargetsPerSweep = 250
		w.perSec, w.burst = 2, 1
		w.campaign(failing("a", 300, 0)...)
		w.campaign(failing("b", 300, 0)...)
		w.with(func(_ *scheduler.Scheduler, ledger *store.Store) { // the policy is known from now on
			_, err := ledger.Baseline(t.Context(), "upgrades", "prod")
			require.NoError(t, err)
		})
		time.Sleep(15 * time.Minute)
		for range 20 { // all within one tick
			w.run(10 * time.Second)
		}
		require.Len(t, w.tries(), 250)
		w.run(15 * time.Minute)
		require.Len(t, w.tries(), 500, "the next tick has its own")
	})
}

func TestTargetsPerSweepIsEachPolicysOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := newPolicy("other")
		w.policies[0].Tasks.Types, other.Tasks.Types = policy.TaskTypes()[:1], policy.TaskTypes()[1:]
		w.policies[0].Limits.TargetsPerSweep, other.Limits.TargetsPerSweep = 30, 70
		w.policies = append(w.policies, other)
		fw := w.campaign(failing("a", 100, 1)...)
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("b", 100, 1)})
		w.sweep()
		require.Len(t, w.tries(), 100)
		n := 0
		for _, r := range w.e.Retries() {
			if r.TaskID == fw {
				n++
			}
		}
		require.Equal(t, 30, n)
	})
}

func TestInFlightCountsOnlyWhatWasLatelyClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Limits.InFlight, w.policies[0].Limits.InFlightFor = 40, 2*time.Hour
		w.campaign(lasting("d", 100)...)
		r := w.sweep()
		require.Equal(t, 40, r.Sent[policy.Accepted])
		require.Equal(t, 60, r.Counts[string(policy.Capped)])
		time.Sleep(119 * time.Minute)
		require.Empty(t, w.sweep().Sent)
		time.Sleep(2 * time.Minute)
		require.Equal(t, 40, w.sweep().Sent[policy.Accepted])
	})
}

func TestTheRampGrowsWithWhatRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		w.policies[0].Limits.Ramp = policy.Ramp{Initial: 20, Factor: 2}
		other := w.campaign(failing("other", 30, 0)...)
		id := w.campaign(failing("d", 190, 1)...)
		var waves []int
		for range 5 {
			before := len(w.e.Retries())
			w.sweep()
			mine := 0
			for _, r := range w.e.Retries()[before:] {
				if r.TaskID == id {
					mine++
				}
			}
			waves = append(waves, mine)
			time.Sleep(20 * time.Minute)
		}
		require.Equal(t, []int{20, 40, 120, 10, 0}, waves, "at first, 2 x 20, 2 x 60")
		require.NotEqual(t, other, id)
	})
}

func TestTheRampHoldsWhereNothingRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		w.policies[0].Limits.Ramp = policy.Ramp{Initial: 20, Factor: 2}
		w.campaign(lasting("d", 100)...)
		for range 5 {
			w.sweep()
			time.Sleep(time.Hour)
		}
		require.Len(t, w.tries(), 20, "they are still under way")
	})
}

func TestTargetsThatWereNeverTriedGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Backoff = policy.Backoff{Initial: time.Minute, Multiplier: 1, Max: time.Minute}
		w.policies[0].Limits.TargetsPerSweep = 40
		w.campaign(failing("d", 100, 0)...)
		for _, tried := range []int{40, 80, 100} {
			w.sweep()
			require.Len(t, w.tries(), tried)
			time.Sleep(30 * time.Minute)
			w.sweepWith(func(p *policy.Policy) { p.Mode = policy.ModeObserve }) // sees them fail, twice
		}
	})
}

// sweepWith sweeps once with the policy changed for that long.
func (w *world) sweepWith(change func(*policy.Policy)) {
	before := w.policies
	changed := *before[0]
	change(&changed)
	w.policies = []*policy.Policy{&changed}
	w.with(func(s *scheduler.Scheduler, _ *store.Store) {
		_, err := s.Sweep(context.Background(), nil)
		require.NoError(w.t, err)
	})
	w.policies = before
	time.Sleep(10 * time.Minute)
}
