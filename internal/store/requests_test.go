package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

const here = "host  p"

func ask(t testing.TB, s *store.Store, a store.Action, requests ...store.Request) []store.Request {
	t.Helper()
	asked, again, err := s.Ask(t.Context(), a, requests...)
	require.NoError(t, err)
	require.False(t, again)
	return asked
}

func take(t testing.TB, s *store.Store, identity string) *store.Request {
	t.Helper()
	r, _, err := s.TakeRequest(t.Context(), identity)
	require.NoError(t, err)
	return r
}

func get(t testing.TB, s *store.Store, id int64) store.Request {
	t.Helper()
	r, err := s.GetRequest(t.Context(), id)
	require.NoError(t, err)
	return r
}

func sweepOf(identity string) store.Request {
	return store.Request{Kind: store.SweepRequest, Identity: identity, Connection: "prod", Policy: "upgrades"}
}

func TestARequestIsAskedTakenAndEnded(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		open, err := s.OpenRequests(t.Context())
		require.NoError(t, err)
		require.Empty(t, open)
		retry := store.Request{
			Kind: store.RetryRequest, Identity: here, Connection: "prod", Policy: "upgrades", ProjectID: project, TaskID: task,
			Order: store.Order{Devices: []string{"d", "e"}, Past: policy.Past{Window: true, Max: true}}, Until: p.now.Add(time.Hour),
		}
		asked := ask(t, s, store.Action{Who: "ann", What: "retry", Why: "customer waits", Key: "k"}, retry)
		retry.ID, retry.State, retry.Who, retry.Why, retry.At = 1, store.RequestWaiting, "ann", "customer waits", p.now
		require.Equal(t, []store.Request{retry}, asked)
		require.Equal(t, retry, get(t, s, 1))
		again, replayed, err := s.Ask(t.Context(), store.Action{Who: "ann", What: "retry", Key: "k"}, retry)
		require.NoError(t, err)
		require.True(t, replayed)
		require.Equal(t, asked, again)
		actions, _, err := s.ListActions(t.Context(), store.ActionFilter{}, store.Page{Limit: 9})
		require.NoError(t, err)
		require.Len(t, actions, 1)
		require.Equal(t, store.Action{Who: "ann", What: "retry", Why: "customer waits", Subject: "2 targets in task " + task + ": d, e", Policy: "upgrades", Connection: "prod", ProjectID: project, TaskID: task}, actions[0].Action)

		open, err = s.OpenRequests(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{here}, open)
		require.Nil(t, take(t, s, "another"))
		p.sleep(time.Second)
		under := s.Under(acquire(t, s, "account", replica("a", budgets)).Lease)
		taken := take(t, under, here)
		retry.State, retry.TakenAt = store.RequestRunning, p.now
		require.Equal(t, &retry, taken)
		require.False(t, taken.State.Ended())
		p.sleep(time.Second)
		retry.Result = store.Outcome{
			Targets: map[string]int{"due": 1, "paused": 1}, Sent: map[string]int{"accepted": 1}, Left: []store.Left{{DeviceID: "e", Reason: "paused", Detail: "by bob"}}, Problems: []string{"x"},
		}
		require.NoError(t, under.EndRequest(t.Context(), 1, store.RequestDone, retry.Result))
		actions, _, err = s.ListActions(t.Context(), store.ActionFilter{}, store.Page{Limit: 9})
		require.NoError(t, err)
		require.Equal(t, "1 accepted, not sent: x", actions[0].Outcome)
		retry.State, retry.EndedAt = store.RequestDone, p.now
		require.Equal(t, retry, get(t, s, 1))
		require.NoError(t, under.EndRequest(t.Context(), 1, store.RequestFailed, store.Outcome{}))
		require.Equal(t, retry, get(t, s, 1), "an end is final")
		require.Nil(t, take(t, under, here))
		_, err = s.GetRequest(t.Context(), 2)
		require.ErrorIs(t, err, store.ErrNoRequest)
	})
}

