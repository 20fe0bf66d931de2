package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// sizes gives how many targets each retry call named.
func sizes(calls []emulator.Call) (sizes []int) {
	for _, c := range calls {
		sizes = append(sizes, len(c.Targets))
	}
	return sizes
}

func TestAfterThreeCallsWithoutProofOneTargetGoesThenTenThenAHundred(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.campaign(failing("d", 450, 1)...)
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if n := len(w.posts()); c.Op == "RetryBatchTask" && n > 3 && n <= 6 {
				return emulator.Fault503HTML
			}
			return ""
		})
		w.run(20 * time.Minute)
		posts := w.posts()
		require.Equal(t, []int{1, 10, 100, 100, 100, 100, 1, 10, 28}, sizes(posts)[:9])
		require.Equal(t, 450-300, len(w.tries()), "the first 300 count as attempted, and rest")
		var read time.Time
		for _, c := range w.e.Calls() {
			if c.N >= posts[6].N {
				break
			}
			if c.Op == "ShowBatchTask" && c.TaskID == id {
				read = c.At
			}
		}
		require.True(t, read.After(posts[5].At), "the probe follows a good read")
		w.run(3 * time.Hour)
		require.Len(t, w.tries(), 450)
		w.holdsPromises()
	})
}

func TestAnEndpointThatIsDownForSixHoursCostsOneAttemptEachProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.campaign(failing("a", 210, 1)...), w.campaign(failing("b", 110, 1)...)
		w.policies[0].Tasks.Superseded = policy.SupersededRetry // else one list of tasks is for all of a run
		w.fail("RetryBatchTask", emulator.Fault503HTML, 6*time.Hour)
		w.during(func(_ *scheduler.Scheduler, ledger *store.Store) {
			time.Sleep(6 * time.Hour)
			burned, probes := 0, len(w.posts())
			for _, n := range sizes(w.posts()) {
				burned += n
			}
			for i, c := range w.posts()[1:] {
				require.Greater(t, c.At.Sub(w.posts()[i].At), 50*time.Second, "one in each run, whatever tasks there are")
			}
			require.Positive(t, probes)
			require.LessOrEqual(t, probes, 4+24*2, "every 14 minutes, once some have failed")
			require.Equal(t, burned, probes)
			require.Equal(t, float64(burned), metric(t, w, "retryd_attempts_total", "result=unknown"))
			totals, err := ledger.Totals(t.Context())
			require.NoError(t, err)
			require.Equal(t, burned, totals.Attempts)
			require.GreaterOrEqual(t, len(w.calls("ListBatchTasks")), 24, "reads go on")
			require.Empty(t, w.tries())
			time.Sleep(4 * time.Hour)
		})
		require.Len(t, w.tries(), 320, "%s and %s recover afterwards", a, b)
		w.holdsPromises()
	})
}

func TestAFailedProbeBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 450, 1)...)
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if n := len(w.posts()); c.Op == "RetryBatchTask" && (n > 3 && n <= 6 || n == 8) {
				return emulator.FaultCut
			}
			return ""
		})
		w.run(30 * time.Minute)
		require.Equal(t, []int{1, 10, 100, 100, 100, 100, 1, 10, 1, 10, 17}, sizes(w.posts()))
		w.holdsPromises()
	})
}

func TestATaskWithoutAnAnswerKeepsNoOtherFromItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		older := w.campaign(failing("a", 10, 1)...)
		poison := w.campaign(failing("b", 10, 1)...)
		w.run(16 * time.Minute)
		require.Len(t, w.tries(), 20)
		newer := w.campaign(failing("c", 10, 1)...)
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "ShowBatchTask" && c.TaskID == poison {
				return emulator.Fault502
			}
			return ""
		})
		w.run(time.Hour)
		require.Equal(t, 20.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"), "of %s and %s", older, newer)
		require.Len(t, w.tries(), 30)
	})
}
