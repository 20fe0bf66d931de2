package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

const ttl = 15 * time.Second

// replica is a process whose configuration has budgets with these connections.
func replica(id string, budgets map[string][]string) store.Replica {
	return store.Replica{ID: id, Host: "host-" + id, Version: "v1", ConfigHash: "c1", Budgets: budgets, Started: epoch}
}

var budgets = map[string][]string{"account": {"host  p", "host  q"}}

func acquire(t *testing.T, s *store.Store, budget string, by store.Replica) store.Acquired {
	_, err := s.Renew(t.Context(), by, ttl) // it is alive
	require.NoError(t, err)
	a, err := s.Acquire(t.Context(), budget, by, ttl)
	require.NoError(t, err)
	return a
}

func TestALeaseGoesFromOneReplicaToTheNextWithAHigherToken(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		a := acquire(t, s, "account", replica("a", budgets))
		require.Empty(t, a.Taken)
		require.Equal(t, store.Lease{Budget: "account", Token: 1, Holder: "a"}, a.Lease)
		require.Equal(t, p.now, a.At)
		require.True(t, a.Before.Renewed.IsZero(), "nobody has ever driven it")
		p.sleep(ttl / 3)
		mine, err := s.Renew(t.Context(), replica("a", budgets), ttl)
		require.NoError(t, err)
		require.Equal(t, map[string]store.Holding{"account": {Lease: a.Lease, Acquired: epoch, Renewed: epoch, Expires: epoch.Add(ttl)}}, mine)
		renewed := p.now
		held, replicas, err := s.Leases(t.Context(), ttl)
		require.NoError(t, err)
		require.Equal(t, store.Holding{Lease: a.Lease, Acquired: epoch, Renewed: renewed, Expires: renewed.Add(ttl)}, held["account"])
		me := replica("a", budgets)
		me.Seen = renewed
		require.Equal(t, []store.Replica{me}, replicas)
		require.False(t, held["account"].Free(p.now))
		require.True(t, held["account"].Free(renewed.Add(ttl)))

		b := acquire(t, s, "account", replica("b", budgets))
		if s.Shared() {
			require.Equal(t, "budget account is driven by a on host-a until "+renewed.Add(ttl).Format(time.RFC3339)+", unless that renews it", b.Taken)
			require.NoError(t, s.Release(t.Context(), store.Lease{Budget: "account", Token: 1, Holder: "b"}), "it has nothing to release")
			require.NotEmpty(t, acquire(t, s, "account", replica("b", budgets)).Taken)
			require.NoError(t, s.Release(t.Context(), a.Lease))
			b = acquire(t, s, "account", replica("b", budgets))
		}
		require.Empty(t, b.Taken)
		require.Equal(t, store.Lease{Budget: "account", Token: 2, Holder: "b"}, b.Lease)
		require.Equal(t, renewed, b.Before.Renewed)
		mine, err = s.Renew(t.Context(), replica("a", budgets), ttl)
		require.NoError(t, err)
		require.Empty(t, mine, "it is told that it holds nothing any more")
		p.sleep(time.Hour)
		c := acquire(t, s, "account", replica("c", budgets))
		require.Equal(t, int64(3), c.Token, "nobody had renewed it")
		require.NoError(t, s.Leave(t.Context(), "c"))
		_, replicas, err = s.Leases(t.Context(), ttl)
		require.NoError(t, err)
		require.Empty(t, replicas)
	})
}

func TestALeaseHoldsAlsoOfAReplicaThatHasNotSaidThatItIsAlive(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		_, err := s.Acquire(t.Context(), "account", replica("a", budgets), ttl)
		require.NoError(t, err)
		b, err := s.Acquire(t.Context(), "account", replica("b", budgets), ttl)
		require.NoError(t, err)
		require.Equal(t, s.Shared(), b.Taken != "", "on SQLite what others held ended with them")
	})
}

