package scheduler_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// steal has another replica take the budget over, whatever the lock beside the ledger says.
func steal(t testing.TB, l *store.Store) store.Acquired {
	a, err := l.Acquire(t.Context(), "host  "+project, store.Replica{ID: "another"}, time.Minute)
	require.NoError(t, err)
	return a
}

func TestAReplicaThatLostItsLeaseClaimsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		for _, name := range []string{"a", "b", "c", "d"} {
			w.campaign(failing(name, 110, 1)...)
		}
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			inTheMiddle(w)
			driven, others := s.Drives()
			require.Equal(t, []string{"prod"}, driven)
			require.Empty(t, others)
			synctest.Wait() // the answers of what was in flight are written
			a := steal(t, l)
			require.EqualValues(t, 2, a.Token)
			before := len(w.posts())
			time.Sleep(10 * time.Second)
			require.LessOrEqual(t, len(w.posts()), before+1, "one was claimed already")
			require.Less(t, len(w.tries()), 440)
			require.NotZero(t, w.logs.FilterMessageSnippet("could not be finished").Len())
			time.Sleep(2 * time.Minute)
			driven, others = s.Drives()
			require.Empty(t, driven)
			require.Equal(t, []string{"prod"}, others)
			require.ErrorContains(t, s.Ready(t.Context()), "another process")
			require.Zero(t, metric(t, w, "retryd_lease_held"))
			calls := len(w.e.Calls())
			time.Sleep(time.Hour)
			require.Len(t, w.e.Calls(), calls, "it does not even read")
		})
	})
}

func TestALateAnswerIsNotWrittenAndItsAttemptIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		task := w.campaign(failing("d", 10, 1)...)
		w.during(func(_ *scheduler.Scheduler, l *store.Store) {
			for len(w.posts()) < 2 {
				time.Sleep(time.Millisecond)
			}
			a := steal(t, l) // the call is in flight
			require.Equal(t, 9, a.Abandoned)
			time.Sleep(time.Minute)
			open, err := l.OpenAttempts(t.Context(), project, task)
			require.NoError(t, err)
			require.Len(t, open, 10)
			states := map[policy.State]int{}
			for _, attempt := range open {
				states[attempt.State]++
			}
			require.Equal(t, map[policy.State]int{policy.Accepted: 1, policy.Unknown: 9}, states)
			require.NotZero(t, w.logs.FilterMessageSnippet("late answers are not written").Len())
		})
	})
}

func TestTheOneWhoTakesOverStartsWithAnEmptyBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 1, 20
		w.campaign(failing("d", 3, 1)...)
		w.sweep()
		last := time.Now()
		w.sweep()
		for _, c := range w.e.Calls() {
			if c.At.After(last) {
				require.GreaterOrEqual(t, c.At.Sub(last), 900*time.Millisecond)
				last = c.At
			}
		}
	})
}

func TestABudgetThatTheLedgerDidNotTakeAtAReloadIsTakenLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			synctest.Wait()
			db, err := sql.Open("sqlite", "file:"+filepath.Join(w.folder, "retryd.db"))
			require.NoError(t, err)
			defer db.Close()
			_, err = db.Exec(`ALTER TABLE leases RENAME TO elsewhere`)
			require.NoError(t, err)
			setup := w.setup
			setup.Connections = []scheduler.Connection{w.setup.Connections[0]}
			setup.Connections[0].Hash, setup.Connections[0].Budget = "2", "renamed"
			s.Apply(setup)
			driven, _ := s.Drives()
			require.Empty(t, driven)
			_, err = db.Exec(`ALTER TABLE elsewhere RENAME TO leases`)
			require.NoError(t, err)
			time.Sleep(2 * time.Minute)
			driven, _ = s.Drives()
			require.Equal(t, []string{"prod"}, driven)
			require.NoError(t, s.Ready(t.Context()))
		})
	})
}
