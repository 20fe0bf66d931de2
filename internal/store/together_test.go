package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func TestClaimsAtTheSameMomentTakeEachTargetOnce(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		handles := []*store.Store{p.open(t), p.beside(t)}
		candidates := numbered(100)
		var mu sync.Mutex
		var wg sync.WaitGroup
		times := map[string]int{}
		for i := range 8 {
			wg.Go(func() {
				claimed, _, err := handles[i%2].Claim(t.Context(), claim(fmt.Sprint("a", i/2%2), 5, candidates...))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, c := range claimed {
					times[c.DeviceID]++
				}
			})
		}
		wg.Wait()
		require.Len(t, times, 100)
		for device, n := range times {
			require.Equal(t, 1, n, "%s, in whichever task", device)
		}
	})
}

func TestAPauseHoldsForEveryLaterClaimAndKnowsEveryEarlierOne(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s, beside := p.open(t), p.beside(t)
		var wg sync.WaitGroup
		var claims atomic.Int64
		var paused atomic.Bool
		started := make(chan struct{}, 100)
		for i := range 4 { // two in each of two projects
			wg.Go(func() {
				for n := 0; ; n++ {
					late := paused.Load()
					c := claim(fmt.Sprintf("a%d", i), 5, store.Candidate{DeviceID: fmt.Sprintf("d%d-%d", i, n)})
					c.ProjectID = fmt.Sprint("p", i%2)
					_, _, err := s.Claim(t.Context(), c)
					if gate := (*store.GateError)(nil); errors.As(err, &gate) {
						return
					}
					if err != nil || late {
						t.Errorf("a claim was made after the pause (%v): %v", late, err)
						return
					}
					claims.Add(1)
					if n == 3 {
						started <- struct{}{}
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		pauseNow(t, beside, store.Action{}, store.Pause{Scope: store.PauseAll})
		paused.Store(true)
		open, _, err := beside.OpenIn(t.Context(), store.Pause{Scope: store.PauseAll})
		require.NoError(t, err)
		wg.Wait()
		require.Equal(t, int(claims.Load()), open)
	})
}

func TestNoThirdTrialOfCredentialsSlipsIn(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		handles := []*store.Store{p.open(t), p.beside(t)}
		var wg sync.WaitGroup
		var through atomic.Int64
		for i := range 10 {
			wg.Go(func() {
				id, until, err := handles[i%2].BeginAuth(t.Context(), "h", within)
				if err != nil || id != 0 == !until.IsZero() {
					t.Error(id, until, err)
				}
				if id != 0 {
					through.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(2), through.Load())
	})
}

func TestAnApprovalIsKnownToClaimsOfReplicasWhoseClocksAreApart(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		p.o.Clock = nil // the database's, as each replica reads it
		s, beside := p.open(t), p.beside(t)
		for i := range 20 {
			c := claim(fmt.Sprintf("a%d", i), 5, store.Candidate{DeviceID: fmt.Sprintf("d%d", i)})
			c.NeedsApproval = true
			approval := store.Approval{ProjectID: project, TaskID: c.TaskID, Policy: c.Policy, PolicyHash: c.PolicyHash, Targets: 1, Until: s.Now().Add(time.Hour)}
			approveNow(t, beside, store.Action{}, approval)
			require.Nil(t, refusal(t, s, c))
			gates, err := s.Gates(t.Context(), c.Scope)
			require.NoError(t, err)
			require.Zero(t, gates.ApprovalLeft, "a claim after the approval is dated after it")
		}
	})
}

func TestAllKindsOfWritesGoTogether(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		handles := []*store.Store{p.open(t), p.beside(t)}
		_, err := handles[0].StartTick(t.Context(), store.Tick{Policy: "upgrades", Connection: "prod", Tick: epoch, Started: epoch})
		require.NoError(t, err)
		require.NoError(t, handles[0].Subscribe(t.Context(), []string{"waits"}))
		var wg sync.WaitGroup
		for i, s := range handles {
			for name, write := range writes {
				if name == "Claim" || name == "Settle" || name == "Answered" || name == "PauseNow" || name == "AdoptAuth" {
					continue // they need something to be there, or in the way
				}
				wg.Go(func() {
					for range 3 {
						if err := write(t, s); err != nil {
							t.Error(name, err)
						}
					}
				})
			}
			wg.Go(func() {
				for n := range 5 {
					if _, err := s.Acquire(t.Context(), "account", replica(fmt.Sprint(i), budgets), ttl); err != nil {
						t.Error(err)
					}
					if _, err := s.Renew(t.Context(), replica(fmt.Sprint(i), budgets), ttl); err != nil {
						t.Error(err)
					}
					c := claim(fmt.Sprintf("b%d", i), 5, store.Candidate{DeviceID: "e", LastN: n})
					c.ProjectID = fmt.Sprint("p", i)
					claimed, _, err := s.Claim(t.Context(), c)
					if err != nil || len(claimed) != 1 {
						t.Error(claimed, err)
						return
					}
					_, err = s.Answered(t.Context(), c.ProjectID, c.TaskID, []store.Answer{{Claimed: claimed[0], State: policy.Rejected, AnsweredAt: p.now}})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestReplicasThatStartAtOnceMakeOneLedger(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		o := p.o
		o.Create = true
		var wg sync.WaitGroup
		var opened, locked atomic.Int64
		for range 4 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), o)
				switch {
				case errors.Is(err, store.ErrLocked):
					locked.Add(1)
				case err != nil:
					t.Error(err)
				default:
					opened.Add(1)
					if err := errors.Join(s.Writable(t.Context()), s.Close()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(4), opened.Load()+locked.Load())
		require.Positive(t, opened.Load())
		if p.o.URL != "" {
			require.Zero(t, locked.Load())
		}
		require.NoError(t, p.open(t).Writable(t.Context()))
	})
}