func TestAConnectionIsDrivenOnceWhateverItsBudgetIsCalled(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		if !s.Shared() {
			return // there is one process
		}
		old := acquire(t, s, "account", replica("a", budgets))
		renamed := replica("b", map[string][]string{"renamed": {"host  q"}, "other": {"host  r"}})
		require.Contains(t, acquire(t, s, "renamed", renamed).Taken, "budget account is driven by a on host-a until ")
		require.Empty(t, acquire(t, s, "other", renamed).Taken)
		under := s.Under(old.Lease)
		_, _, err := under.Claim(t.Context(), claim(task, 3, store.Candidate{DeviceID: "d"}))
		require.NoError(t, err)
		p.sleep(ttl)
		taken := acquire(t, s, "renamed", renamed)
		require.Empty(t, taken.Taken, "the lease has ended")
		require.Equal(t, 1, taken.Abandoned)
		_, _, err = under.Claim(t.Context(), claim(task, 3, store.Candidate{DeviceID: "e"}))
		require.ErrorIs(t, err, store.ErrFenced, "who wakes up late drives nothing by the old name")
		mine, err := s.Renew(t.Context(), replica("a", budgets), ttl)
		require.NoError(t, err)
		require.Empty(t, mine)
	})
}

func TestABudgetIsWidenedOnceNobodyElseDrivesItsNewConnection(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		wide := replica("a", map[string][]string{"account": {"host  p", "host  q", "host  r"}})
		if !s.Shared() { // there is one process
			taken, err := s.Under(acquire(t, s, "account", replica("a", budgets)).Lease).Widen(t.Context(), wide)
			require.NoError(t, err)
			require.Empty(t, taken)
			return
		}
		other := acquire(t, s, "own", replica("b", map[string][]string{"own": {"host  r"}}))
		held := acquire(t, s, "account", replica("a", budgets))
		taken, err := s.Under(held.Lease).Widen(t.Context(), wide)
		require.NoError(t, err)
		require.Contains(t, taken, "budget own is driven by b on host-b until ")
		_, replicas, err := s.Leases(t.Context(), ttl)
		require.NoError(t, err)
		require.Equal(t, budgets, replicas[0].Budgets)
		p.sleep(ttl)
		taken, err = s.Under(held.Lease).Widen(t.Context(), wide)
		require.NoError(t, err)
		require.Empty(t, taken, "its lease has ended")
		_, _, err = s.Under(other.Lease).Claim(t.Context(), claim(task, 3, store.Candidate{DeviceID: "d"}))
		require.ErrorIs(t, err, store.ErrFenced, "who wakes up late drives nothing of it")
		_, err = s.Under(other.Lease).Widen(t.Context(), replica("b", budgets))
		require.ErrorIs(t, err, store.ErrFenced)
	})
}

func TestAReplicaThatMayWakeUpIsRememberedWithWhatItDrove(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		if !s.Shared() {
			return // there is one process
		}
		old := acquire(t, s, "account", replica("a", budgets))
		p.sleep(2 * time.Hour)
		require.Empty(t, acquire(t, s, "renamed", replica("b", map[string][]string{"renamed": {"host  q"}})).Taken)
		require.ErrorIs(t, s.Under(old.Lease).Writable(t.Context()), store.ErrFenced)
		p.sleep(time.Second)
		mine, err := s.Renew(t.Context(), replica("a", budgets), ttl)
		require.NoError(t, err)
		require.Empty(t, mine)
	})
}

func TestClaimsThatAreLeftBehindAreUnknownAndCount(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		a := acquire(t, s, "account", replica("a", budgets))
		under := s.Under(a.Lease)
		c := claim(task, 5, store.Candidate{DeviceID: "d"})
		claimed, _, err := under.Claim(t.Context(), c)
		require.NoError(t, err)
		n, err := s.Abandon(t.Context())
		require.NoError(t, err)
		require.Zero(t, n, "its request may still be under way")
		p.sleep(ttl)
		if s.Shared() {
			b := acquire(t, s, "account", replica("b", budgets))
			require.Equal(t, 1, b.Abandoned)
		} else {
			require.NoError(t, s.Close())
			s = p.open(t)
			_ = acquire(t, s, "account", replica("b", budgets))
		}
		attempts, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		require.Len(t, attempts, 1)
		require.Equal(t, policy.Unknown, attempts[0].State)
		require.Equal(t, c.SendBy, attempts[0].AnsweredAt, "until then the request can have been under way")
		var text string
		require.NoError(t, p.raw(t).QueryRow(`SELECT text FROM attempts`).Scan(&text))
		require.Equal(t, "retryd stopped before the answer was written", text)
		r := record(t, s, task, "d")
		require.Equal(t, 1, r.Counted)
		require.Equal(t, policy.Unknown, r.State)

		before := p.dump(t)
		changed, err := s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Released, AnsweredAt: p.now}})
		require.NoError(t, err)
		require.Empty(t, changed, "a late answer changes nothing")
		require.Equal(t, before, p.dump(t))
	})
}

