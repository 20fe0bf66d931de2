package scheduler_test

import (
	"context"
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

// retryOf asks to retry devices of a task, all that have failed where none are named.
func retryOf(task string, past policy.Past, devices ...string) store.Request {
	return store.Request{
		Kind: store.RetryRequest, Identity: "host  " + project, Connection: "prod", ProjectID: project, TaskID: task,
		Order: store.Order{Devices: devices, Past: past},
	}
}

func sweepOf(policyName string) store.Request {
	return store.Request{Kind: store.SweepRequest, Identity: "host  " + project, Connection: "prod", Policy: policyName}
}

// ask asks for something of whoever drives the connection.
func ask(t testing.TB, l *store.Store, r store.Request) int64 {
	t.Helper()
	asked, _, err := l.Ask(context.Background(), store.Action{Who: "ann", What: string(r.Kind), Why: "a customer waits"}, r)
	require.NoError(t, err)
	return asked[0].ID
}

// ended waits for what a request comes to.
func ended(t testing.TB, l *store.Store, id int64) store.Request {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Hour; time.Sleep(time.Second) {
		r, err := l.GetRequest(context.Background(), id)
		require.NoError(t, err)
		if r.State.Ended() {
			return r
		}
	}
	t.Fatal("nobody performs it")
	return store.Request{}
}

// now has a daemon that runs perform a request, and waits for it.
func now(t testing.TB, s *scheduler.Scheduler, l *store.Store, r store.Request) store.Request {
	t.Helper()
	id := ask(t, l, r)
	s.Wake()
	return ended(t, l, id)
}

// idle is a world whose policy sweeps at midnight.
func idle(t testing.TB) *world {
	w := newWorld(t)
	w.schedule("0 0 * * *")
	return w
}

func TestNamedDevicesAreRetriedAtOnceAndTheAttemptsSayWhoAskedForThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task := w.campaign(failing("d", 200, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			time.Sleep(time.Minute)
			begun := time.Now()
			r := now(t, s, l, retryOf(task, policy.Past{}, "d-00007", "d-00003", "d-00007"))
			require.Less(t, time.Since(begun), 5*time.Second)
			require.Equal(t, store.RequestDone, r.State, "%v", r.Result.Problems)
			require.Equal(t, store.Outcome{Targets: map[string]int{"due": 2}, Sent: map[string]int{"accepted": 2}}, r.Result)
			require.Len(t, w.tries(), 2)
			for _, c := range w.calls("ShowBatchTask") {
				require.NotContains(t, c.Query, "task_detail_status", "two devices are read one by one")
			}
			rows, _, err := l.ListAttempts(t.Context(), store.AttemptFilter{ProjectID: project, TaskID: task}, store.Page{Limit: 9})
			require.NoError(t, err)
			require.Len(t, rows, 2)
			for _, row := range rows {
				require.Equal(t, "ann", row.AskedBy)
				require.Equal(t, "upgrades", row.Policy)
			}
			require.Equal(t, 2, w.logs.FilterMessageSnippet("retries asked for by hand").Len())
			require.Equal(t, 2.0, metric(t, w, "retryd_attempts_total", "result=accepted"))
			time.Sleep(40 * time.Minute)
			require.Equal(t, 2.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
		})
		w.holdsPromises()
	})
}

func TestAllFailedTargetsOfATaskAreRetriedByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task := w.campaign(failing("d", 700, 1)...)
		other := w.campaign(failing("e", 10, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			r := now(t, s, l, retryOf(task, policy.Past{}))
			require.Equal(t, store.Outcome{Targets: map[string]int{"due": 700}, Sent: map[string]int{"accepted": 700}}, r.Result)
			r = now(t, s, l, retryOf(task, policy.Past{}))
			require.Equal(t, store.RequestDone, r.State)
			require.Empty(t, r.Result.Sent, "all of them are in flight")
		})
		require.Len(t, w.tries(), 700)
		for _, r := range w.e.Retries() {
			require.NotEqual(t, other, r.TaskID)
		}
		w.holdsPromises()
	})
}

