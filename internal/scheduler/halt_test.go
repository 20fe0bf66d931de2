package scheduler_test

import (
	"errors"
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

var action = store.Action{Who: "ann", Source: "test", What: "resume", Subject: "it", Why: "mended"}

// halting gives the world's policy a halt and a ramp as they are by default, and no backoff to
// speak of: then only they hold it back.
func halting(w *world, scope policy.HaltScope) *policy.Policy {
	p := w.policies[0]
	p.Halt = policy.Halt{On: []policy.CauseClass{iotda.CauseFirmware}, FailureRatio: 0.3, MinOutcomes: 20, Window: 48 * time.Hour, Scope: scope}
	p.Limits.Ramp = policy.Ramp{Initial: 50, Factor: 2}
	return p
}

func resume(w *world, p store.Pause) (halts int) {
	w.joined(func(ledger *store.Store) {
		ended, err := ledger.Resume(w.t.Context(), action, p)
		if !errors.Is(err, store.ErrNoPause) {
			require.NoError(w.t, err)
		}
		halts = len(ended.Halts)
	})
	return halts
}

func TestAFleetThatIsHalfOfflineWithGoodFirmwareIsNotHalted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		w.campaign(append(failing("good", 60, 1), failingWith("Device Abnormal is not online", "off", 60)...)...)
		for range 12 {
			require.Zero(t, w.sweep().Counts[string(policy.Halted)])
			time.Sleep(time.Hour)
		}
		require.Equal(t, 60, count(w.tries(), 1))
		require.Equal(t, 60, count(w.tries(), 3))
	})
}

// count gives how many targets were tried n times.
func count(tries map[string]int, n int) (targets int) {
	for _, times := range tries {
		if times == n {
			targets++
		}
	}
	return targets
}

func TestABadPackageIsHaltedAfterOneBatchAndNoOtherTaskIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		bad := w.campaign(failingWith("Firmware update failed", "bad", 300)...)
		w.campaign(failing("good", 300, 1)...)
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(5 * time.Hour)
			require.Equal(t, 1.0, metric(t, w, "retryd_tasks", "state=halted"))
			require.Equal(t, 300.0, metric(t, w, "retryd_targets", "reason=halted"))
			require.Equal(t, 1, w.logs.FilterMessageSnippet("halted: too many").Len(), "said once")
		})
		byTask := map[string]int{}
		for _, r := range w.e.Retries() {
			byTask[r.TaskID]++
		}
		require.Equal(t, 50, byTask[bad], "the first wave of the ramp")
		require.Len(t, byTask, 2)
		require.Len(t, w.tries(), 350)
	})
}

func TestWhatIsRetriedAfterAHaltBeginsSmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := halting(w, policy.HaltTask)
		p.Limits.Ramp = policy.Ramp{} // none: all at once
		id := w.campaign(append(failingWith("Firmware update failed", "bad", 150), failing("good", 150, 2)...)...)
		w.sweep()
		time.Sleep(time.Hour)
		w.sweep()
		time.Sleep(20 * time.Minute)
		require.Equal(t, 300, w.sweep().Counts[string(policy.Halted)])
		posts := len(w.posts())
		time.Sleep(20 * time.Hour)
		require.Equal(t, 300, w.sweep().Counts[string(policy.Halted)], "until a person resumes it")
		require.Zero(t, resume(w, store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: "5f2bc5a1b2c3d4e5f6a7b8c9"}))
		require.Equal(t, 1, resume(w, store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: id}))
		r := w.sweep()
		require.Equal(t, 20, r.Sent[policy.Accepted])
		require.Equal(t, 280, r.Counts[string(policy.Capped)])
		require.Equal(t, []int{1, 10, 9}, sizes(w.posts())[posts:])
	})
}

func TestAHaltEndsWithItsCooldown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask).Halt.Cooldown = 6 * time.Hour
		w.campaign(append(failingWith("Firmware update failed", "bad", 50), failing("good", 100, 1)...)...)
		w.sweep()
		var halted, ended time.Time
		for ended.IsZero() {
			time.Sleep(30 * time.Minute)
			switch r := w.sweep(); {
			case halted.IsZero() && r.Counts[string(policy.Halted)] > 0:
				halted = time.Now()
			case !halted.IsZero() && r.Counts[string(policy.Halted)] == 0:
				ended = time.Now()
				require.LessOrEqual(t, r.Sent[policy.Accepted], 50)
				require.Positive(t, r.Sent[policy.Accepted])
			}
		}
		require.InDelta(t, 6, ended.Sub(halted).Hours(), 0.51)
	})
}

func TestAHaltOfThePolicyStopsAllItsTasksAndNoOtherPolicys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltPolicy)
		other := newPolicy("other")
		other.Tasks.Types = []iotda.TaskType{iotda.SoftwareUpgrade}
		w.policies[0].Tasks.Types = []iotda.TaskType{iotda.FirmwareUpgrade}
		w.policies = append(w.policies, other)
		w.campaign(append(failing("good", 60, 1), failing("off", 30, 0)...)...)
		w.campaign(failingWith("Firmware update failed", "bad", 200)...)
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("sw", 120, 1)})
		w.sweep()
		time.Sleep(20 * time.Minute)
		w.sweep()
		time.Sleep(20 * time.Minute)
		r := w.sweep()
		require.Positive(t, r.Counts[string(policy.Halted)])
		require.Len(t, r.Counts, 1, "both tasks")
		require.Empty(t, r.Sent)
		require.Equal(t, 2.0, metric(t, w, "retryd_tasks", "policy=upgrades", "state=halted"))
		require.Equal(t, 0.0, metric(t, w, "retryd_tasks", "policy=other", "state=halted"))
		require.Equal(t, 1, resume(w, store.Pause{Scope: store.PausePolicy, Policy: "upgrades"}))
		require.Positive(t, w.sweep().Sent[policy.Accepted])
	})
}

func TestPlanSaysThatTheNextSweepHalts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		w.campaign(append(failing("good", 50, 0), failingWith("Firmware update failed", "bad", 50)...)...)
		w.sweep()
		time.Sleep(20 * time.Minute)
		w.sweep() // sees the first 50 fail, once
		time.Sleep(20 * time.Minute)
		planned := w.plan()
		require.Equal(t, map[string]int{string(policy.Halted): 100}, planned.Counts)
		w.joined(func(ledger *store.Store) {
			g, err := ledger.Gates(t.Context(), store.Scope{ProjectID: project, Policy: "upgrades"})
			require.NoError(t, err)
			require.Empty(t, g.Halted, "plan writes nothing")
		})
		require.Equal(t, planned.Counts, w.sweep().Counts)
	})
}
