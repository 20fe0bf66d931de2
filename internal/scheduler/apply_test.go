package scheduler_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// changed gives the world's policy with a change, under another hash.
func changed(w *world, hash string, change func(*policy.Policy)) *policy.Policy {
	p := *w.policies[0]
	p.Hash = hash
	change(&p)
	return &p
}

// inTheMiddle waits until a sweep has sent something.
func inTheMiddle(w *world) {
	for before := len(w.posts()); len(w.posts()) == before; {
		time.Sleep(100 * time.Millisecond)
	}
}

// series lists the series that have a label's value.
func series(w *world, label, value string) (names []string) {
	families, err := w.registry.Gather()
	require.NoError(w.t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					names = append(names, family.GetName())
				}
			}
		}
	}
	return names
}

func TestAReloadDoesNotInterruptTheSweepOfAPolicyThatIsTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		at := readings(w)
		var tasks []string
		for _, name := range []string{"a", "b", "c", "d"} {
			tasks = append(tasks, w.campaign(failing(name, 110, 1)...))
		}
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			inTheMiddle(w)
			require.Less(t, len(w.tries()), 440)
			same := *w.policies[0] // as it is read from the file again
			more := newPolicy("more")
			more.Tasks.IDs = []string{"0123"}
			setup := w.setup
			setup.Policies = []*policy.Policy{more, &same}
			s.Apply(setup)
			time.Sleep(2 * time.Minute)
			require.Equal(t, 1.0, metric(t, w, "retryd_sweeps_total", "policy=upgrades", "result=complete"))
			require.NotEmpty(t, series(w, "policy", "more"))
		})
		require.Len(t, w.tries(), 440)
		for _, id := range tasks {
			require.Len(t, at[id], 1, "no task was begun anew")
		}
	})
}

func TestAPolicyThatIsChangedOrDroppedClaimsNothingMore(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.perSec, w.burst = 2, 1
			for _, name := range []string{"a", "b", "c", "d"} {
				w.campaign(failing(name, 110, 1)...)
			}
			w.e.SetFault(func(c emulator.Call) emulator.Fault {
				if c.Op == "RetryBatchTask" {
					time.Sleep(2 * time.Second) // a call is in flight when it is applied
				}
				return ""
			})
			w.during(func(s *scheduler.Scheduler, ledger *store.Store) {
				inTheMiddle(w)
				setup := w.setup
				setup.Policies = nil
				if !drop {
					setup.Policies = []*policy.Policy{changed(w, "2", func(p *policy.Policy) { p.Targets.Exclude = patterns(t, ".*") })}
				}
				s.Apply(setup)
				posts, tries := len(w.posts()), len(w.tries())
				require.Less(t, tries, 440)
				totals, err := ledger.Totals(t.Context())
				require.NoError(t, err)
				require.Equal(t, tries, totals.Attempts, "the call in flight had its time")
				time.Sleep(time.Hour)
				require.Len(t, w.posts(), posts)
				require.Zero(t, openIn(w), "what was open is observed all the same")

			})
		})
	}
}

func TestATaskThatAReloadGivesToAnotherPolicyIsLetGoInTheMiddle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 0.5, 1
		w.campaign(failing("a", 200, 1)...) // one wave of two calls
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			inTheMiddle(w)
			first := newPolicy("first")
			first.Mode = policy.ModeObserve
			setup := w.setup
			setup.Policies = []*policy.Policy{first, w.policies[0]}
			s.Apply(setup)
			time.Sleep(time.Minute)
		})
		require.Len(t, w.posts(), 1)
	})
}

func TestSeriesOfPoliciesAndConnectionsThatAreNoMoreGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := newPolicy("other")
		other.Tasks.IDs = []string{"0123"}
		w.policies = []*policy.Policy{other, w.policies[0]}
		w.campaign(failing("d", 10, 1)...)
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			time.Sleep(50 * time.Minute)
			require.NotEmpty(t, series(w, "policy", "upgrades"))
			setup := w.setup
			setup.Policies = []*policy.Policy{other}
			s.Apply(setup)
			require.Empty(t, series(w, "policy", "upgrades"))
			require.NotEmpty(t, series(w, "policy", "other"))
			time.Sleep(time.Hour)
			require.Empty(t, series(w, "policy", "upgrades"), "they do not come back")
			s.Apply(scheduler.Setup{})
			require.Empty(t, series(w, "connection", "prod"))
			time.Sleep(time.Hour)
			require.Empty(t, series(w, "connection", "prod"))
			calls := len(w.e.Calls())
			time.Sleep(time.Hour)
			require.Len(t, w.e.Calls(), calls, "nobody asks any more")
			s.Apply(w.setup)
			require.NotEmpty(t, series(w, "connection", "prod"))
		})
	})
}

func TestMaxHoldsOverReloadsInTheMiddleOfSweeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		w.policies[0].Attempts.Backoff = policy.Backoff{Initial: 20 * time.Minute, Multiplier: 1, Max: 20 * time.Minute}
		w.campaign(failing("d", 130, 0)...)
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			for i := range 40 {
				time.Sleep(time.Duration(i%7*100+53) * time.Second)
				setup := w.setup
				setup.Policies = []*policy.Policy{changed(w, strings.Repeat("x", i%3), func(*policy.Policy) {})}
				setup.Connections = []scheduler.Connection{w.setup.Connections[0]}
				setup.Connections[0].Hash = strings.Repeat("y", 1+i%2)
				s.Apply(setup)
			}
			time.Sleep(2 * time.Hour)
		})
		w.holdsPromises()
		require.Equal(t, 130, count(w.tries(), 3))
	})
}