func TestClaimsThatNobodyAnsweredAreGivenUpOnceTheirRequestIsOver(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		_, _, err := s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "d"}))
		require.NoError(t, err)
		p.sleep(time.Minute)
		for _, want := range []int{1, 0} {
			n, err := s.Abandon(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		require.Equal(t, policy.Unknown, record(t, s, task, "d").State)
	})
}

// writes are all the ways to change a ledger, but for taking, renewing and giving up a lease.
var writes = map[string]func(t *testing.T, s *store.Store) error{
	"Claim": func(t *testing.T, s *store.Store) error {
		_, _, err := s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "new"}))
		return err
	},
	"Answered": func(t *testing.T, s *store.Store) error {
		_, err := s.Answered(t.Context(), project, "late", []store.Answer{{Claimed: store.Claimed{DeviceID: "late", N: 1}, State: policy.Accepted, AnsweredAt: epoch}})
		return err
	},
	"Settle": func(t *testing.T, s *store.Store) error {
		o := policy.Settlement{At: epoch}
		o.Target, o.N, o.State = policy.Target{ProjectID: project, TaskID: task, DeviceID: "open"}, 1, policy.Recovered
		_, err := s.Settle(t.Context(), []policy.Settlement{o})
		return err
	},
	"Undo": func(t *testing.T, s *store.Store) error {
		_, err := s.Undo(t.Context(), project, task, []string{"recovered"}, epoch)
		return err
	},
	"CloseTargets": func(t *testing.T, s *store.Store) error {
		_, err := s.CloseTargets(t.Context(), store.Closings{ProjectID: project, TaskID: task, Targets: []store.Closing{{DeviceID: "d", Outcome: "permanent"}}})
		return err
	},
	"ResolvedElsewhere": func(t *testing.T, s *store.Store) error {
		_, err := s.ResolvedElsewhere(t.Context(), project, task, []store.Unresolved{{DeviceID: "failed"}})
		return err
	},
	"Abandon": func(t *testing.T, s *store.Store) error {
		_, err := s.Abandon(t.Context())
		return err
	},
	"Trip": func(t *testing.T, s *store.Store) error {
		h := halt
		h.FailureRatio = 0
		_, _, err := s.Trip(t.Context(), scope(task), h)
		return err
	},
	"Baseline": func(t *testing.T, s *store.Store) error {
		_, err := s.Baseline(t.Context(), "p", "c")
		return err
	},
	"StartTick": func(t *testing.T, s *store.Store) error {
		_, err := s.StartTick(t.Context(), store.Tick{Policy: "p", Connection: "c", Tick: epoch, Started: epoch})
		return err
	},
	"FinishTick": func(t *testing.T, s *store.Store) error {
		return s.FinishTick(t.Context(), store.Tick{Policy: "upgrades", Connection: "prod", Tick: epoch, Finished: epoch, Result: "complete"})
	},
	"SkipTick": func(t *testing.T, s *store.Store) error {
		return s.SkipTick(t.Context(), store.Tick{Policy: "p", Connection: "c", Tick: epoch})
	},
	"SeeTasks": func(t *testing.T, s *store.Store) error {
		return s.SeeTasks(t.Context(), project, []store.Task{listed("cc", "x")})
	},
	"CountTasks": func(t *testing.T, s *store.Store) error {
		return s.CountTasks(t.Context(), project, []store.TaskCounts{{TaskID: task, Policy: "upgrades"}})
	},
	"RefuseTask": func(t *testing.T, s *store.Store) error { return s.RefuseTask(t.Context(), project, task, "Fail") },
	"MissTasks": func(t *testing.T, s *store.Store) error {
		return s.MissTasks(t.Context(), project, []string{task}, nil)
	},
	"TaskGone": func(t *testing.T, s *store.Store) error { return s.TaskGone(t.Context(), project, task) },
	"PauseNow": func(t *testing.T, s *store.Store) error {
		_, err := s.PauseNow(t.Context(), store.Action{}, store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: "zz"})
		return err
	},
	"Resume": func(t *testing.T, s *store.Store) error {
		_, err := s.Resume(t.Context(), store.Action{}, store.Pause{Scope: store.PausePolicy, Policy: "nightly"})
		return unlessEnded(0, false, err)
	},
	"DropPolicies": func(t *testing.T, s *store.Store) error {
		return s.DropPolicies(t.Context(), []string{"nightly"}, store.Action{})
	},
	"Approve": func(t *testing.T, s *store.Store) error {
		_, _, err := s.Approve(t.Context(), store.Action{}, store.Approval{ProjectID: project, TaskID: task, Policy: "p"})
		return err
	},
	"EndApproval": func(t *testing.T, s *store.Store) error {
		return unlessEnded(s.EndApproval(t.Context(), store.Action{}, 1))
	},
	"EndPause": func(t *testing.T, s *store.Store) error {
		_, err := s.EndPause(t.Context(), store.Action{}, 1)
		return unlessEnded(0, false, err)
	},
	"EndHalt": func(t *testing.T, s *store.Store) error {
		h := halt
		h.FailureRatio = 0
		if _, _, err := s.Trip(t.Context(), scope(task), h); err != nil {
			return err
		}
		_, err := s.EndHalt(t.Context(), store.Action{}, 1)
		return unlessEnded(0, false, err)
	},
	"Forgive": func(t *testing.T, s *store.Store) error {
		_, err := s.Forgive(t.Context(), store.Action{}, store.Forgiveness{ProjectID: project, TaskID: task, Devices: []string{"recovered", "ended"}})
		return err
	},
	"Ask": func(t *testing.T, s *store.Store) error {
		_, _, err := s.Ask(t.Context(), store.Action{What: "sweep"}, store.Request{Kind: store.SweepRequest, Identity: "host  p"})
		return err
	},
	"TakeRequest": func(t *testing.T, s *store.Store) error {
		_, _, err := s.TakeRequest(t.Context(), "host  p")
		return err
	},
	"EndRequest": func(t *testing.T, s *store.Store) error {
		return s.EndRequest(t.Context(), 1, store.RequestDone, store.Outcome{})
	},
	"CancelRequests": func(t *testing.T, s *store.Store) error { return s.CancelRequests(t.Context(), "interrupted", 2) },
	"Announce":       func(t *testing.T, s *store.Store) error { return s.Announce(t.Context(), store.Action{What: "x"}) },
	"Act":            func(t *testing.T, s *store.Store) error { return s.Act(t.Context(), store.Action{What: "x"}) },
	"BeginAuth": func(t *testing.T, s *store.Store) error {
		_, _, err := s.BeginAuth(t.Context(), "new", within)
		return err
	},
	"EndAuth":     func(t *testing.T, s *store.Store) error { return s.EndAuth(t.Context(), 1, false) },
	"RefusedAuth": func(t *testing.T, s *store.Store) error { return s.RefusedAuth(t.Context(), "h") },
	"SetConnection": func(t *testing.T, s *store.Store) error {
		_, err := s.SetConnection(t.Context(), store.ConnectionRow{Identity: "i", Name: "prod"})
		return err
	},
	"AwaitApproval": func(t *testing.T, s *store.Store) error {
		_, err := s.AwaitApproval(t.Context(), scope(task), "not approved")
		return err
	},
	"Subscribe":   func(t *testing.T, s *store.Store) error { return s.Subscribe(t.Context(), []string{"new"}) },
	"Unsubscribe": func(t *testing.T, s *store.Store) error { return s.Unsubscribe(t.Context(), []string{"chat"}) },
	"NextDigest": func(t *testing.T, s *store.Store) error {
		_, _, _, err := s.NextDigest(t.Context(), subscribed("waits"))
		return err
	},
	"DigestSent": func(t *testing.T, s *store.Store) error {
		return s.DigestSent(t.Context(), subscribed("chat"), &store.Digest{First: 1, Last: 1})
	},
	"DigestFailed": func(t *testing.T, s *store.Store) error {
		return s.DigestFailed(t.Context(), subscribed("chat"), &store.Digest{First: 1, Last: 1}, "down", time.Minute)
	},
	"AdoptAuth": func(t *testing.T, s *store.Store) error { return s.AdoptAuth(t.Context(), s) },
	"Forget": func(t *testing.T, s *store.Store) error {
		_, err := s.Forget(t.Context(), -time.Hour)
		return err
	},
	"Writable": func(t *testing.T, s *store.Store) error { return s.Writable(t.Context()) },
}