func TestNamingGoesPastRestAgeBacklogApprovalAndMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.ModeObserve, policy.ModeApprove, policy.ModeAuto} {
		synctest.Test(t, func(t *testing.T) {
			w := idle(t)
			p := w.policies[0]
			p.Mode, p.Tasks.Backlog, p.Tasks.MaxAge = mode, false, time.Minute
			task := w.campaign(failing("d", 80, 0)...)
			w.during(func(s *scheduler.Scheduler, l *store.Store) {
				r := now(t, s, l, sweepOf("upgrades"))
				require.Equal(t, store.Outcome{Targets: map[string]int{"task_age": 80}, Sent: map[string]int{}}.Targets, r.Result.Targets)
				for n := range 2 {
					r = now(t, s, l, retryOf(task, policy.Past{}, "d-00001"))
					require.Equal(t, store.RequestDone, r.State, "%v", r.Result)
					require.Equal(t, map[string]int{"accepted": 1}, r.Result.Sent, "%v", r.Result)
					require.Empty(t, r.Result.Left)
					time.Sleep(40 * time.Minute) // it has been seen to fail again, and rests
					require.Equal(t, n+1, w.record(l, task, "d-00001").Counted)
				}
			})
			require.Equal(t, map[string]int{task + " d-00001": 2}, w.tries())
			w.holdsPromises()
		})
	}
}

func TestAnExhaustedDeviceGetsOneAttemptMoreWhereThatIsAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Attempts.Max = 1
		task := w.campaign(append(failing("d", 3, 0), failingWith("Unsupported package type", "p", 1)...)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			now(t, s, l, retryOf(task, policy.Past{}, "d-00000"))
			time.Sleep(time.Hour)
			r := now(t, s, l, retryOf(task, policy.Past{Window: true, Limit: true}, "d-00000", "p-00000"))
			require.Equal(t, []store.Left{
				{DeviceID: "d-00000", Reason: "exhausted", Detail: "1 of 1 attempts"}, {DeviceID: "p-00000", Reason: "permanent", Detail: "unsupported-package"},
			}, r.Result.Left)
			require.Empty(t, r.Result.Sent)
			for n := range 2 {
				r = now(t, s, l, retryOf(task, policy.Past{Max: true}, "d-00000", "p-00000"))
				require.Equal(t, map[string]int{"accepted": 2}, r.Result.Sent, "%v", r.Result)
				time.Sleep(time.Hour)
				require.Equal(t, n+2, w.record(l, task, "d-00000").Counted, "it counts like any")
			}
			r = now(t, s, l, sweepOf("upgrades"))
			require.Equal(t, map[string]int{"due": 2, "exhausted": 1, "permanent": 1}, r.Result.Targets)
		})
		require.Equal(t, 3, w.tries()[task+" d-00000"])
		require.Equal(t, 2, w.tries()[task+" p-00000"])
	})
}

func TestOneRequestIsOneAttemptOfATargetHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	devices := failing("d", 700, 0)
	for i := range 5 {
		devices[100*i+50].Fate.Refused = true
	}
	for name, o := range map[string]struct {
		named []emulator.Device // none = all of the task
		slow  time.Duration
		reads int // if none is read again
	}{
		"a task": {nil, time.Second, 7}, "devices by the page": {devices, time.Second, 7}, "devices one by one": {devices[148:154], 5 * time.Second, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := idle(t)
				w.policies[0].Attempts.Max = 1
				w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost { // a call that is refused is divided: meanwhile what was read grows old
						time.Sleep(o.slow)
					}
					w.e.ServeHTTP(rw, r)
				})
				task := w.campaign(devices...)
				order := retryOf(task, policy.Past{Limit: true, Max: true})
				for _, d := range o.named {
					order.Order.Devices = append(order.Order.Devices, d.ID)
				}
				w.during(func(s *scheduler.Scheduler, l *store.Store) {
					r := now(t, s, l, order)
					require.Equal(t, store.RequestDone, r.State)
					asked, refused := devices, 0
					if len(o.named) > 0 {
						asked = o.named
					}
					for _, d := range asked {
						require.Equal(t, 1, w.record(l, task, d.ID).Counted, d.ID)
						if d.Fate.Refused {
							refused++
						}
					}
					delete(r.Result.Sent, "released") // parts of a call that was divided, when what was read had grown old
					require.Equal(t, store.Outcome{Targets: map[string]int{"due": len(asked)}, Sent: map[string]int{"accepted": len(asked) - refused, "rejected": refused}}, r.Result)
				})
				last := w.posts()[len(w.posts())-1].At
				reads := slices.DeleteFunc(w.calls("ShowBatchTask"), func(c emulator.Call) bool { return c.At.After(last) })
				require.Greater(t, len(reads), o.reads, "some are read again")
				w.holdsPromises()
			})
		})
	}
}

