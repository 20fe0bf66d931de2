package scheduler_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// readings notes when the sub-tasks of each task were begun to be read.
func readings(w *world) map[string][]time.Time {
	var mu sync.Mutex
	at := map[string][]time.Time{}
	w.watch = func(e scheduler.Event) {
		if e.Kind == scheduler.Reading {
			mu.Lock()
			defer mu.Unlock()
			at[e.TaskID] = append(at[e.TaskID], time.Now())
		}
	}
	return at
}

func TestWhatASweepLeftUnfinishedIsTriedAgainAfterOneTwoFourMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at := readings(w)
		good, bad := w.campaign(failing("a", 20, 1)...), w.campaign(failing("b", 20, 1)...)
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "ShowBatchTask" && c.TaskID == bad {
				return emulator.FaultGone
			}
			return ""
		})
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(29 * time.Minute)
			require.Equal(t, 4.0, metric(t, w, "retryd_sweeps_total", "result=partial"))
			w.e.SetFault(nil)
			time.Sleep(5 * time.Minute)
			require.Equal(t, 1.0, metric(t, w, "retryd_sweeps_total", "result=complete"))
		})
		require.Len(t, at[good], 2, "once a tick")
		require.Len(t, at[bad], 5)
		for i, pause := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			require.InDelta(t, pause.Seconds(), at[bad][i+1].Sub(at[bad][i]).Seconds(), 2)
		}
		require.Len(t, w.tries(), 40)
	})
}

func TestAConnectionThatIsDownSaysSoAndIsMadeUpForWithinTheTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Schedule, _ = policy.ParseSchedule("0 * * * *", time.UTC)
		w.campaign(failing("a", 20, 2)...)
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 10*time.Minute)))
			require.Len(t, w.tries(), 20)
			time.Sleep(40 * time.Minute)
			w.fail("ListBatchTasks", emulator.Fault503HTML, 20*time.Minute)
			time.Sleep(18 * time.Minute) // the next tick finds it down
			require.Equal(t, 0.0, metric(t, w, "retryd_connection_up", "connection=prod"))
			require.Positive(t, metric(t, w, "retryd_sweeps_total", "result=failed"))
			time.Sleep(22 * time.Minute)
			require.Equal(t, 1.0, metric(t, w, "retryd_connection_up", "connection=prod", "reason="))
			require.Equal(t, 40, len(w.e.Retries()), "within the same tick")
			require.Equal(t, 0.0, metric(t, w, "retryd_targets", "reason=connection_down"))
		})
	})
}

func TestTasksOfAConnectionThatIsDownAreCountedUnderThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("a", 20, 0)...)
		w.sweep()
		time.Sleep(10 * time.Minute)
		w.fail("ListBatchTasks", emulator.FaultRefused, time.Hour)
		r := w.sweep()
		require.Equal(t, scheduler.SweepFailed, r.Result)
		require.Equal(t, map[string]int{string(policy.ConnectionDown): 20}, r.Counts)
		require.ErrorContains(t, r.Problems[0], "IOTDA.014217")
	})
}

func TestAStopInTheMiddleOfASweepLeavesItsTickDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Schedule, _ = policy.ParseSchedule("0 1 * * *", time.UTC)
		w.perSec, w.burst = 1, 1
		for _, name := range []string{"a", "b", "c", "d"} {
			w.campaign(failing(name, 120, 1)...)
		}
		w.during(func(*scheduler.Scheduler, *store.Store) {
			for len(w.tries()) == 0 {
				time.Sleep(time.Second)
			}
		})
		require.Less(t, len(w.tries()), 480)
		w.run(10 * time.Minute)
		require.Len(t, w.tries(), 480, "not a day later")
		w.holdsPromises()
	})
}
