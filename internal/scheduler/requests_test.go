package scheduler_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestWhatIsAskedOfAReplicaThatDoesNotDriveIsDoneByTheOneThatDoes(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	platform := newWorld(t)
	task := platform.campaign(failing("d", 20, 1)...)
	a := join(t, address, idThatWins, platform.connection(t, "prod", "account"))
	soon(t, "it drives", func() bool { return a.drives("prod") })
	b := join(t, address, "a", platform.connection(t, "prod", "account"))
	require.False(t, b.drives("prod"))
	r := retryOf(task, policy.Past{}, "d-00001", "d-00002")
	r.Identity = "of prod"
	o, err := b.s.PlanRetry(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"due": 2}, o.Targets)
	require.Zero(t, metric(t, b.world, "retryd_connection_up"), "who drives it says so")
	id := ask(t, b.ledger, r)
	b.s.Wake()
	soon(t, "it is done", func() bool {
		now, err := b.ledger.GetRequest(t.Context(), id)
		require.NoError(t, err)
		return now.State == store.RequestDone
	})
	require.Len(t, platform.tries(), 2)
	require.Equal(t, 1, a.logs.FilterMessage("retries asked for by hand").Len())

	hand := prepare(t, address, "c", platform.connection(t, "prod", "account"))
	r.ID = ask(t, hand.ledger, sweepRequest("of prod"))
	_, err = hand.s.PerformNow(t.Context(), r)
	require.ErrorIs(t, err, scheduler.ErrDriven)
	soon(t, "the one that drives does it", func() bool {
		now, err := b.ledger.GetRequest(t.Context(), r.ID)
		require.NoError(t, err)
		return now.State == store.RequestDone
	})
	require.Len(t, platform.tries(), 20)
}

func sweepRequest(identity string) store.Request {
	r := sweepOf("upgrades")
	r.Identity = identity
	return r
}

func TestARequestThatIsCutOffByTheEndOfTheProgramSaysWhatWasDoneAndIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []store.RequestKind{store.RetryRequest, store.SweepRequest} {
		synctest.Test(t, func(t *testing.T) {
			w := idle(t)
			w.perSec, w.burst = 1, 1
			task := w.campaign(failing("d", 500, 1)...)
			r := retryOf(task, policy.Past{})
			if kind == store.SweepRequest {
				r = sweepOf("upgrades")
			}
			var id int64
			w.during(func(s *scheduler.Scheduler, l *store.Store) {
				id = ask(t, l, r)
				s.Wake()
				inTheMiddle(w)
			})
			tried := len(w.tries())
			require.NotZero(t, tried)
			require.Less(t, tried, 500)
			w.joined(func(l *store.Store) {
				ended, err := l.GetRequest(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, store.RequestFailed, ended.State)
				require.Contains(t, ended.Result.Problems, "stopped before it was finished")
				require.Equal(t, map[string]int{"accepted": tried}, ended.Result.Sent)
			})
			w.run(time.Hour)
			require.Len(t, w.tries(), tried)
			w.joined(func(l *store.Store) {
				rows, _, err := l.ListSweeps(t.Context(), store.SweepFilter{Result: "running"}, store.Page{Limit: 9})
				require.NoError(t, err)
				require.Empty(t, rows)
			})
			w.holdsPromises()
		})
	}
}

func TestARequestWhosePolicyIsReplacedIsCutOffAndTheNextGoesUnderItsSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		w.perSec, w.burst = 1, 1
		task := w.campaign(failing("d", 300, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			id := ask(t, l, retryOf(task, policy.Past{}))
			s.Wake()
			inTheMiddle(w)
			next := *w.policies[0]
			next.Hash, next.Name = "2", "successor"
			setup := w.setup
			setup.Policies = []*policy.Policy{&next}
			s.Apply(setup)
			posts := len(w.posts())
			r := ended(t, l, id)
			require.Equal(t, store.RequestFailed, r.State)
			require.Contains(t, r.Result.Problems, "stopped before it was finished")
			require.Len(t, w.posts(), posts, "nothing was sent after that")
			r = now(t, s, l, retryOf(task, policy.Past{}))
			require.Equal(t, store.RequestDone, r.State, "%v", r.Result)
			require.Len(t, w.tries(), 300)
			r = now(t, s, l, sweepOf("upgrades"))
			require.Equal(t, store.RequestFailed, r.State)
		})
		w.holdsPromises()
	})
}

func TestARequestThatADeadProcessHadBegunFailsAndOneThatIsLateExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task := w.campaign(failing("d", 10, 1)...)
		var left, late, fresh int64
		w.with(func(_ *scheduler.Scheduler, l *store.Store) { // killed after it had begun it
			left = ask(t, l, retryOf(task, policy.Past{}, "d-00000"))
			a, err := l.Acquire(t.Context(), "host  "+project, store.Replica{ID: "dead"}, time.Minute)
			require.NoError(t, err)
			r, _, err := l.Under(a.Lease).TakeRequest(t.Context(), "host  "+project)
			require.NoError(t, err)
			require.Equal(t, left, r.ID)
			late = ask(t, l, retryOf(task, policy.Past{}, "d-00001"))
		})
		time.Sleep(11 * time.Minute)
		w.during(func(_ *scheduler.Scheduler, l *store.Store) {
			fresh = ask(t, l, retryOf(task, policy.Past{}, "d-00002"))
			require.Equal(t, store.RequestDone, ended(t, l, fresh).State, "it is found without being woken")
			r := ended(t, l, left)
			require.Equal(t, store.RequestFailed, r.State)
			require.Contains(t, r.Result.Problems[0], "ended before it was done")
			require.Equal(t, store.RequestExpired, ended(t, l, late).State)
			synctest.Wait() // what is counted is in the ledger before
			for _, result := range []string{"done", "failed", "expired"} {
				require.Equal(t, 1.0, metric(t, w, "retryd_manual_requests_total", "connection=prod", "kind=retry", "result="+result), result)
			}
			require.Zero(t, metric(t, w, "retryd_manual_requests_total", "kind=sweep"))
			require.Equal(t, map[string]int{task + " d-00002": 1}, w.tries())
			require.Equal(t, store.RequestDone, ended(t, l, ask(t, l, sweepRequest("host  "+project))).State)
			synctest.Wait()
			require.Equal(t, 1.0, metric(t, w, "retryd_manual_requests_total", "kind=sweep", "result=done"))
		})
	})
}

