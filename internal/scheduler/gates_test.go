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

func (w *world) pause(p store.Pause) {
	a := store.Action{Who: "ann", What: "pause", Why: "a storm"}
	w.joined(func(ledger *store.Store) {
		_, err := ledger.PauseNow(w.t.Context(), a, p)
		require.NoError(w.t, err)
	})
}

// pauses are one of each scope that holds task id back; device is of the first device only.
func pauses(id string) map[string]store.Pause {
	return map[string]store.Pause{
		"all":        {Scope: store.PauseAll},
		"connection": {Scope: store.PauseConnection, Connection: "prod", Identity: "host  " + project},
		"policy":     {Scope: store.PausePolicy, Policy: "upgrades"},
		"task":       {Scope: store.PauseTask, ProjectID: project, TaskID: id},
		"device":     {Scope: store.PauseDevice, ProjectID: project, TaskID: id, DeviceID: "d-00000"},
	}
}

// The names of scopes, as keys of what pauses gives.
var scopes = []string{"all", "connection", "policy", "task", "device"}

func TestAPauseThatIsWrittenBetweenTheDecisionAndTheClaimHolds(t *testing.T) {
	t.Parallel()
	for _, scope := range scopes {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.campaign(failing("d", 10, 1)...)
				w.policies[0].Tasks.Superseded = policy.SupersededRetry // no call to see what is newer
				w.perSec, w.burst = 0.2, 1                              // between the read and the call are 5 s
				var once sync.Once
				var paused sync.WaitGroup
				w.e.SetFault(func(c emulator.Call) emulator.Fault {
					if c.Op == "ShowBatchTask" {
						once.Do(func() {
							paused.Go(func() {
								time.Sleep(time.Second)
								w.pause(pauses(id)[scope])
							})
						})
					}
					return ""
				})
				r := w.sweep()
				paused.Wait()
				require.Equal(t, scheduler.SweepComplete, r.Result)
				if scope == "device" {
					require.Len(t, w.tries(), 9)
					require.NotContains(t, w.tries(), id+" d-00000")
					return
				}
				require.Empty(t, w.posts())
				require.Empty(t, r.Sent)
				require.Equal(t, 10, r.Counts[string(policy.Paused)])
			})
		})
	}
}

func TestAPauseStopsACallThatIsToGoAgainUnderItsClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 10, 1)...)
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "RetryBatchTask" && len(w.posts()) == 2 {
				w.pause(store.Pause{Scope: store.PauseAll})
				return emulator.FaultThrottled
			}
			return ""
		})
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Accepted: 1, policy.Released: 9}, r.Sent)
		require.Len(t, w.posts(), 2)
		require.Len(t, w.tries(), 1)
	})
}

func TestAPauseHoldsBackRetriesUntilItEndsAndNoObserving(t *testing.T) {
	t.Parallel()
	for _, scope := range scopes[:4] {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.campaign(append(failing("d", 10, 1), failing("e", 10, 2)...)...)
				w.sweep()
				p := pauses(id)[scope]
				p.Until = time.Now().Add(3 * time.Hour)
				w.pause(p)
				w.during(func(*scheduler.Scheduler, *store.Store) {
					time.Sleep(170 * time.Minute)
					require.Equal(t, 10.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
					require.Equal(t, 10.0, metric(t, w, "retryd_attempts_settled_total", "outcome=failed"))
					require.Equal(t, 10.0, metric(t, w, "retryd_targets", "reason=paused"))
					require.Equal(t, 1.0, metric(t, w, "retryd_tasks", "state=paused"))
					require.Len(t, w.posts(), 3, "one target, ten, and the rest")
					time.Sleep(40 * time.Minute)
				})
				require.Greater(t, len(w.posts()), 3, "it has ended by itself")
				w.holdsPromises()
			})
		})
	}
}

func TestResumeEndsExactlyThePausesOfItsScope(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.campaign(failing("d", 10, 1)...)
		w.with(func(*scheduler.Scheduler, *store.Store) {})
		w.pause(pauses(id)["task"])
		w.pause(pauses(id)["policy"])
		resume(w, pauses(id)["task"])
		require.Equal(t, 10, w.sweep().Counts[string(policy.Paused)])
		resume(w, pauses(id)["policy"])
		require.Equal(t, 10, w.sweep().Sent[policy.Accepted])
	})
}

