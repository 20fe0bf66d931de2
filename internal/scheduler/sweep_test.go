package scheduler_test

import (
	"context"
	"path/filepath"
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

// fill adds tasks in every state and of other types, and two with failing sub-tasks.
func fill(w *world, each int) (firmware, software string) {
	created := time.Now().Add(-time.Hour)
	firmware = w.add(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Created: created, Devices: append(failing("f", each, 1),
		emulator.Device{ID: "fine", Status: iotda.SubtaskSuccess}, emulator.Device{ID: "stopped-by-hand", Status: iotda.SubtaskStopped})})
	software = w.add(emulator.Task{Name: "sw", Type: iotda.SoftwareUpgrade, Created: created, Devices: append(failing("s", each, 1),
		emulator.Device{ID: "waits", Status: iotda.SubtaskFailWaitRetry}, emulator.Device{ID: "works", Status: iotda.SubtaskProcessing})})
	for i, status := range iotda.TaskStatuses() {
		if !status.Retryable() {
			w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Status: status, Created: created, Devices: failing(string(status), 3+i, 1)})
		}
	}
	w.add(emulator.Task{Type: "moduleUpgrade", Created: created, Devices: failing("m", 5, 1)})
	w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(-40 * 24 * time.Hour), Devices: failing("old", 5, 1)})
	return firmware, software
}

func TestSweepRetriesExactlyTheFailingOnesOnceAndThenCountsThemRecovered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		firmware, software := fill(w, 1500)

		planned, swept := map[string]string{}, map[string]string{}
		w.watch = collect(planned, func(e scheduler.Event) (string, bool) {
			return string(e.Verdict.Reason), e.Kind == scheduler.Decided
		})
		w.start(store.Options{}, func(s *scheduler.Scheduler, _ *store.Store) {
			_, err := s.Plan(t.Context(), nil)
			require.NoError(t, err)
		})
		require.Empty(t, w.e.Retries(), "plan changes nothing")
		w.watch = collect(swept, func(e scheduler.Event) (string, bool) {
			return string(e.Verdict.Reason), e.Kind == scheduler.Decided
		})
		r := w.sweep()
		require.Equal(t, scheduler.SweepComplete, r.Result, r.Problems)
		require.Equal(t, planned, swept, "plan says what sweep does, target by target")
		require.Equal(t, map[policy.State]int{policy.Accepted: 3000}, r.Sent)

		tries := w.tries()
		require.Len(t, tries, 3000)
		for _, device := range failing("f", 1500, 1) {
			require.Equal(t, 1, tries[firmware+" "+device.ID])
		}
		for _, device := range failing("s", 1500, 1) {
			require.Equal(t, 1, tries[software+" "+device.ID])
		}
		require.Len(t, w.e.Retries(), 3000, "and nothing else is touched")

		time.Sleep(20 * time.Minute)
		second := w.sweep()
		require.Empty(t, second.Sent)
		require.Len(t, w.e.Retries(), 3000)
		require.Equal(t, 3000.0, sum(t, w, "retryd_attempts_settled_total", "outcome", "recovered"))
		require.Equal(t, 3000.0, sum(t, w, "retryd_targets_closed_total", "outcome", "recovered"))
	})
}

func TestPlanAndSweepAgreeWhileAttemptsAreOpenAndSettleInBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		created := time.Now().Add(-time.Hour)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: append(failing("a", 120, 2), failing("b", 60, 0)...)})
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Minute), Devices: failing("b", 30, 3)})
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: created, Devices: failing("b", 60, 1)}) // the same devices, another type
		for range 40 {
			planned, sent := map[string]string{}, map[string]string{}
			w.watch = collect(planned, func(e scheduler.Event) (string, bool) {
				return "", e.Kind == scheduler.Decided && e.Verdict.Reason == policy.Due
			})
			options := store.Options{Path: filepath.Join(w.folder, "retryd.db"), Join: true}
			if len(w.e.Retries()) == 0 {
				options = store.Options{}
			}
			w.start(options, func(s *scheduler.Scheduler, _ *store.Store) {
				_, err := s.Plan(t.Context(), nil)
				require.NoError(t, err)
			})
			w.watch = collect(sent, func(e scheduler.Event) (string, bool) { return "", e.Kind == scheduler.Answered })
			r := w.sweep()
			require.Equal(t, scheduler.SweepComplete, r.Result, r.Problems)
			require.Equal(t, planned, sent)
			time.Sleep(17 * time.Minute)
		}
		w.holdsPromises()
		require.NotEmpty(t, w.tries())
	})
}

func TestNoTargetIsRetriedMoreThanMaxTimesWhateverIsRenamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 130, 0)})
		for i := range 15 {
			w.name = []string{"prod", "production", "main"}[i%3]
			w.policies = []*policy.Policy{newPolicy([]string{"nightly", "upgrades"}[i%2])}
			w.policies[0].Connections = []string{w.name}
			w.policies[0].Attempts.GiveUpAfter = 0
			w.sweep()
			time.Sleep(5 * time.Hour)
		}
		w.holdsPromises()
		tries := w.tries()
		for _, device := range failing("d", 130, 0) {
			require.Equal(t, 3, tries[id+" "+device.ID])
		}
		require.Equal(t, 0.0, sum(t, w, "retryd_targets_closed_total", "outcome", "exhausted"), "counted once, by an earlier start")
	})
}