func TestOneRequestIsOneAttemptOfATargetThatMovesFromStatusToStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Attempts.Max = 1
		w.policies[0].Targets.Statuses = []iotda.SubtaskStatus{iotda.SubtaskFail, iotda.SubtaskFailWaitRetry}
		devices := failing("d", 3, 0)
		devices[1].Fate.Refused = true
		task := w.campaign(devices...)
		w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("task_detail_status") == string(iotda.SubtaskFailWaitRetry) {
				w.e.SetSubtask(task, "d-00001", iotda.SubtaskFailWaitRetry)
			}
			w.e.ServeHTTP(rw, r)
		})
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			r := now(t, s, l, retryOf(task, policy.Past{Max: true}))
			require.Equal(t, store.Outcome{Targets: map[string]int{"due": 3}, Sent: map[string]int{"accepted": 2, "rejected": 1}}, r.Result)
			require.Equal(t, 1, w.record(l, task, "d-00001").Counted)
		})
	})
}

func TestWindowsAndLimitsHoldUnlessThePersonGoesPastThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		p := w.policies[0]
		window, err := policy.ParseWindow("0 3 * * *", time.Hour, time.UTC)
		require.NoError(t, err)
		p.Windows = []policy.Window{window}
		p.Limits = policy.Limits{TargetsPerSweep: 5, InFlight: 5, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 3, Factor: 2}}
		task := w.campaign(failing("d", 10, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			r := now(t, s, l, retryOf(task, policy.Past{Limit: true, Max: true}))
			require.Equal(t, map[string]int{"outside_window": 10}, r.Result.Targets)
			require.Empty(t, w.posts())
			r = now(t, s, l, retryOf(task, policy.Past{Window: true}, "d-00000", "d-00001", "d-00002", "d-00003"))
			require.Equal(t, map[string]int{"due": 3, "capped": 1}, r.Result.Targets)
			require.Len(t, r.Result.Left, 1)
			require.Equal(t, []string{"capped", "ramp"}, []string{r.Result.Left[0].Reason, r.Result.Left[0].Detail})
			r = now(t, s, l, retryOf(task, policy.Past{Window: true, Limit: true}))
			require.Equal(t, map[string]int{"accepted": 7}, r.Result.Sent)
		})
		w.holdsPromises()
	})
}

func TestWhatNoPersonGoesPast(t *testing.T) {
	t.Parallel()
	everything := policy.Past{Window: true, Limit: true, Max: true}
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Targets.Exclude = patterns(t, "x-.*")
		devices := append(failing("d", 4, 0), failing("x", 1, 1)...)
		devices = append(devices, emulator.Device{ID: "s", Status: iotda.SubtaskSuccess})
		task := w.campaign(devices...)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Minute), Devices: failing("d", 1, 1)}) // has d-00000 too
		moved := w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Minute), Devices: failing("d", 2, 1)[1:]})
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			require.Equal(t, map[string]int{"accepted": 1}, now(t, s, l, retryOf(moved, policy.Past{}, "d-00001")).Result.Sent)
			w.pause(store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "d-00002"})
			named := []string{"s", "x-00000", "d-00000", "d-00001", "d-00002", "none"}
			r := now(t, s, l, retryOf(task, everything, append(named, "d-00003")...))
			require.Equal(t, map[string]int{"accepted": 1}, r.Result.Sent)
			var reasons []string
			for i, left := range r.Result.Left {
				require.NotEmpty(t, left.Detail, left.Reason)
				reasons = append(reasons, left.Reason)
				require.True(t, slices.Contains(named, r.Result.Left[i].DeviceID))
			}
			require.ElementsMatch(t, []string{"not_selected", "excluded", "superseded", "in_flight", "paused", "not_selected"}, reasons)

			for scope, pause := range pauses(task) {
				if scope == "device" {
					continue
				}
				w.pause(pause)
				r = now(t, s, l, retryOf(task, everything, "d-00003"))
				require.Equal(t, store.RequestDone, r.State)
				require.Equal(t, "paused", r.Result.Left[0].Reason, scope)
				require.Contains(t, r.Result.Left[0].Detail, "ann")
				resume(w, pause)
			}
			require.Equal(t, map[string]int{task + " d-00003": 1, moved + " d-00001": 1}, w.tries())
		})
		w.holdsPromises()
	})
}

func TestATaskThatIsHaltedStaysSoForAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Halt = policy.Halt{On: []policy.CauseClass{iotda.CauseFirmware}, FailureRatio: 0.3, MinOutcomes: 5, Window: 48 * time.Hour, Scope: policy.HaltTask}
		task := w.campaign(failingWith("Firmware update failed", "d", 12)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			now(t, s, l, retryOf(task, policy.Past{}))
			time.Sleep(time.Hour)
			r := now(t, s, l, retryOf(task, policy.Past{Window: true, Limit: true, Max: true}, "d-00000"))
			require.Equal(t, "halted", r.Result.Left[0].Reason, "%v", r.Result)
		})
		require.Len(t, w.tries(), 12)
		w.holdsPromises()
	})
}

