package scheduler_test

import (
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

// wholly puts the world's policy into mode all.
func wholly(w *world) *policy.Policy {
	w.policies[0].Targets.Mode, w.policies[0].Targets.Statuses = policy.TargetsAll, policy.TargetStatuses()
	return w.policies[0]
}

// explicitly takes it back to naming targets.
func explicitly(w *world) {
	w.policies[0].Targets.Mode, w.policies[0].Targets.Statuses = policy.TargetsExplicit, []iotda.SubtaskStatus{iotda.SubtaskFail}
}

// mixed is devices in each state that a whole retry re-runs, and in others.
func mixed(recoverAt int) []emulator.Device {
	devices := append(failing("d", 120, recoverAt), failing("e", 40, recoverAt)...)
	for i := range devices[:10] {
		devices[i].Status = iotda.SubtaskStopped
		devices[10+i].Status = iotda.SubtaskFailWaitRetry
	}
	return append(devices, emulator.Device{ID: "fine", Status: iotda.SubtaskSuccess})
}

func TestModeAllRetriesATaskWithOneCallThatCountsForEachTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w)
		id := w.campaign(mixed(2)...)
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Accepted: 1}, r.Sent)
		require.Equal(t, 160, r.Counts[string(policy.Due)])
		require.Len(t, w.posts(), 1)
		require.Nil(t, w.posts()[0].Targets, "it names nobody")
		require.Len(t, w.tries(), 160)
		w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
			require.Equal(t, 1, w.record(ledger, id, policy.WholeTask).Counted)
			for _, device := range []string{"d-00000", "d-00010", "e-00039"} {
				r := w.record(ledger, id, device)
				require.Equal(t, 1, r.Counted, device)
				require.Equal(t, id, r.OpenTask, device)
			}
		})
		time.Sleep(3 * time.Hour)
		w.sweep() // it has failed, and rests
		require.Equal(t, 1.0, metric(t, w, "retryd_task_retries_total", "outcome=failed"))
		require.Equal(t, 0.0, metric(t, w, "retryd_attempts_settled_total"))
		time.Sleep(3 * time.Hour)
		w.sweep()
		time.Sleep(time.Hour)
		w.sweep()
		require.Equal(t, 1.0, metric(t, w, "retryd_task_retries_total", "outcome=recovered"))
		require.Len(t, w.posts(), 2)
	})
}

func TestModeAllIsOpenUntilNothingMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w)
		devices := mixed(0)
		devices[50].Fate.Upgrade = 10 * time.Hour
		w.campaign(devices...)
		w.sweep()
		require.Equal(t, 0.0, w.sweeps(9, "retryd_task_retries_total"))
		require.Len(t, w.posts(), 1)
		require.Equal(t, 1.0, w.sweeps(2, "retryd_task_retries_total", "outcome=failed"))
	})
}

func TestModeAllWaitsWhereOneTargetMayNotGo(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(w *world, devices []emulator.Device) func(id string){
		"permanent": func(_ *world, devices []emulator.Device) func(string) {
			devices[5].Status, devices[5].Fate.Message = iotda.SubtaskFail, "Unsupported package type"
			return func(string) {}
		},
		"paused": func(w *world, _ []emulator.Device) func(string) {
			return func(id string) {
				w.pause(store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: id, DeviceID: "d-00100"})
			}
		},
		"backoff": func(w *world, _ []emulator.Device) func(string) {
			return func(string) {
				explicitly(w)
				w.policies[0].Targets.IncludeIDs = map[string]bool{"d-00100": true}
				w.sweep()
				time.Sleep(20 * time.Minute)
				w.policies[0].Targets.IncludeIDs = nil
				wholly(w)
			}
		},
		"over a limit": func(w *world, _ []emulator.Device) func(string) {
			w.policies[0].Limits.TargetsPerSweep = 159
			return func(string) {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				wholly(w)
				devices := mixed(0)
				then := hold(w, devices)
				id := w.campaign(devices...)
				w.with(func(*scheduler.Scheduler, *store.Store) {})
				then(id)
				before := len(w.posts())
				r := w.sweep()
				require.GreaterOrEqual(t, r.Counts[string(policy.Capped)], 159)
				require.Len(t, w.posts(), before)
			})
		})
	}
}

func TestAttemptsOfTheWholeAndOfOneCountTogether(t *testing.T) {
	t.Parallel()
	for _, wholeFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.campaign(failing("d", 10, 0)...)
			for i := range 9 {
				if (i < 2) == wholeFirst {
					wholly(w)
				} else {
					explicitly(w)
				}
				w.sweep()
				time.Sleep(time.Hour)
			}
			for device, n := range w.tries() {
				require.Equal(t, 3, n, device)
			}
			require.Len(t, w.tries(), 10)
			require.Equal(t, 10, w.sweep().Counts[string(policy.Exhausted)])
			w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
				whole := w.record(ledger, id, policy.WholeTask).Counted
				require.True(t, whole > 0 && whole < 3, "both took part: %d", whole)
			})
		})
	}
}

func TestAnOpenAttemptKeepsTheDeviceFromAllOtherTasksWhollyOrByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w).Tasks.Types = []iotda.TaskType{iotda.FirmwareUpgrade}
		named := newPolicy("named")
		named.Tasks.Types = []iotda.TaskType{iotda.SoftwareUpgrade}
		w.policies = []*policy.Policy{named, w.policies[0]}
		both := failing("d", 20, 2)
		software := w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: append(both[:5:5], failing("s", 5, 1)...)})
		firmware := w.campaign(failing("d", 20, 2)...)
		w.sweep()
		require.Len(t, w.tries(), 10, "the whole task waits for five of its devices")
		w.run(7 * time.Hour)
		for _, r := range w.e.Retries() {
			require.Empty(t, r.Busy, "%s in %s", r.Target, r.TaskID)
		}
		require.Len(t, w.tries(), 30, "%s and %s", software, firmware)
		for _, d := range both {
			s, _ := w.e.Subtask(firmware, d.ID)
			require.Equal(t, iotda.SubtaskSuccess, s.Status)
		}
	})
}

func TestDevicesOfAWholeTaskThatIsOpenAreInFlightInEveryTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w)
		w.campaign(failing("d", 20, 1)...)
		require.Equal(t, 1, w.sweep().Sent[policy.Accepted])
		explicitly(w)
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: append(failing("d", 5, 1), failing("s", 5, 1)...)})
		r := w.sweep()
		require.Equal(t, map[string]int{string(policy.InFlight): 5, string(policy.Due): 5}, r.Counts)
		require.Len(t, w.tries(), 25)
	})
}

func TestModeAllProbesByNameWhileItIsNotKnownWhatCallsDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wholly(w).Attempts.Backoff = policy.Backoff{Initial: time.Hour, Multiplier: 1, Max: time.Hour}
		for _, name := range []string{"a", "b", "c", "d"} {
			w.campaign(failing(name, 60, 1)...)
		}
		w.fail("RetryBatchTask", emulator.Fault503HTML, 25*time.Minute)
		w.run(25 * time.Minute)
		require.Equal(t, []int{0, 1}, sizes(w.posts())[:2])
		require.Less(t, len(w.posts()), 10)
		w.run(5 * time.Hour)
		require.Len(t, w.tries(), 4*60)
	})
}
