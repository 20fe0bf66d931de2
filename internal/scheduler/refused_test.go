package scheduler_test

import (
	"net/http"
	"slices"
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

// refusing marks devices for which the platform refuses a whole call.
func refusing(devices []emulator.Device, which ...int) []emulator.Device {
	for _, i := range which {
		devices[i].Fate.Refused = true
	}
	return devices
}

func TestOfARefusedCallExactlyTheTargetsThatAreRefusedAloneAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string][]int{
		"scattered":      {3, 40, 77, 120},
		"side by side":   {149, 148, 147, 146}, // the first rows that the platform lists
		"one":            {70},
		"a whole call":   countDown(145, 40),
		"every other of": {100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.campaign(refusing(failing("d", 150, 1), bad...)...)
				w.run(3 * time.Hour)
				tries := w.tries()
				w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
					for i, d := range failing("d", 150, 1) {
						r := w.record(ledger, id, d.ID)
						if slices.Contains(bad, i) {
							require.Equal(t, policy.Rejected, r.State, d.ID)
							require.True(t, r.Refused && r.Closed, d.ID)
							require.Equal(t, 1, r.Counted, d.ID)
							continue
						}
						require.Equal(t, policy.Recovered, r.State, d.ID)
						require.Equal(t, 1, tries[id+" "+d.ID], d.ID)
					}
				})
				require.Len(t, tries, 150-len(bad))
				posts := len(w.posts())
				w.run(2 * time.Hour)
				require.Len(t, w.posts(), posts, "nothing more is tried")
			})
		})
	}
}

func TestWhatIsRefusedAloneIsCountedAsPermanent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(refusing(failing("d", 30, 1), 7, 8)...)
		w.during(func(*scheduler.Scheduler, *store.Store) { time.Sleep(time.Hour) })
		require.Equal(t, 2.0, metric(t, w, "retryd_targets_closed_total", "outcome=permanent"))
		require.Equal(t, 2.0, metric(t, w, "retryd_attempts_total", "result=rejected"))
		require.Equal(t, 2.0, metric(t, w, "retryd_failures_total", "rule=refused"))
		require.Equal(t, 2.0, metric(t, w, "retryd_targets", "reason=permanent"))
	})
}

func TestOfATaskThatTookRetriesBeforeAlsoTheLastTargetsAreGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		devices := refusing(failing("d", 20, 1), 5, 6, 7)
		for _, i := range []int{5, 6, 7} {
			devices[i].Status = iotda.SubtaskStopped
		}
		id := w.campaign(devices...)
		w.sweep()
		require.Len(t, w.tries(), 17)
		for _, i := range []int{5, 6, 7} {
			w.e.SetSubtask(id, devices[i].ID, iotda.SubtaskFail)
		}
		time.Sleep(time.Hour)
		require.Equal(t, map[policy.State]int{policy.Rejected: 3, policy.Released: 1}, w.sweep().Sent, "the first went alone before")
		require.Equal(t, 3, w.sweep().Counts[string(policy.Permanent)])
	})
}

func TestATaskThatIsRefusedTwiceIsLeftUntilItChanges(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.campaign(failing("d", 210, 1)...)
			refused := true
			w.refuseRetries(status, "IOTDA.014299", func() bool { return refused })
			for range 2 {
				r := w.sweep()
				require.Equal(t, scheduler.SweepPartial, r.Result)
				require.Equal(t, map[policy.State]int{policy.Released: r.Sent[policy.Released]}, r.Sent, "a refusal costs no attempt")
				require.Positive(t, r.Sent[policy.Released])
				time.Sleep(15 * time.Minute)
			}
			refused = false
			r := w.sweep()
			require.Equal(t, 210, r.Counts[string(policy.TaskStatus)])
			require.Empty(t, w.posts())
			w.e.ConsoleRetry(id, "d-00000")
			r = w.sweep()
			require.Equal(t, map[policy.State]int{policy.Accepted: 209}, r.Sent)
		})
	}
}

func TestARefusalOfWhoAsksIsNotOfTheTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 350, 1)...)
		until := time.Now().Add(50 * time.Minute)
		w.refuseRetries(http.StatusForbidden, "APIGW.0302", func() bool { return time.Now().Before(until) })
		w.run(50 * time.Minute)
		require.Empty(t, w.posts())
		require.LessOrEqual(t, metric(t, w, "retryd_attempts_total", "result=released"), 300.0+3*5, "then one target in each run of a sweep")
		w.run(20 * time.Minute) // the right has been granted
		require.Len(t, w.tries(), 350)
		w.holdsPromises()
	})
}

func countDown(from, to int) (list []int) {
	for i := from; i >= to; i-- {
		list = append(list, i)
	}
	return list
}