func TestWhereAPolicyRetriesWholeTasksAPersonRetriesByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Targets = policy.TargetRules{Mode: policy.TargetsAll, Statuses: iotda.RetryableSubtaskStatuses()}
		task := w.campaign(failing("d", 5, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			require.Equal(t, map[string]int{"accepted": 1}, now(t, s, l, retryOf(task, policy.Past{}, "d-00003")).Result.Sent)
			require.Empty(t, now(t, s, l, sweepOf("upgrades")).Result.Sent, "one of its targets is in flight")
			require.Equal(t, map[string]int{"accepted": 4}, now(t, s, l, retryOf(task, policy.Past{})).Result.Sent)
		})
		require.Len(t, w.tries(), 5)
		for _, c := range w.posts() {
			require.NotEmpty(t, c.Targets)
		}
	})
}

func TestATaskThatNoPolicyHasIsNotRetriedByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Tasks.Names = patterns(t, "fw-.*")
		task := w.campaign(failing("d", 3, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			r := now(t, s, l, retryOf(task, policy.Past{}, "d-00000"))
			require.Equal(t, store.RequestFailed, r.State)
			require.Contains(t, r.Result.Problems[0], "no policy of connection prod has task "+task)
			r = now(t, s, l, retryOf("aaaaaaaaaaaaaaaaaaaaaaaa", policy.Past{}))
			require.Contains(t, r.Result.Problems[0], "has no task aaaaaaaaaaaaaaaaaaaaaaaa")
			r = now(t, s, l, sweepOf("another"))
			require.Equal(t, store.RequestFailed, r.State)
		})
		require.Empty(t, w.posts())
	})
}

func TestWhatARetryByHandWouldDoIsToldAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.policies[0].Attempts.Max = 1
		task := w.campaign(failing("d", 5, 0)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			now(t, s, l, retryOf(task, policy.Past{}, "d-00000"))
			time.Sleep(time.Hour)
			posts, before := len(w.posts()), w.record(l, task, "d-00000")
			o, err := s.PlanRetry(t.Context(), retryOf(task, policy.Past{}, "d-00000", "d-00001", "none"))
			require.NoError(t, err)
			require.Equal(t, store.Outcome{Targets: map[string]int{"due": 1, "exhausted": 1, "not_selected": 1}, Sent: map[string]int{}, Left: []store.Left{
				{DeviceID: "d-00000", Reason: "exhausted", Detail: "1 of 1 attempts"},
				{DeviceID: "none", Reason: "not_selected", Detail: "it is not among the targets that policy upgrades retries, those in [Fail]: it is in another status, or the task has no such device"},
			}}, o)
			o, err = s.PlanRetry(t.Context(), retryOf(task, policy.Past{Max: true}))
			require.NoError(t, err)
			require.Equal(t, map[string]int{"due": 5}, o.Targets)
			require.Empty(t, o.Capped)
			require.Len(t, w.posts(), posts)
			require.Equal(t, before, w.record(l, task, "d-00000"))
			_, err = s.PlanRetry(t.Context(), retryOf("aaaaaaaaaaaaaaaaaaaaaaaa", policy.Past{}))
			require.ErrorContains(t, err, "has no task")
		})
	})
}

func TestAPlanObservesNothingButWhatItIsAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task, other := w.campaign(failing("d", 150, 0)...), w.campaign(failing("e", 5, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			now(t, s, l, retryOf(other, policy.Past{}))
			now(t, s, l, retryOf(task, policy.Past{}))
			time.Sleep(10 * time.Minute) // and nobody has looked
			for _, devices := range [][]string{{"d-00001"}, nil} {
				before := len(w.calls("ShowBatchTask"))
				_, err := s.PlanRetry(t.Context(), retryOf(task, policy.Past{}, devices...))
				require.NoError(t, err)
				calls := w.calls("ShowBatchTask")[before:]
				require.NotEmpty(t, calls)
				for _, c := range calls {
					require.Equal(t, task, c.TaskID)
					if devices != nil {
						require.Equal(t, devices[0], c.Query.Get("target"))
					}
				}
			}
			require.Equal(t, policy.Accepted, w.record(l, task, "d-00001").State, "a plan writes nothing")
		})
	})
}
