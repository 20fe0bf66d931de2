package scheduler_test

import (
	"net/http"
	"sync/atomic"
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

// lasting makes devices that are in motion for a long time once they are retried.
func lasting(prefix string, n int) []emulator.Device {
	devices := failing(prefix, n, 1)
	for i := range devices {
		devices[i].Fate.Upgrade = 30 * 24 * time.Hour
	}
	return devices
}

func TestWhatAPersonStopsOrRemovesIsGoneAndNoSuccess(t *testing.T) {
	t.Parallel()
	for _, stop := range []func(w *world, id string){
		func(w *world, id string) {
			w.e.SetSubtask(id, "d-00000", iotda.SubtaskStopped)
			w.e.SetSubtask(id, "d-00001", iotda.SubtaskRemoved)
		},
		func(w *world, id string) { w.e.StopTask(id) },
		func(w *world, id string) { w.e.SetTask(id, iotda.TaskStopping) },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.campaign(lasting("d", 2)...)
			w.sweep()
			stop(w, id)
			time.Sleep(time.Hour)
			w.sweep()
			require.Equal(t, 2.0, metric(t, w, "retryd_attempts_settled_total", "outcome=gone"))
			require.Equal(t, 2.0, metric(t, w, "retryd_targets_closed_total", "outcome=gone"))
			w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
				r := w.record(ledger, id, "d-00001")
				require.Equal(t, policy.Gone, r.State)
				require.Equal(t, 1, r.Counted)
			})
		})
	}
}

func TestAnAttemptWithoutAnOutcomeIsClosedAfterItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(lasting("d", 3)...)
		w.sweep()
		time.Sleep(7*24*time.Hour - time.Hour)
		w.sweep()
		require.Equal(t, 3, openIn(w))
		time.Sleep(2 * time.Hour)
		w.sweep()
		require.Equal(t, 3.0, metric(t, w, "retryd_attempts_settled_total", "outcome=gone"))
		require.Zero(t, openIn(w))
	})
}

// openIn counts the open attempts in the ledger.
func openIn(w *world) (open int) {
	w.joined(func(ledger *store.Store) {
		totals, err := ledger.Totals(w.t.Context())
		require.NoError(w.t, err)
		open = totals.Open
	})
	return open
}

func TestATaskIsGoneAfterTwo404sTenMinutesApartWhileAnotherWasRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gone := w.campaign(lasting("a", 5)...)
		w.campaign(lasting("b", 5)...)
		w.campaign(lasting("c", 5)...)
		w.sweep()
		w.e.RemoveTask(gone)
		time.Sleep(6 * time.Minute)
		w.sweep()
		time.Sleep(9 * time.Minute)
		w.sweep()
		require.Equal(t, 15, openIn(w), "the two are 9 minutes apart")
		time.Sleep(2 * time.Minute)
		w.sweep()
		require.Equal(t, 5.0, metric(t, w, "retryd_attempts_settled_total", "outcome=gone"))
		require.Equal(t, 10, openIn(w))
	})
}

func TestATaskIsNotGoneWhereNoOtherIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gone := w.campaign(lasting("a", 5)...)
		w.sweep()
		w.e.RemoveTask(gone)
		w.run(3 * time.Hour)
		require.Equal(t, 5, openIn(w))
	})
}

func TestWhereMostTasksVanishAtOnceNoneIsGoneAndRetriesWaitUntilTheyAreBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"a", "b", "c"} {
			w.campaign(failing(name, 5, 1)...)
		}
		other := newWorld(t) // another instance, which the endpoint leads to for a while
		other.campaign(failing("new", 5, 1)...)
		var wrong atomic.Bool
		w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if wrong.Load() {
				other.e.ServeHTTP(rw, r)
				return
			}
			w.e.ServeHTTP(rw, r)
		})
		w.sweep()
		wrong.Store(true)
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(14 * time.Minute)
			before := len(other.posts())
			time.Sleep(50 * time.Minute)
			require.Equal(t, 15+5, openIn(w)+int(metric(t, w, "retryd_attempts_settled_total", "outcome=recovered")))
			require.Equal(t, 0.0, metric(t, w, "retryd_connection_up"))
			require.Equal(t, 1, w.logs.FilterMessage("connection down").Len(), "said once")
			other.campaign(failing("newer", 5, 1)...)
			time.Sleep(30 * time.Minute)
			require.Len(t, other.posts(), before+2, "retries are held from the second look on")
			require.Equal(t, 5.0, metric(t, w, "retryd_targets", "reason=connection_down"))
			wrong.Store(false)
			time.Sleep(35 * time.Minute)
			require.Equal(t, 1.0, metric(t, w, "retryd_connection_up", "reason="))
			require.Equal(t, 20.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
			require.Equal(t, 0.0, metric(t, w, "retryd_attempts_settled_total", "outcome=gone"))
		})
	})
}

func TestTasksWithoutOpenAttemptsMayAllGoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.campaign(failing("a", 5, 1)...), w.campaign(failing("b", 5, 1)...)
		w.sweep()
		time.Sleep(time.Hour)
		w.sweep()
		w.campaign(failing("c", 5, 1)...)
		w.e.RemoveTask(a)
		w.e.RemoveTask(b)
		time.Sleep(25 * time.Hour)
		w.run(time.Hour)
		require.Len(t, w.tries(), 15, "a third campaign is not held up")
		require.Zero(t, w.logs.FilterMessage("connection down").Len())
		w.joined(func(ledger *store.Store) {
			known, err := ledger.KnownTasks(t.Context(), project)
			require.NoError(t, err)
			require.Len(t, known, 1, "they are gone")
		})
	})
}
