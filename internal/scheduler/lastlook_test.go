package scheduler_test

import (
	"slices"
	"sync"
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

// atRead calls f once, before the platform answers the n-th read of a task.
func (w *world) atRead(id string, n int, f func()) func(emulator.Call) {
	var mu sync.Mutex
	seen := 0
	return func(c emulator.Call) {
		mu.Lock()
		defer mu.Unlock()
		if c.Op != "ShowBatchTask" || c.TaskID != id {
			return
		}
		if seen++; seen == n {
			f()
		}
	}
}

// lastLook is which read of a task in mode all comes right before its call: the one after those
// of the three statuses that it re-runs.
const lastLook = 4

func TestModeAllLeavesATaskThatIsClosedAtTheLastLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w)
		id := w.campaign(failing("d", 20, 1)...)
		stop := w.atRead(id, lastLook, func() { w.e.StopTask(id) })
		w.e.SetFault(func(c emulator.Call) emulator.Fault { stop(c); return "" })
		r := w.sweep()
		require.Empty(t, w.posts())
		require.Equal(t, scheduler.SweepComplete, r.Result)
		require.Equal(t, map[string]int{string(policy.TaskStatus): 20}, r.Counts, "each is counted once")
	})
}

func TestModeAllIsHeldBackByAListOfTasksThatHasGrownOld(t *testing.T) {
	t.Parallel()
	for _, superseded := range []policy.Superseded{policy.SupersededSkip, policy.SupersededRetry} {
		t.Run(string(superseded), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				wholly(w).Tasks.Superseded = superseded
				id := w.campaign(failing("d", 20, 1)...)
				var slow time.Time
				come := w.atRead(id, lastLook, func() {
					slow = time.Now().Add(40 * time.Second)
					_, err := w.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 20, 1), Status: iotda.TaskSuccess})
					require.NoError(t, err)
				})
				w.e.SetFault(func(c emulator.Call) emulator.Fault {
					if come(c); c.Op == "ShowBatchTask" && time.Now().Before(slow) {
						return emulator.FaultThrottled
					}
					return ""
				})
				r := w.sweep()
				if superseded == policy.SupersededRetry { // which tasks are newer is not asked
					require.Len(t, w.tries(), 20)
					return
				}
				require.Empty(t, w.posts())
				require.Equal(t, scheduler.SweepPartial, r.Result)
				require.Equal(t, 20, w.sweep().Counts[string(policy.SupersededBy)])
			})
		})
	}
}

func TestModeAllSeesANewerTaskThatComesWhileTheMembersOfAnotherAreRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w)
		w.perSec, w.burst = 2, 1
		id := w.campaign(failing("d", 20, 1)...)
		newer := func(devices []emulator.Device) string {
			id, err := w.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: devices, Status: iotda.TaskSuccess, Created: time.Now()})
			require.NoError(t, err)
			return id
		}
		first := newer(failing("a", 2000, 1))
		var second, third func(emulator.Call)
		second = w.atRead(first, 1, func() {
			id := newer(failing("b", 2000, 1))
			third = w.atRead(id, 1, func() { newer(failing("d", 20, 1)) })
		})
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if second(c); third != nil {
				third(c)
			}
			return ""
		})
		r := w.sweep()
		require.Empty(t, w.posts())
		require.Equal(t, scheduler.SweepComplete, r.Result)
		require.Equal(t, 20, r.Counts[string(policy.SupersededBy)], "of task %s", id)
	})
}

// TestModeAllTakesTurnsWithOtherPolicies holds that no call of one sweep comes in the middle of
// a wave of the other. The names are such that the big one starts first.
func TestModeAllTakesTurnsWithOtherPolicies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		big, small := newPolicy("huge"), newPolicy("small")
		big.Tasks.Names, small.Tasks.Names = patterns(t, "big"), patterns(t, "small")
		small.Targets.Mode, small.Targets.Statuses = policy.TargetsAll, policy.TargetStatuses()
		w.policies = []*policy.Policy{big, small}
		bigID := w.add(emulator.Task{Name: "big", Type: iotda.FirmwareUpgrade, Devices: failing("b", 6000, 1)})
		smallID := w.add(emulator.Task{Name: "small", Type: iotda.SoftwareUpgrade, Devices: failing("s", 20, 1)})
		w.run(40 * time.Minute)
		var all []emulator.Call
		for _, c := range w.e.Calls() {
			if c.Op == "ShowBatchTask" || c.Op == "RetryBatchTask" {
				all = append(all, c)
			}
		}
		last := slices.IndexFunc(all, func(c emulator.Call) bool { return c.TaskID == smallID && c.Op == "RetryBatchTask" })
		require.Positive(t, last)
		turns := 0
		for i, c := range all[:last+2] {
			switch {
			case i > 0 && c.TaskID == all[i-1].TaskID:
			case c.TaskID == smallID:
				turns++
			default:
				require.Equal(t, "ShowBatchTask", c.Op, "call %d of %s", i, bigID)
			}
		}
		require.Equal(t, lastLook, turns, "each of its reads waits for a turn, and so does the call")
	})
}

func TestWhatAGateHoldsBackUnderItsClaimIsCountedUnderTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 350, 1)...)
		var paused atomic.Bool
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if n := len(w.posts()); c.Op != "RetryBatchTask" || n <= 3 { // one target, ten, and the first large call
				return ""
			}
			time.Sleep(time.Second) // in which the first call gets through
			if !paused.Swap(true) {
				w.pause(store.Pause{Scope: store.PauseAll})
			}
			return emulator.FaultThrottled
		})
		r := w.sweep()
		require.Len(t, w.tries(), 111)
		require.Equal(t, map[string]int{string(policy.Due): 111, string(policy.Paused): 239}, r.Counts)
		require.Positive(t, r.Sent[policy.Released])
	})
}
