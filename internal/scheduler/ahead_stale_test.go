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

// TestAWaveThatGrowsOldBehindOthersIsReadAgainAndEachTargetIsCountedOnce: retries are throttled until the
// first of several waves has grown old, while those behind it have nothing to retry.
func TestAWaveThatGrowsOldBehindOthersIsReadAgainAndEachTargetIsCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Targets.Exclude = patterns(t, "x-.*")
		w.campaign(append(append(failing("a", 20, 1), failing("x", 1500, 0)...), failing("z", 20, 1)...)...)
		w.fail("RetryBatchTask", emulator.FaultThrottled, 40*time.Second)
		report := w.sweep()
		sum := 0
		for _, n := range report.Counts {
			sum += n
		}
		require.Equal(t, 1540, sum, "%v", report.Counts)
		require.Equal(t, 1500, report.Counts[string(policy.Excluded)])
		w.sweep()
		require.Len(t, w.tries(), 40)
		w.holdsPromises()
	})
}

// TestCallsOfModeAllKeepToTheConcurrency however many tasks there are.
func TestCallsOfModeAllKeepToTheConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.policies[0]
		p.Targets.Mode, p.Targets.Statuses = policy.TargetsAll, policy.TargetStatuses()
		other := newPolicy("wide")
		other.Tasks.Names, p.Tasks.Names = patterns(t, "wide"), patterns(t, "all-.*")
		w.policies = append(w.policies, other)
		for i := range 13 {
			w.add(emulator.Task{Name: fmt.Sprint("all-", i), Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing(fmt.Sprint("s", i), 5, 1)})
		}
		w.add(emulator.Task{Name: "wide", Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("f", 3000, 1)})
		w.during(func(_ *scheduler.Scheduler, _ *store.Store) { time.Sleep(20 * time.Minute) })
		require.Len(t, w.tries(), 13*5+3000)
		calls := w.e.Calls()
		for i := range calls { // each takes 10 ms
			n := 0
			for j := i; j < len(calls) && calls[j].At.Sub(calls[i].At) < 10*time.Millisecond; j++ {
				n++
			}
			require.LessOrEqual(t, n, 4, "calls at once from call %d on", i)
		}
	})
}