// unlessEnded is no error where somebody else has ended it.
func unlessEnded(_ any, _ bool, err error) error {
	if errors.Is(err, store.ErrNoPause) {
		return nil
	}
	return err
}

func furnish(t *testing.T, s *store.Store) {
	require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "one")}))
	c := claim("late", 5, store.Candidate{DeviceID: "late"})
	c.SendBy = epoch.Add(-time.Second)
	_, _, err := s.Claim(t.Context(), c)
	require.NoError(t, err)
	fails(t, s, "failed", 0, "firmware")
	fails(t, s, "failed-too", 0, "firmware")
	attempt(t, s, "recovered", 0, policy.Accepted)
	settle(t, s, "recovered", policy.Recovered)
	attempt(t, s, "open", 0, policy.Accepted)
	pauseNow(t, s, store.Action{}, store.Pause{Scope: store.PausePolicy, Policy: "nightly"})
	approveNow(t, s, store.Action{}, store.Approval{ProjectID: project, TaskID: task, Policy: "upgrades", PolicyHash: "h1", Until: epoch.Add(time.Hour)})
	_, err = s.StartTick(t.Context(), store.Tick{Policy: "upgrades", Connection: "prod", Tick: epoch, Started: epoch})
	require.NoError(t, err)
	_, _, err = s.BeginAuth(t.Context(), "h", within)
	require.NoError(t, err)
	require.NoError(t, s.Subscribe(t.Context(), []string{"chat", "waits"}))
	closed(t, s, "ended")
	_, _, err = s.Ask(t.Context(), store.Action{What: "sweep"}, store.Request{Kind: store.SweepRequest, Identity: "host  p"}, store.Request{Kind: store.SweepRequest, Identity: "host  p"})
	require.NoError(t, err)
	_, _, err = s.TakeRequest(t.Context(), "host  p")
	require.NoError(t, err)
	require.NotNil(t, digest(t, s, subscribed("chat")))
}

