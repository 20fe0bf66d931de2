package scheduler_test

import (
	"context"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// sweepCalls gives how many sweeps of a policy there were, and the calls of them all.
func sweepCalls(t *testing.T, w *world, policyName string) (sweeps uint64, calls float64) {
	families, err := w.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "retryd_sweep_api_calls" && m.GetLabel()[1].GetValue() == policyName {
				sweeps, calls = sweeps+m.GetHistogram().GetSampleCount(), calls+m.GetHistogram().GetSampleSum()
			}
		}
	}
	return sweeps, calls
}

// TestTheCallsOfASweepAreThoseThatThePlatformGot: reads and retries, of each policy its own.
func TestTheCallsOfASweepAreThoseThatThePlatformGot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		idle := newPolicy("idle")
		idle.Tasks.Names = []*regexp.Regexp{regexp.MustCompile("no such task")}
		w.policies = []*policy.Policy{newPolicy("upgrades"), idle}
		w.campaign(failing("d", 250, 1)...)
		w.with(func(s *scheduler.Scheduler, _ *store.Store) {
			_, err := s.Sweep(context.Background(), []string{"idle"})
			require.NoError(t, err)
			lists := len(w.e.Calls())
			require.Positive(t, lists)
			sweeps, calls := sweepCalls(t, w, "idle")
			require.EqualValues(t, 1, sweeps)
			require.EqualValues(t, lists, calls)

			_, err = s.Sweep(context.Background(), []string{"upgrades"})
			require.NoError(t, err)
			require.Len(t, w.tries(), 250)
			sweeps, calls = sweepCalls(t, w, "upgrades")
			require.EqualValues(t, 1, sweeps)
			require.EqualValues(t, len(w.e.Calls())-lists, calls)
			require.Greater(t, calls, float64(2*lists), "its rows and its retries are among them")
			_, calls = sweepCalls(t, w, "idle")
			require.EqualValues(t, lists, calls)
		})
	})
}

// TestHowAConnectionStandsIsKnownRightAfterTheStart: not at the first tick, which can be a day away.
func TestHowAConnectionStandsIsKnownRightAfterTheStart(t *testing.T) {
	t.Parallel()
	for secret, up := range map[string]bool{"secret": true, "wrong": false} {
		synctest.Test(t, func(t *testing.T) {
			w := idle(t)
			w.secret = secret
			task := w.campaign(failing("d", 3, 1)...)
			w.during(func(_ *scheduler.Scheduler, _ *store.Store) {
				time.Sleep(4 * time.Second)
				require.Equal(t, up, metric(t, w, "retryd_connection_up", "connection=prod", "reason=") == 1)
				require.NotEqual(t, up, w.logs.FilterMessage("open attempts could not be observed").Len() == 1)
				calls := len(w.e.Calls())
				require.Positive(t, calls)
				time.Sleep(10 * time.Minute)
				require.Len(t, w.e.Calls(), calls, "one look, and the next in its time")
			})
			require.Empty(t, w.tries(), "task %s is left to its tick", task)
		})
	}
}