func (w *world) approve(a store.Approval) {
	a.ProjectID, a.Policy, a.Who = project, "upgrades", "ann"
	w.joined(func(ledger *store.Store) {
		_, _, err := ledger.Approve(w.t.Context(), action, a)
		require.NoError(w.t, err)
	})
}

// revoke ends every approval.
func (w *world) revoke() (ended int) {
	w.joined(func(ledger *store.Store) {
		approvals, err := ledger.Approvals(w.t.Context())
		require.NoError(w.t, err)
		for _, a := range approvals {
			_, _, err := ledger.EndApproval(w.t.Context(), action, a.ID)
			require.NoError(w.t, err)
		}
		ended = len(approvals)
	})
	return ended
}

func TestInModeApproveATaskWaitsForAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Mode = policy.ModeApprove
		id, other := w.campaign(failing("d", 30, 1)...), w.campaign(failing("e", 30, 1)...)
		require.Equal(t, map[string]int{string(policy.AwaitingApproval): 60}, w.sweep().Counts)
		require.Equal(t, 2.0, metric(t, w, "retryd_tasks", "state=awaiting_approval"))

		w.approve(store.Approval{TaskID: id, PolicyHash: "another", Until: time.Now().Add(time.Hour)})
		require.Empty(t, w.sweep().Sent, "it was for another policy")
		w.approve(store.Approval{TaskID: id, PolicyHash: w.policies[0].Hash, Until: time.Now()})
		require.Empty(t, w.sweep().Sent, "it has ended")

		w.approve(store.Approval{TaskID: id, PolicyHash: w.policies[0].Hash, Targets: 12, Until: time.Now().Add(time.Hour)})
		r := w.sweep()
		require.Equal(t, map[policy.State]int{policy.Accepted: 12}, r.Sent)
		require.Equal(t, 18, r.Counts[string(policy.Capped)])
		require.Empty(t, w.sweep().Sent, "at most as many as were approved, over restarts")

		require.Equal(t, 1, w.revoke())
		require.Equal(t, 18+30, w.sweep().Counts[string(policy.AwaitingApproval)])
		for _, r := range w.e.Retries() {
			require.NotEqual(t, other, r.TaskID)
		}
	})
}

func TestAnApprovedDeviceIsRetriedAgainUnderTheSameApproval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Mode = policy.ModeApprove
		id := w.campaign(failing("d", 30, 3)...)
		w.sweep()
		w.approve(store.Approval{TaskID: id, PolicyHash: w.policies[0].Hash, Targets: 12, Until: time.Now().Add(48 * time.Hour)})
		w.run(24 * time.Hour)
		require.Len(t, w.tries(), 12)
		for target, n := range w.tries() {
			require.Equal(t, 3, n, target)
		}
	})
}

func TestAnApprovalThatIsCutOrRevokedBetweenTheDecisionAndTheClaimHolds(t *testing.T) {
	t.Parallel()
	for _, targets := range []int{0, 4} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.policies[0].Mode, w.policies[0].Tasks.Superseded = policy.ModeApprove, policy.SupersededRetry
			w.perSec, w.burst = 0.2, 1
			id := w.campaign(failing("d", 10, 1)...)
			w.with(func(*scheduler.Scheduler, *store.Store) {})
			approval := store.Approval{TaskID: id, PolicyHash: w.policies[0].Hash, Until: time.Now().Add(time.Hour)}
			w.approve(approval)
			var once sync.Once
			var cut sync.WaitGroup
			w.e.SetFault(func(c emulator.Call) emulator.Fault {
				if c.Op == "ShowBatchTask" {
					once.Do(func() {
						cut.Go(func() {
							time.Sleep(time.Second)
							if approval.Targets = targets; targets > 0 {
								w.approve(approval)
								return
							}
							w.revoke()
						})
					})
				}
				return ""
			})
			w.sweep()
			cut.Wait()
			require.Len(t, w.tries(), targets)
		})
	}
}
