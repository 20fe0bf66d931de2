package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// TestNoSequenceOfEventsBreaksACount plays random claims, answers, outcomes, deletions and
// restarts, and holds the ledger against a model of a few lines.
func TestNoSequenceOfEventsBreaksACount(t *testing.T) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", runs))
		s := open(t, path)
		defer func() { require.NoError(rt, s.Close()) }()
		const limit = 3
		type key struct{ task, device string }
		n, counted, state := map[key]int{}, map[key]int{}, map[key]policy.State{}
		pick := func(rt *rapid.T) key {
			return key{rapid.SampledFrom([]string{"a1", "a2"}).Draw(rt, "task"), rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "device")}
		}
		openFor := func(device string) bool {
			return state[key{"a1", device}].Open() || state[key{"a2", device}].Open()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"claim": func(rt *rapid.T) {
				k := pick(rt)
				lastN := n[k] - rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "stale")
				claimed, _, err := s.Claim(t.Context(), claim(k.task, limit, store.Candidate{DeviceID: k.device, LastN: lastN}))
				require.NoError(rt, err)
				allowed := lastN == n[k] && counted[k] < limit && !openFor(k.device)
				require.Equal(rt, allowed, len(claimed) == 1)
				if allowed {
					n[k]++
					counted[k]++
					state[k] = policy.Claimed
				}
			},
			"answer": func(rt *rapid.T) {
				k := pick(rt)
				to := rapid.SampledFrom([]policy.State{policy.Accepted, policy.Rejected, policy.Unknown, policy.Released}).Draw(rt, "state")
				changed, err := s.Answered(t.Context(), project, k.task, []store.Answer{{Claimed: store.Claimed{DeviceID: k.device, N: n[k]}, State: to, AnsweredAt: s.Now()}})
				require.NoError(rt, err)
				require.Equal(rt, state[k] == policy.Claimed, len(changed) == 1)
				if len(changed) == 1 {
					state[k] = to
					if to == policy.Released {
						counted[k]--
					}
				}
			},
			"settle": func(rt *rapid.T) {
				k := pick(rt)
				to := rapid.SampledFrom([]policy.State{policy.Recovered, policy.Failed, policy.Gone}).Draw(rt, "state")
				if n[k] == 0 {
					return
				}
				o := policy.Settlement{At: s.Now()}
				o.Target, o.N, o.State = policy.Target{ProjectID: project, TaskID: k.task, DeviceID: k.device}, n[k], to
				settled, err := s.Settle(t.Context(), []policy.Settlement{o})
				if len(settled) == 1 {
					require.True(rt, state[k].CanBecome(to))
					state[k] = to
				} else {
					require.True(rt, err != nil || !state[k].CanBecome(to))
				}
			},
			"restart": func(rt *rapid.T) {
				require.NoError(rt, s.Close())
				s = open(t, path)
				for k, v := range state {
					if v == policy.Claimed {
						state[k] = policy.Unknown
					}
				}
			},
			"forget": func(rt *rapid.T) {
				_, err := s.Forget(t.Context(), -time.Hour) // everything that can go
				require.NoError(rt, err)
			},
			"": func(rt *rapid.T) {
				for k := range n {
					r := record(t, s, k.task, k.device)
					require.Equal(rt, n[k], r.N)
					require.Equal(rt, counted[k], r.Counted)
					require.LessOrEqual(rt, r.Counted, limit)
					require.Equal(rt, openFor(k.device), r.OpenTask != "")
				}
			},
		})
	})
}