func TestRequestsOfAConnectionAreTakenInTurnAndOneActionIsOfAll(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		asked := ask(t, s, store.Action{Who: "ann", What: "sweep"}, sweepOf(here), sweepOf("host  q"), sweepOf(here))
		actions, _, err := s.ListActions(t.Context(), store.ActionFilter{}, store.Page{Limit: 9})
		require.NoError(t, err)
		require.Len(t, actions, 1)
		require.Equal(t, "policy upgrades on prod, and 2 more", actions[0].Subject)
		open, err := s.OpenRequests(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{here, "host  q"}, open)
		for _, i := range []int{0, 2} {
			r := take(t, s, here)
			require.Equal(t, asked[i].ID, r.ID)
			require.NoError(t, s.EndRequest(t.Context(), r.ID, store.RequestDone, store.Outcome{}))
		}
		require.Nil(t, take(t, s, here))
		require.Empty(t, ask(t, s, store.Action{What: "sweep"}))
		for subject, order := range map[string]store.Order{"device d in task " + task: {Devices: []string{"d"}}, "all failed targets in task " + task: {}} {
			ask(t, s, store.Action{What: "retry"}, store.Request{Kind: store.RetryRequest, TaskID: task, Order: order})
			actions, _, err = s.ListActions(t.Context(), store.ActionFilter{What: "retry"}, store.Page{Limit: 1})
			require.NoError(t, err)
			require.Equal(t, subject, actions[0].Subject)
		}
	})
}

func TestARequestThatWasLeftBehindHasFailedAndIsNotTakenTwice(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		old := s.Under(acquire(t, s, "account", replica("a", budgets)).Lease)
		ask(t, s, store.Action{What: "sweep"}, sweepOf(here), sweepOf("host  q"))
		require.EqualValues(t, 1, take(t, old, here).ID)
		require.EqualValues(t, 2, take(t, old, "host  q").ID)
		p.sleep(ttl)
		under := s.Under(acquire(t, s, "account", replica("b", budgets)).Lease)
		open, err := s.OpenRequests(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{here, "host  q"}, open, "who takes over clears them away")
		require.Nil(t, take(t, under, here))
		require.ErrorIs(t, old.EndRequest(t.Context(), 1, store.RequestDone, store.Outcome{}), store.ErrFenced)
		r := get(t, s, 1)
		require.Equal(t, store.RequestFailed, r.State)
		require.Equal(t, p.now, r.EndedAt)
		require.Contains(t, r.Result.Problems[0], "ended before it was done")
		require.Equal(t, store.RequestRunning, get(t, s, 2).State, "that is another connection's")
	})
}

func TestASweepByHandThatWasLeftBehindHasFailedWithItsRequest(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		old := s.Under(acquire(t, s, "account", replica("a", budgets)).Lease)
		ask(t, s, store.Action{What: "sweep"}, sweepOf(here))
		require.NotNil(t, take(t, old, here))
		begin := func(tick store.Tick) {
			p.sleep(time.Second)
			_, err := old.Baseline(t.Context(), tick.Policy, "prod")
			require.NoError(t, err)
			tick.Connection, tick.Tick, tick.Started = "prod", p.now, p.now
			_, err = old.StartTick(t.Context(), tick)
			require.NoError(t, err)
		}
		begin(store.Tick{Policy: "upgrades"})
		begin(store.Tick{Policy: "upgrades", Why: store.ByHand})
		begin(store.Tick{Policy: "configs", Why: store.ByHand}) // of another request
		p.sleep(ttl)
		under := s.Under(acquire(t, s, "account", replica("b", budgets)).Lease)
		require.Nil(t, take(t, under, here))
		rows, err := s.PolicyRows(t.Context())
		require.NoError(t, err)
		require.Equal(t, "configs", rows[0].Policy)
		require.NotNil(t, rows[0].Running)
		require.Nil(t, rows[1].Running)
		left := rows[1].Last
		require.Equal(t, []any{store.ByHand, "failed", p.now}, []any{left.Why, left.Result, left.Finished})
		require.Equal(t, get(t, s, 1).Result.Problems, left.Problems)
		running, _, err := s.ListSweeps(t.Context(), store.SweepFilter{Policy: "upgrades", Result: "running"}, store.Page{Limit: 9})
		require.NoError(t, err)
		require.Empty(t, running)
		ticks, err := s.Ticks(t.Context(), "upgrades", "prod")
		require.NoError(t, err)
		require.Zero(t, ticks[0].Finished, "a tick begins once more")
	})
}

