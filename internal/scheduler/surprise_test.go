package scheduler_test

import (
	"fmt"
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

// sweeps sweeps n times, an hour apart, each as one start of the program, and gives
// a metric's sum over all of them.
func (w *world) sweeps(n int, name string, labels ...string) (total float64) {
	for range n {
		time.Sleep(time.Hour)
		w.sweep()
		total += metric(w.t, w, name, labels...)
	}
	return total
}

func TestWhatSomebodyElseResolvedIsCountedOnceAndNotAsRecovered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Backoff = policy.Backoff{Initial: 100 * time.Hour, Multiplier: 1, Max: 100 * time.Hour}
		id := w.campaign(failing("d", 30, 2)...)
		w.sweeps(3, "retryd_attempts_total")
		w.e.ConsoleRetry(id, "d-00003", "d-00004")
		require.Equal(t, 2.0, w.sweeps(5, "retryd_targets_closed_total", "outcome=resolved_elsewhere"))
		w.e.ConsoleRetry(id, "d-00005")
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(2 * time.Hour)
			require.Equal(t, 1.0, metric(t, w, "retryd_targets_closed_total", "outcome=resolved_elsewhere"))
			require.Equal(t, 0.0, metric(t, w, "retryd_targets_closed_total", "outcome=recovered"))
			require.Equal(t, 0.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
		})
	})
}

// unresolved makes a task in which each of n targets was retried, and failed again. No policy
// has it any more: what is read of its sub-tasks from now on is read to look for successes.
func unresolved(t *testing.T, n int) (w *world, id string) {
	w = newWorld(t)
	id = w.campaign(append(failing("d", n, 2), emulator.Device{ID: "ok", Status: iotda.SubtaskSuccess})...)
	w.sweeps(2, "retryd_attempts_total")
	w.policies[0].Tasks.IDs = []string{"another"}
	w.sweep()
	return w, id
}

// shown counts what was read of a task's sub-tasks since a moment.
func (w *world) shown(id string, since time.Time) (n int) {
	for _, c := range w.calls("ShowBatchTask") {
		if c.TaskID == id && c.At.After(since) {
			n++
		}
	}
	return n
}

func TestLookingForSuccessesElsewhereTakesFewCallsAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, id := unresolved(t, 1100) // 22 pages
		w.during(func(*scheduler.Scheduler, *store.Store) {
			for i := range 12 {
				since := time.Now()
				w.e.ConsoleRetry(id, fmt.Sprintf("d-%05d", 1000+i))
				time.Sleep(time.Hour)
				require.LessOrEqual(t, w.shown(id, since), 20)
			}
			time.Sleep(60 * time.Hour)
			require.Equal(t, 12.0, metric(t, w, "retryd_targets_closed_total", "outcome=resolved_elsewhere"), "each has its turn")
			since := time.Now()
			time.Sleep(60 * time.Hour)
			quiet := time.Now()
			time.Sleep(4 * time.Hour)
			require.Positive(t, w.shown(id, since)) // the pass that began when the last ones succeeded
			require.Zero(t, w.shown(id, quiet), "until another succeeds")
		})
	})
}

func TestLookingForSuccessesElsewhereTakesNoMoreCallsThanThereAreTargets(t *testing.T) {
	t.Parallel()
	for n, most := range map[int]int{1: 1, 3: 3, 40: 20, 300: 20} {
		synctest.Test(t, func(t *testing.T) {
			w, id := unresolved(t, n)
			w.e.ConsoleRetry(id, "d-00000")
			since := time.Now()
			time.Sleep(10 * time.Minute)
			w.sweep()
			require.LessOrEqual(t, w.shown(id, since), most)
			require.Equal(t, 1.0, metric(t, w, "retryd_targets_closed_total", "outcome=resolved_elsewhere"))
		})
	}
}