func TestASweepByHandBesideATickDisturbsNoTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		w.schedule("@every 20m")
		w.policies[0].Limits = policy.Limits{TargetsPerSweep: 150}
		w.campaign(failing("d", 400, 1)...)
		start := time.Now().UTC()
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			inTheMiddle(w) // of the first tick
			r := now(t, s, l, sweepOf("upgrades"))
			require.Equal(t, store.RequestDone, r.State, "%v", r.Result)
			require.Equal(t, 150, r.Result.Sent["accepted"], "it has the limit of a sweep of its own")
			time.Sleep(time.Until(start.Add(40 * time.Minute))) // just when one is due
			r = now(t, s, l, sweepOf("upgrades"))
			require.Equal(t, store.RequestDone, r.State)
			time.Sleep(25 * time.Minute)
			require.Zero(t, metric(t, w, "retryd_ticks_skipped_total"))
		})
		due := []time.Time{}
		byHand := 0
		for _, tick := range w.ticks() {
			require.Equal(t, "complete", tick.Result)
			if tick.Why == store.ByHand {
				byHand++
			} else {
				due = append(due, tick.Tick)
			}
		}
		require.Equal(t, 2, byHand)
		require.Equal(t, []time.Time{start.Add(20 * time.Minute), start.Add(40 * time.Minute), start.Add(60 * time.Minute)}, due)
		require.Len(t, w.tries(), 400)
		for target, n := range w.tries() {
			require.Equal(t, 1, n, target)
		}
		w.holdsPromises()
	})
}

func TestRequestsArePerformedWithoutADaemonAndTheLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task := w.campaign(failing("d", 10, 1)...)
		w.with(func(s *scheduler.Scheduler, l *store.Store) {
			var requests []store.Request
			for _, r := range []store.Request{retryOf(task, policy.Past{}, "d-00000"), sweepOf("upgrades")} {
				r.ID = ask(t, l, r)
				requests = append(requests, r)
			}
			done, err := s.PerformNow(t.Context(), requests...)
			require.NoError(t, err)
			require.Equal(t, []map[string]int{{"accepted": 1}, {"accepted": 9}}, []map[string]int{done[0].Result.Sent, done[1].Result.Sent})
			require.Equal(t, store.RequestDone, done[1].State)
			held, replicas, err := l.Leases(t.Context(), time.Minute)
			require.NoError(t, err)
			require.Empty(t, replicas)
			require.True(t, held["host  "+project].Free(l.Now()))

			gone, cancel := context.WithCancel(t.Context())
			cancel()
			requests[0].ID = ask(t, l, requests[0])
			_, err = s.PerformNow(gone, requests[0])
			require.Error(t, err)
			stranger := requests[0]
			stranger.Identity, stranger.Connection = "another", "other"
			_, err = s.PerformNow(t.Context(), stranger)
			require.ErrorContains(t, err, "there is no connection other")
			_, err = s.PlanRetry(t.Context(), stranger)
			require.ErrorContains(t, err, "there is no connection other")
		})
		w.during(func(s *scheduler.Scheduler, _ *store.Store) {
			synctest.Wait()
			_, err := s.PerformNow(t.Context())
			require.ErrorContains(t, err, "performs requests by itself")
		})
		require.FileExists(t, filepath.Join(w.folder, "retryd.db"))
		w.holdsPromises()
	})
}

func TestAPlatformThatDoesNotAnswerHoldsBackTheRestOfARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := idle(t)
		task := w.campaign(failing("d", 20, 1)...)
		w.during(func(s *scheduler.Scheduler, l *store.Store) {
			w.fail("RetryBatchTask", emulator.FaultCut, time.Hour)
			r := now(t, s, l, retryOf(task, policy.Past{Window: true, Limit: true, Max: true}, "d-00000", "d-00001"))
			require.Equal(t, store.RequestFailed, r.State)
			require.Equal(t, map[string]int{"unknown": 1}, r.Result.Sent)
			require.Len(t, r.Result.Left, 1)
			require.Equal(t, scheduler.LeftUnreached, r.Result.Left[0].Reason)
			require.Contains(t, r.Result.Left[0].Detail, "it is not known")
			for _, device := range []string{"d-00002", "d-00003"} { // a probe, and then none so soon
				r = now(t, s, l, retryOf(task, policy.Past{Window: true, Limit: true, Max: true}, device))
				require.Equal(t, store.RequestFailed, r.State)
			}
			require.Contains(t, r.Result.Problems[0], "the next goes out alone")
			require.Empty(t, r.Result.Sent)
			require.Len(t, w.posts(), 2)
		})
	})
}