func TestARequestThatNobodyBeginsInTimeExpires(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		asked := ask(t, s, store.Action{What: "sweep"}, sweepOf(here), sweepOf(here))
		require.Equal(t, p.now.Add(10*time.Minute), asked[0].Until)
		p.sleep(10 * time.Minute)
		require.Equal(t, asked[0].ID, take(t, s, here).ID)
		require.NoError(t, s.EndRequest(t.Context(), asked[0].ID, store.RequestDone, store.Outcome{}))
		p.sleep(time.Second)
		read := get(t, s, asked[1].ID)
		require.Equal(t, store.RequestExpired, read.State, "also where nobody has written it")
		require.Nil(t, take(t, s, here))
		r := get(t, s, asked[1].ID)
		require.Equal(t, read.State, r.State)
		require.Equal(t, read.Result, r.Result)
		require.True(t, strings.Contains(r.Result.Problems[0], "in time") && r.TakenAt.IsZero())
		open, err := s.OpenRequests(t.Context())
		require.NoError(t, err)
		require.Empty(t, open)

		p.sleep(48 * time.Hour)
		last := ask(t, s, store.Action{What: "sweep"}, sweepOf(here))
		_, err = s.Forget(t.Context(), 24*time.Hour)
		require.NoError(t, err)
		_, err = s.GetRequest(t.Context(), asked[0].ID)
		require.ErrorIs(t, err, store.ErrNoRequest)
		require.Equal(t, store.RequestWaiting, get(t, s, last[0].ID).State)
	})
}

func TestRequestsThatWaitCanBeCancelledAndThoseThatWereBegunCannot(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		asked := ask(t, s, store.Action{What: "sweep"}, sweepOf(here), sweepOf(here), sweepOf(here))
		require.Equal(t, asked[0].ID, take(t, s, here).ID)
		p.sleep(time.Second)
		require.NoError(t, s.CancelRequests(t.Context(), "interrupted", asked[0].ID, asked[1].ID))
		require.Equal(t, store.RequestRunning, get(t, s, asked[0].ID).State)
		r := get(t, s, asked[1].ID)
		require.Equal(t, []any{store.RequestFailed, p.now, []string{"interrupted"}}, []any{r.State, r.EndedAt, r.Result.Problems})
		require.NoError(t, s.EndRequest(t.Context(), asked[0].ID, store.RequestDone, store.Outcome{}))
		require.Equal(t, asked[2].ID, take(t, s, here).ID, "it was not named")
	})
}

func TestASweepByHandMovesNoTick(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		seen, err := s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		p.sleep(time.Hour)
		tick := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Started: p.now, Finished: p.now.Add(time.Second), Result: "complete", Why: store.ByHand}
		_, err = s.StartTick(t.Context(), tick)
		require.NoError(t, err)
		require.NoError(t, s.FinishTick(t.Context(), tick))
		baseline, err := s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, seen, baseline)
		last, ok, err := s.LastComplete(t.Context(), "p", "c")
		require.NoError(t, err)
		require.True(t, ok, "it tells how targets stand")
		require.Equal(t, store.ByHand, last.Why)
		p.sleep(48 * time.Hour)
		due := store.Tick{Policy: "p", Connection: "c", Tick: epoch.Add(30 * time.Minute), Started: epoch.Add(30 * time.Minute), Finished: epoch.Add(40 * time.Minute), Result: "complete"}
		_, err = s.StartTick(t.Context(), due)
		require.NoError(t, err)
		require.NoError(t, s.FinishTick(t.Context(), due))
		_, err = s.Forget(t.Context(), 24*time.Hour)
		require.NoError(t, err)
		baseline, err = s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, due.Tick, baseline, "what it is due by is kept")
	})
}

func TestAnAttemptKeepsWhoAskedForIt(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "one")}))
		c := claim(task, 3, store.Candidate{DeviceID: "d"})
		c.AskedBy = "ann"
		_, _, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		rows, _, err := s.ListAttempts(t.Context(), store.AttemptFilter{DeviceID: "d"}, store.Page{Limit: 9})
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, "ann", rows[0].AskedBy)
	})
}