// TestAStartLooksForSuccessesElsewhereTaskByTask although it knows of none what was looked at before.
func TestAStartLooksForSuccessesElsewhereTaskByTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Max = 1
		var ids []string
		for i := range 30 { // two or three calls each
			ids = append(ids, w.campaign(append(failing(fmt.Sprint("d", i), 60, 2), emulator.Device{ID: fmt.Sprint("ok", i), Status: iotda.SubtaskSuccess})...))
		}
		w.sweeps(4, "retryd_attempts_total")
		w.policies[0].Tasks.IDs = []string{"another"}
		for i, id := range ids {
			w.e.ConsoleRetry(id, fmt.Sprintf("d%d-00030", i))
		}
		time.Sleep(time.Hour)
		since := time.Now()
		sum := func() (n int) {
			for _, id := range ids {
				n += w.shown(id, since)
			}
			return n
		}
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(2 * time.Minute)
			require.Positive(t, sum())
			require.LessOrEqual(t, sum(), 40, "of one round")
			time.Sleep(5 * time.Hour)
			require.Equal(t, 30.0, metric(t, w, "retryd_targets_closed_total", "outcome=resolved_elsewhere"), "each task has its turn")
		})
	})
}

// TestWhatWasResolvedElsewhereAndFailsAgainIsThePolicysAgain with the attempts that are left of its own.
func TestWhatWasResolvedElsewhereAndFailsAgainIsThePolicysAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Max = 2
		id := w.campaign(failing("d", 3, 0)...)
		w.sweeps(5, "retryd_attempts_total")
		require.Equal(t, 2, w.tries()[id+" d-00001"])
		w.e.SetSubtask(id, "d-00001", iotda.SubtaskSuccess)
		require.Equal(t, 1.0, w.sweeps(2, "retryd_targets_closed_total", "outcome=resolved_elsewhere"))
		w.e.SetSubtask(id, "d-00001", iotda.SubtaskFail)
		require.Equal(t, 1.0, w.sweeps(2, "retryd_targets_closed_total", "outcome=exhausted"), "it is given up anew, and said")
		require.Equal(t, 2, w.tries()[id+" d-00001"], "none is left of its attempts")
		w.policies[0].Attempts.Max, w.policies[0].Hash = 3, "three"
		w.sweeps(3, "retryd_attempts_total")
		require.Equal(t, 3, w.tries()[id+" d-00001"])
		w.with(func(_ *scheduler.Scheduler, l *store.Store) {
			rows, _, err := l.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 1})
			require.NoError(t, err)
			require.Zero(t, rows[0].Ended["resolved_elsewhere"])
			found, err := l.Check(t.Context(), true)
			require.NoError(t, err)
			require.Empty(t, found)
		})
		w.holdsPromises()
	})
}

func TestATaskThatSucceededElsewhereAsAWholeTakesNoCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, id := unresolved(t, 1100)
		for _, d := range failing("d", 1100, 0) {
			w.e.ConsoleRetry(id, d.ID)
		}
		since := time.Now()
		time.Sleep(time.Hour)
		w.sweep()
		require.Equal(t, 1100.0, metric(t, w, "retryd_targets_closed_total", "outcome=resolved_elsewhere"))
		require.Zero(t, w.shown(id, since))
	})
}

func TestATargetThatNeverMovesIsASurpriseOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		devices := failing("d", 4, 0)
		for i := range devices[:3] {
			devices[i].Fate.Upgrade = time.Nanosecond
		}
		devices[3].Fate.Upgrade = 2 * time.Hour
		w.campaign(devices[:3]...)
		moves := append(failing("e", 3, 0), devices[3]) // one that moves shows that the platform does re-run
		for i := range moves[:3] {
			moves[i].Fate.Upgrade = time.Nanosecond
		}
		w.campaign(moves...)
		require.Equal(t, 3.0, w.sweeps(20, "retryd_platform_surprises_total", "kind=never_in_motion"))
	})
}