func TestOfTwoCampaignsOverTheSameDevicesOnlyTheNewerIsRetried(t *testing.T) {
	t.Parallel()
	for _, listed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			created := time.Now().Add(-48 * time.Hour)
			older := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("d", 300, 1)})
			w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Hour), Devices: failing("d", 300, 2), ListTargets: listed})
			stopped := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(2 * time.Hour), Devices: failing("d", 300, 1)})
			w.e.StopTask(stopped) // a stopped campaign takes nothing over
			w.run(6 * time.Hour)
			w.holdsPromises()
			for _, r := range w.e.Retries() {
				require.NotEqual(t, older, r.TaskID)
			}
			require.Len(t, w.tries(), 300)
		})
	}
}

func TestADeviceHasOneOpenAttemptOverTasksOfBothTypes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		created := time.Now().Add(-48 * time.Hour)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("d", 150, 2)})
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: created, Devices: failing("d", 150, 2)})
		w.run(24 * time.Hour)
		w.holdsPromises()
		for _, r := range w.e.Retries() {
			s, _ := w.e.Subtask(r.TaskID, r.Target)
			require.Equal(t, iotda.SubtaskSuccess, s.Status)
		}
		require.Len(t, w.tries(), 300)
	})
}

func TestAPersonWhoStopsTheTaskBeforeTheCallIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: append(failing("d", 50, 1), emulator.Device{ID: "fine", Status: iotda.SubtaskSuccess})})
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "RetryBatchTask" {
				w.e.StopTask(id)
			}
			return ""
		})
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Released: 1}, r.Sent, "the platform's coded refusal proves that nothing happened")
		require.Empty(t, w.tries())
		r = w.sweep()
		require.Equal(t, 50, r.Counts[string(policy.TaskStatus)])
		require.Empty(t, r.Sent)
	})
}

func TestAPersonWhoRetriesBeforeTheCallCostsNoSecondUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 50, 1)})
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "RetryBatchTask" {
				w.e.ConsoleRetry(id, c.Targets[:len(c.Targets)/4]...)
			}
			return ""
		})
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Accepted: 39, policy.Rejected: 11}, r.Sent)
		w.e.SetFault(nil)
		w.run(24 * time.Hour)
		w.holdsPromises()
		require.Len(t, w.tries(), 39)
	})
}

func TestAWaveThatGrewOldIsReadAgainAndNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 500, 1)})
		w.perSec, w.burst = 0.2, 1 // 10 pages take 50 s: sized down to what fits
		r := w.sweep()
		require.Equal(t, scheduler.SweepComplete, r.Result, r.Problems)
		reads := map[string]time.Time{}
		for _, c := range w.e.Calls() {
			if c.Op == "ShowBatchTask" {
				reads[c.TaskID] = c.At
			}
			if c.Op == "RetryBatchTask" {
				require.LessOrEqual(t, c.At.Sub(reads[c.TaskID]), 30*time.Second)
			}
		}
		require.Len(t, w.tries(), 500)
	})
}

func TestCallsNeverExceedTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 20, 5
		fill(w, 600)
		w.run(40 * time.Minute)
		calls := w.e.Calls()
		require.Greater(t, len(calls), 50)
		for i, j := 0, 0; j < len(calls); j++ {
			for calls[j].At.Sub(calls[i].At) >= time.Second {
				i++
			}
			require.LessOrEqual(t, j-i+1, 25)
		}
	})
}

func TestPatternsAndIdsChooseTasksAndDevices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.add(emulator.Task{Name: "rollout-1", Type: iotda.FirmwareUpgrade, Devices: append(failing("in", 3, 1), failing("out", 3, 1)...)})
		w.add(emulator.Task{Name: "rollout-10", Type: iotda.FirmwareUpgrade, Devices: failing("in-x", 3, 1)})
		w.policies[0].Tasks.Names = patterns(t, "rollout-1")
		w.policies[0].Targets.Exclude = patterns(t, "out-.*")
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Accepted: 3}, r.Sent)
		require.Equal(t, 3, r.Counts[string(policy.Excluded)])
		for _, retry := range w.e.Retries() {
			require.Equal(t, a, retry.TaskID)
		}
	})
}

func TestAStopLeavesCallsInFlightTimeAndThenCountsThemUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, slow := range []struct {
			takes time.Duration
			state policy.State
		}{{3 * time.Second, policy.Accepted}, {8 * time.Second, policy.Unknown}} {
			w := newWorld(t)
			id := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 1, 1)})
			ctx, stop := context.WithCancel(t.Context())
			w.e.SetFault(func(c emulator.Call) emulator.Fault {
				if c.Op == "RetryBatchTask" {
					stop()
					time.Sleep(slow.takes)
				}
				return ""
			})
			w.with(func(s *scheduler.Scheduler, ledger *store.Store) {
				_, err := s.Sweep(ctx, nil)
				require.NoError(t, err)
				known, err := ledger.Records(t.Context(), project, id, []string{"d-00000"})
				require.NoError(t, err)
				require.Equal(t, slow.state, known["d-00000"].State)
				require.Equal(t, 1, known["d-00000"].Counted)
			})
			time.Sleep(time.Minute) // the emulator's own goroutine ends
		}
	})
}

func TestALongSweepSendsAllWhetherOrNotNewerTasksMatter(t *testing.T) {
	t.Parallel()
	for _, superseded := range []policy.Superseded{policy.SupersededSkip, policy.SupersededRetry} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			created := time.Now().Add(-time.Hour)
			for i := range 8 {
				w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: created, Devices: failing(string(rune('a'+i)), 160, 1)})
			}
			w.policies[0].Tasks.Superseded = superseded
			w.perSec, w.burst = 1, 1 // minutes, so that the first list of tasks is old by the end
			r := w.sweep()
			require.Equal(t, scheduler.SweepComplete, r.Result, r.Problems)
			require.Equal(t, map[policy.State]int{policy.Accepted: 1280}, r.Sent)
			require.Greater(t, r.Duration, 40*time.Second)
			w.holdsPromises()
		})
	}
}