func TestNothingIsWrittenUnderALeaseThatIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		furnish(t, s)
		lost := acquire(t, s, "account", replica("a", budgets)).Lease
		p.now = epoch.Add(ttl)
		held := acquire(t, s, "account", replica("b", budgets)).Lease
		p.now = epoch
		before := p.dump(t, "leases")
		for name, write := range writes {
			for why, lease := range map[string]store.Lease{
				"lost": lost, "of another": {Budget: "account", Token: held.Token, Holder: "a"}, "never held": {Budget: "none"}, "ahead": {Budget: "account", Token: 9, Holder: "b"},
			} {
				require.ErrorIs(t, write(t, s.Under(lease)), store.ErrFenced, "%s, %s", name, why)
			}
		}
		require.NoError(t, s.Release(t.Context(), held))
		for name, write := range writes {
			require.ErrorIs(t, write(t, s.Under(held)), store.ErrFenced, "%s after the lease was given back", name)
		}
		require.Equal(t, before, p.dump(t, "leases"))
	})
}

// Without this the test above would prove nothing of a write that finds nothing to do.
func TestEachOfThoseWritesChangesTheLedgerUnderALeaseThatIsHeld(t *testing.T) {
	for name, write := range writes {
		p := &place{o: store.Options{Path: filepath.Join(t.TempDir(), "retryd.db")}, now: epoch}
		p.o.Clock = func() time.Time { return p.now }
		s := p.open(t)
		furnish(t, s)
		held := acquire(t, s, "account", replica("a", budgets)).Lease
		before := p.dump(t)
		require.NoError(t, write(t, s.Under(held)), name)
		require.NotEqual(t, before, p.dump(t), name)
	}
}

func TestWhoeverObservesWritesCanTellFaultsFromRefusals(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		var ends []error
		p.o.Observe = func(_ time.Duration, err error) { ends = append(ends, err) }
		s := p.open(t)
		pauseNow(t, s, store.Action{}, store.Pause{Scope: store.PauseAll})
		ends = nil
		require.NotNil(t, refusal(t, s, claim(task, 3, store.Candidate{DeviceID: "d"})))
		require.ErrorIs(t, s.Under(store.Lease{Budget: "x"}).Writable(t.Context()), store.ErrFenced)
		ended, end := context.WithCancel(t.Context())
		end()
		require.ErrorIs(t, s.Writable(ended), context.Canceled)
		_, err := p.raw(t).Exec(`ALTER TABLE meta RENAME TO elsewhere`)
		require.NoError(t, err)
		require.Error(t, s.Writable(t.Context()))
		require.Len(t, ends, 4)
		require.ErrorAs(t, ends[0], new(*store.GateError))
		require.ErrorIs(t, ends[1], store.ErrFenced)
		require.NoError(t, ends[2], "the caller gave up")
		require.ErrorContains(t, ends[3], "write the ledger: ")
	})
}