func TestASuccessThatIsUndoneIsASurpriseOnceAndIsRetriedAfterItsBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.campaign(failing("d", 10, 1)...)
		w.sweeps(3, "retryd_attempts_total")
		w.e.SetSubtask(id, "d-00003", iotda.SubtaskFail)
		time.Sleep(24 * time.Hour)
		before := w.sweep()
		require.Equal(t, 1.0, metric(t, w, "retryd_platform_surprises_total", "kind=success_undone"))
		require.Equal(t, 1, before.Counts[string(policy.InBackoff)], "it rests from when it was seen")
		require.Equal(t, 0.0, w.sweeps(6, "retryd_platform_surprises_total", "kind=success_undone"))
		require.Equal(t, 2, w.tries()[id+" d-00003"])
	})
}

func TestRowsThatComeTwiceAndUnknownWordsAreSurprises(t *testing.T) {
	t.Parallel()
	for fault, kind := range map[emulator.Fault]string{emulator.FaultDoubleRow: "double_row", emulator.FaultUnknownStatus: "unknown_word"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.campaign(failing("d", 10, 1)...)
			w.fail("ShowBatchTask", fault, time.Minute)
			w.sweep()
			require.Positive(t, metric(t, w, "retryd_platform_surprises_total", "kind="+kind))
			time.Sleep(2 * time.Minute)
			w.sweep()
			require.Equal(t, 0.0, metric(t, w, "retryd_platform_surprises_total"))
		})
	}
}

// TestEachEventIsCountedOnceWhereverTheProgramIsStopped holds the sums over many starts against
// the platform's record.
func TestEachEventIsCountedOnceWhereverTheProgramIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		devices := append(append(failing("a", 60, 1), failing("b", 20, 2)...), failing("c", 10, 0)...)
		w.campaign(append(devices, failingWith("Unsupported package type", "d", 5)...)...)
		sums := map[string]float64{}
		note := func() {
			for name, labels := range map[string]string{
				"accepted": "result=accepted", "recovered": "outcome=recovered", "failed": "outcome=failed",
			} {
				sums[name] += metric(t, w, "retryd_attempts_total", labels) + metric(t, w, "retryd_attempts_settled_total", labels)
			}
			for _, outcome := range []string{"recovered", "exhausted", "permanent"} {
				sums["closed "+outcome] += metric(t, w, "retryd_targets_closed_total", "outcome="+outcome)
			}
			sums["failures"] += metric(t, w, "retryd_failures_total")
		}
		for i := range 70 {
			w.run(time.Duration(2+i%23) * time.Second)
			note()
			time.Sleep(time.Duration(7+i%5*8) * time.Minute)
		}
		require.Equal(t, map[string]float64{
			"accepted": 60 + 2*20 + 3*10, "recovered": 80, "failed": 20 + 3*10, "failures": 20 + 3*10,
			"closed recovered": 80, "closed exhausted": 10, "closed permanent": 5,
		}, sums)
		require.Len(t, w.e.Retries(), 60+2*20+3*10)
		w.holdsPromises()
	})
}

// TestATaskWhoseNewerOneCannotBeReadIsOnRecordAsThat: nobody may take its targets for left alone.
func TestATaskWhoseNewerOneCannotBeReadIsOnRecordAsThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		older := w.campaign(failing("d", 3, 1)...)
		time.Sleep(time.Minute)
		newer := w.campaign(emulator.Device{ID: "d-00000", Status: iotda.SubtaskSuccess})
		detail := func() (detail string) {
			w.with(func(_ *scheduler.Scheduler, l *store.Store) {
				rows, _, err := l.ListTasks(t.Context(), store.TaskFilter{TaskID: older}, store.Page{Limit: 1})
				require.NoError(t, err)
				detail = rows[0].Detail
			})
			return detail
		}
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.TaskID == newer {
				return emulator.FaultGone
			}
			return ""
		})
		require.Equal(t, 3, w.sweep().Counts[string(policy.SupersededBy)])
		require.Equal(t, policy.Perhaps, detail())
		w.e.SetFault(nil)
		time.Sleep(time.Minute)
		require.Equal(t, 1, w.sweep().Counts[string(policy.SupersededBy)])
		require.Empty(t, detail())
	})
}
