package scheduler_test

import (
	"context"
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

// TestTwoInstancesOfAProjectLeaveEachOthersTasksAlone: each knows its own tasks only, so a 404 for
// the other's says nothing.
func TestTwoInstancesOfAProjectLeaveEachOthersTasksAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newEstate(t)
		a := f.add("a", project, emulator.Options{Upgrade: 2 * time.Hour, Seed: 1})
		b := f.add("b", project, emulator.Options{Upgrade: 2 * time.Hour, Seed: 2})
		often, seldom := newPolicy("often"), newPolicy("seldom")
		var err error
		often.Schedule, err = policy.ParseSchedule("*/5 * * * *", time.UTC)
		require.NoError(t, err)
		often.Connections, seldom.Connections = []string{"a"}, []string{"b"}
		f.policies = []*policy.Policy{often, seldom}
		for i, s := range []*site{a, b, b, b} {
			_, err := s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing(string(rune('a'+i)), 5, 1)})
			require.NoError(t, err)
		}
		f.with(func(s *scheduler.Scheduler, _ *store.Store) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Hour)
			defer cancel()
			require.NoError(t, s.Run(ctx))
		})
		require.Len(t, f.accepted(), 20)
		require.Equal(t, 20.0, f.outcomes("recovered"))
		require.Zero(t, f.outcomes("gone"))
		require.Zero(t, f.logs.FilterMessage("connection down").Len())
	})
}

// TestDevicesThatAreOfflineDoNotHoldUpTheOthers: their attempts stay open for up to 25 hours, and
// the ramp counts what is younger.
func TestDevicesThatAreOfflineDoNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Limits = policy.Limits{TargetsPerSweep: 1000, InFlight: 1000, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 50, Factor: 2}}
		w.policies[0].Halt.Window = 48 * time.Hour
		devices := failing("d", 500, 1)
		for i := range devices {
			if i%5 != 0 {
				devices[i].Fate = emulator.Fate{Upgrade: 25 * time.Hour, Message: "Waiting for the device online timeout"}
			}
		}
		w.campaign(devices...)
		w.run(30 * time.Hour)
		require.Equal(t, 100.0, metric(t, w, "retryd_targets_closed_total", "outcome=recovered"), "every device that is online")
		w.holdsPromises()
	})
}

// TestALongListAtALowRateStillSends: what a list of tasks says about newer ones must not grow too
// old while the list is read.
func TestALongListAtALowRateStillSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 0.4, 1
		for range 600 {
			w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-20 * 24 * time.Hour), Devices: []emulator.Device{{ID: "x", Status: iotda.SubtaskSuccess}}})
		}
		id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 60, 1)})
		r := w.sweep()
		require.Equal(t, scheduler.SweepComplete, r.Result, r.Problems)
		require.Equal(t, map[policy.State]int{policy.Accepted: 60}, r.Sent)
		lists := 0
		for _, c := range w.e.Calls() {
			if c.Op == "ListBatchTasks" {
				lists++
			}
		}
		require.LessOrEqual(t, lists, 13+1+4, "13 pages of firmware tasks, one of software, and few to catch up")

		// A newer campaign that comes while the list is old is noticed all the same.
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "ShowBatchTask" && c.Query.Get("task_detail_status") == string(iotda.SubtaskFail) {
				w.e.SetFault(nil)
				_, err := w.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("e", 60, 1)})
				require.NoError(t, err)
			}
			return ""
		})
		older := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("e", 60, 1)})
		r = w.sweep()
		require.Equal(t, 60, r.Counts[string(policy.SupersededBy)], r.Counts)
		for _, retry := range w.e.Retries() {
			require.NotEqual(t, older, retry.TaskID)
		}
		require.Len(t, w.tries(), 60, id)
	})
}
