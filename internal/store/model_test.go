package store_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// TestNoSequenceOfEventsBreaksACount plays random claims, answers, outcomes, ends, deletions and
// restarts, and holds the ledger against a model of a few lines. A restart is a take-over by
// another replica, and on SQLite by another process.
func TestNoSequenceOfEventsBreaksACount(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		if checks := flag.Lookup("rapid.checks"); p.o.URL != "" { // a statement takes longer there
			before := checks.Value.String()
			require.NoError(t, checks.Value.Set("20"))
			defer func() { require.NoError(t, checks.Value.Set(before)) }()
		}
		const limit = 3
		s := p.open(t)
		replicas, runs, outcomes := 0, 0, map[string]int{}
		var under *store.Store
		restart := func(rt *rapid.T) {
			replicas++
			p.sleep(ttl)
			if !s.Shared() {
				require.NoError(rt, s.Close())
				var err error
				s, err = store.Open(t.Context(), p.o)
				require.NoError(rt, err)
			}
			a, err := s.Acquire(t.Context(), "account", replica(fmt.Sprint(replicas), budgets), ttl)
			require.NoError(rt, err)
			require.Empty(rt, a.Taken)
			under = s.Under(a.Lease)
		}
		defer func() { require.NoError(t, s.Close()) }()
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			restart(rt)
			in := fmt.Sprint("project ", runs) // each run has one to itself
			type key struct{ task, device string }
			n, counted, state := map[key]int{}, map[key]int{}, map[key]policy.State{}
			stands := map[key]policy.State{} // by the last attempt that counts
			closed := map[key]int{}          // at how many attempts it was closed, and 1 more
			ended := func(k key) bool { return closed[k] == counted[k]+1 }
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
					c := claim(k.task, limit, store.Candidate{DeviceID: k.device, LastN: lastN})
					c.ProjectID = in
					claimed, _, err := under.Claim(t.Context(), c)
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
					changed, err := under.Answered(t.Context(), in, k.task, []store.Answer{{Claimed: store.Claimed{DeviceID: k.device, N: n[k]}, State: to, AnsweredAt: s.Now()}})
					require.NoError(rt, err)
					require.Equal(rt, state[k] == policy.Claimed, len(changed) == 1)
					if len(changed) == 1 {
						state[k] = to
						switch to {
						case policy.Released:
							counted[k]--
						case policy.Rejected:
							outcomes[string(to)]++
							fallthrough
						default:
							stands[k] = to
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
					o.Target, o.N, o.State = policy.Target{ProjectID: in, TaskID: k.task, DeviceID: k.device}, n[k], to
					settled, err := under.Settle(t.Context(), []policy.Settlement{o})
					if len(settled) == 1 {
						require.True(rt, state[k].CanBecome(to))
						state[k], stands[k] = to, to
						outcomes[string(to)]++
						if to != policy.Failed {
							closed[k] = counted[k] + 1
						}
					} else {
						require.True(rt, err != nil || !state[k].CanBecome(to))
					}
				},
				"close": func(rt *rapid.T) {
					k := pick(rt)
					if state[k].Open() { // it is decided about when that has come to its outcome
						return
					}
					end := store.Closing{DeviceID: k.device, Outcome: "exhausted", LastN: n[k], Attempts: counted[k]}
					old := rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "old")
					if rapid.Bool().Draw(rt, "forgiven") {
						end.Attempts += old
					} else {
						end.LastN -= old
					}
					found, err := under.CloseTargets(t.Context(), store.Closings{ProjectID: in, TaskID: k.task, Targets: []store.Closing{end}})
					require.NoError(rt, err)
					require.Equal(rt, !ended(k) && old == 0, len(found) == 1)
					if len(found) == 1 {
						closed[k] = counted[k] + 1
						n[k] += 0 // it is on record, also without an attempt
						outcomes["exhausted"]++
					}
				},
				"undo": func(rt *rapid.T) {
					k := pick(rt)
					undone, err := under.Undo(t.Context(), in, k.task, []string{k.device}, s.Now())
					require.NoError(rt, err)
					require.Equal(rt, stands[k] == policy.Recovered, len(undone) == 1)
					if len(undone) == 1 {
						stands[k], closed[k] = policy.Failed, 0
					}
				},
				"forgive": func(rt *rapid.T) {
					k := pick(rt)
					done, err := under.Forgive(t.Context(), store.Action{}, store.Forgiveness{ProjectID: in, TaskID: k.task, Devices: []string{k.device}})
					require.NoError(rt, err)
					if len(done.Devices) == 1 {
						require.False(rt, state[k].Open())
						counted[k], closed[k], stands[k] = 0, 0, ""
					}
				},
				"restart": func(rt *rapid.T) {
					restart(rt)
					for k, v := range state {
						if v == policy.Claimed {
							state[k], stands[k] = policy.Unknown, policy.Unknown
						}
					}
				},
				"forget": func(rt *rapid.T) {
					_, err := under.Forget(t.Context(), -time.Hour) // everything that can go
					require.NoError(rt, err)
				},
				"": func(rt *rapid.T) {
					for k := range n {
						records, err := s.Records(t.Context(), in, k.task, []string{k.device})
						require.NoError(rt, err)
						r := records[k.device]
						require.Equal(rt, n[k], r.N)
						require.Equal(rt, counted[k], r.Counted)
						require.LessOrEqual(rt, r.Counted, limit)
						require.Equal(rt, openFor(k.device), r.OpenTask != "")
						require.Equal(rt, ended(k), r.Closed)
					}
				},
			})
		})
		_, err := s.Abandon(t.Context()) // the last run's claims are hours old
		require.NoError(t, err)
		findings, err := s.Check(t.Context(), false)
		require.NoError(t, err)
		require.Empty(t, findings) // the sums of ends are right too
		hours, err := s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		counted := map[string]int{}
		for _, h := range hours {
			counted[h.Outcome] += h.Count
		}
		require.Equal(t, outcomes, counted)
	})
}
