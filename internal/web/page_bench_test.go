package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/store"
	"retryd/internal/web"
)

// The size of what BenchmarkFirstByte shows.
const (
	manyPolicies    = 200
	manyConnections = 80
	manyTargets     = 100_000
	manyTasks       = 400
)

// large is a configuration of many policies, each on so many connections.
func large(b *testing.B, each int) *config.Config {
	text := strings.Builder{}
	text.WriteString("connections:\n")
	for i := range manyConnections {
		fmt.Fprintf(&text, "  - {name: c%d, endpoint: \"https://c%d.example\", region: cn-north-4, project_id: %032d, auth: {aksk: {access_key: a, secret_key: b}}}\n", i, i, i)
	}
	text.WriteString("policies:\n")
	for i := range manyPolicies {
		var on []string
		for n := range each {
			on = append(on, fmt.Sprintf("c%d", (i+n)%manyConnections))
		}
		fmt.Fprintf(&text, "  - {name: p%d, connections: [%s], schedule: \"*/15 * * * *\", tasks: {names: [\"p%d .*\"]}}\n", i, strings.Join(on, ", "), i)
	}
	cfg, err := config.Parse("retryd.yaml", []byte(text.String()), func(string) (string, bool) { return "", false })
	require.NoError(b, err)
	return cfg
}

// crowd fills the ledger: of its targets a tenth have attempts, and a hundredth an open one.
func crowd(b *testing.B, s *store.Store, cfg *config.Config) {
	ctx := b.Context()
	for i := range manyTasks {
		p, c := cfg.Policies[i%manyPolicies], cfg.Connections[i%manyPolicies%manyConnections]
		id := fmt.Sprintf("%024x", i+1)
		each := manyTargets / manyTasks
		require.NoError(b, s.SeeTasks(ctx, c.ProjectID, []store.Task{{
			ID: id, Name: p.Name + " upgrade", Type: "firmwareUpgrade", Status: "Processing", Total: 2 * each, Success: each, Fail: each, CreatedAt: s.Now(), Identity: c.Identity(),
		}}))
		require.NoError(b, s.CountTasks(ctx, c.ProjectID, []store.TaskCounts{{TaskID: id, Policy: p.Name, Connection: c.Name, Counts: map[string]int{"backoff": each}}}))
		sc := store.Scope{ProjectID: c.ProjectID, TaskID: id, Policy: p.Name, Connection: c.Name, Identity: c.Identity(), PolicyHash: p.Hash}
		var tried []store.Candidate
		closed := store.Closings{ProjectID: c.ProjectID, TaskID: id, TaskType: "firmwareUpgrade", Policy: p.Name, Connection: c.Name}
		for n := range each {
			device := fmt.Sprintf("device-%d-%d", i, n)
			if n < each/10 {
				tried = append(tried, store.Candidate{DeviceID: device, Max: 5})
			} else {
				closed.Targets = append(closed.Targets, store.Closing{DeviceID: device, Outcome: "exhausted", Detail: "5 of 5 attempts", Code: "IOTDA.014016"})
			}
		}
		_, err := s.CloseTargets(ctx, closed)
		require.NoError(b, err)
		claimed, _, err := s.Claim(ctx, store.Claim{Scope: sc, TaskType: "firmwareUpgrade", Tick: s.Now(), Terms: p.Terms(), SendBy: s.Now().Add(time.Minute), Candidates: tried})
		require.NoError(b, err)
		var answers []store.Answer
		for _, one := range claimed {
			answers = append(answers, store.Answer{Claimed: one, State: policy.Accepted, AnsweredAt: s.Now()})
		}
		_, err = s.Answered(ctx, c.ProjectID, id, answers)
		require.NoError(b, err)
		open, err := s.OpenAttempts(ctx, c.ProjectID, id)
		require.NoError(b, err)
		var outcomes []policy.Settlement
		for n, a := range open {
			if n%10 != 0 {
				o := policy.Settlement{Attempt: a, At: s.Now()}
				o.State = policy.Recovered
				outcomes = append(outcomes, o)
			}
		}
		_, err = s.Settle(ctx, outcomes)
		require.NoError(b, err)
		tick := store.Tick{Policy: p.Name, Connection: c.Name, Tick: s.Now(), Started: s.Now(), Finished: s.Now(), Result: "complete", Counts: map[string]int{"backoff": each}}
		_, err = s.StartTick(ctx, tick)
		require.NoError(b, err)
		require.NoError(b, s.FinishTick(ctx, tick))
	}
}

// BenchmarkFirstByte measures when the first byte of a page is there, over a connection.
func BenchmarkFirstByte(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "retryd.db"), Create: true})
	require.NoError(b, err)
	defer s.Close()
	crowd(b, s, large(b, 1))
	for _, each := range []int{1, 8} {
		cfg := large(b, each)
		server := httptest.NewServer(web.New(web.Options{Store: s, Config: func() *config.Config { return cfg }, Version: "v1", Log: zap.NewNop(),
			Caller: func(*http.Request) web.Caller { return web.Caller{Name: "ann", From: "192.0.2.1"} }}))
		for _, path := range []string{"/", "/tasks?limit=50", "/recovery", "/policies"} {
			b.Run(fmt.Sprintf("%d-connections-a-policy%s", each, strings.ReplaceAll(path, "/", "/page-")), func(b *testing.B) {
				for b.Loop() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+path, nil)
					require.NoError(b, err)
					answer, err := http.DefaultClient.Do(r) // returns with the head, which is sent with the first bytes
					require.NoError(b, err)
					require.Equal(b, http.StatusOK, answer.StatusCode)
					b.StopTimer()
					_, err = io.Copy(io.Discard, answer.Body)
					require.NoError(b, err)
					answer.Body.Close()
					b.StartTimer()
				}
			})
		}
		server.Close()
	}
}
