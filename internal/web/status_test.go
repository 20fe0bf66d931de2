package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

func (r *reader) status() (s web.Status) {
	r.t.Helper()
	r.get("/api/v1/status", &s)
	return s
}

// attention gives what a person should look at, one line each.
func (r *reader) attention() (lines []string) {
	r.t.Helper()
	for _, a := range r.status().Attention {
		lines = append(lines, a.What+" | "+a.Do)
	}
	return lines
}

func TestAStatusSaysWhoDrivesWhatAndWhenItSweepsNext(t *testing.T) {
	r := reading(t)
	r.fill()
	s := r.status()
	require.Equal(t, r.now, s.Now)
	require.Equal(t, r.s.Where(), s.Ledger)
	require.Equal(t, r.config.Hash, s.ConfigHash)
	require.Equal(t, 1, s.Open)
	require.Equal(t, 1, s.Awaiting)
	require.Len(t, s.Replicas, 1)
	require.Equal(t, []string{"edge", "prod"}, s.Replicas[0].Drives)
	require.Len(t, s.Connections, 2)
	prod, edge := s.Connections[0], s.Connections[1]
	require.Equal(t, "up", prod.State)
	require.Equal(t, "one", prod.DrivenBy)
	require.Equal(t, 1, prod.Open)
	require.Equal(t, map[string]string{"env": "prod"}, prod.Labels)
	require.Equal(t, "unknown", edge.State, "nobody has tried")
	require.Len(t, s.Policies, 3)
	nightly := s.Policies[0]
	require.Equal(t, "nightly", nightly.Name)
	require.Equal(t, "open", nightly.Window)
	require.True(t, nightly.Driven)
	require.Nil(t, nightly.Running)
	require.Equal(t, scheduler.SweepPartial, nightly.Last.Result)
	require.Equal(t, r.now.Add(-30*time.Minute), *nightly.Complete)
	require.WithinRange(t, *nightly.NextTick, r.now, r.now.Add(30*time.Second), "a tick, and the delay that keeps policies apart")
	require.InDelta(t, 60./108, *s.Recovery.PlatformShare, 1e-9)
	require.InDelta(t, 61./108, *s.Recovery.Share, 1e-9)

	_, err := r.s.StartTick(t.Context(), store.Tick{Policy: "nightly", Connection: "prod", Tick: r.now, Started: r.now})
	require.NoError(t, err)
	r.now = r.now.Add(4 * time.Hour) // 06:00 in Shanghai
	nightly = r.status().Policies[0]
	require.Equal(t, "running", nightly.Running.Result)
	require.Equal(t, "window 0 1 * * * for 4h", nightly.Window)
	require.Equal(t, time.Date(2026, 3, 2, 17, 0, 0, 0, time.UTC), *nightly.Opens)
	require.False(t, nightly.Driven, "its replica has given no sign of life for hours")
}

func TestWhatIsPausedOrHaltedIsShownWhereItHolds(t *testing.T) {
	r := reading(t)
	r.fill()
	prod := r.config.Connections[0]
	_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseConnection, Connection: "edge", Identity: r.config.Connections[1].Identity()})
	require.NoError(t, err)
	for range 3 { // three of four devices have failed for the firmware's sake
		r.try(campaign, "d-up", policy.Failed)
	}
	_, tripped, err := r.s.Trip(t.Context(), store.Scope{ProjectID: project, TaskID: campaign, Policy: "nightly", Connection: "prod", Identity: prod.Identity()},
		policy.Halt{On: []policy.CauseClass{"network"}, FailureRatio: 0.1, MinOutcomes: 1, Window: 48 * time.Hour, Scope: policy.HaltPolicy})
	require.NoError(t, err)
	require.True(t, tripped)
	s := r.status()
	require.Empty(t, s.Connections[0].Paused)
	require.Equal(t, "connection, by ann since 2026-03-01T18:00:00Z: network works", s.Connections[1].Paused)
	require.Empty(t, s.Policies[0].Paused)
	require.Equal(t, "2 of 3 retried targets failed again, since 2026-03-01T18:00:00Z", s.Policies[0].Halted)
	require.Empty(t, s.Policies[1].Halted, "another policy")
	require.NotEmpty(t, s.Policies[2].Paused, "on the connection")
	var tasks web.List[web.Task]
	r.get("/api/v1/tasks?task="+campaign, &tasks)
	require.Equal(t, "halted", tasks.Items[0].Held)
	_, err = r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseAll})
	require.NoError(t, err)
	r.get("/api/v1/tasks?task="+campaign, &tasks)
	require.Equal(t, "paused", tasks.Items[0].Held, "as of now, and not of the last sweep")
	require.Equal(t, "all, by ann since 2026-03-01T18:00:00Z: network works", tasks.Items[0].HeldBy)
}

func TestAttentionNamesTheWorstFirst(t *testing.T) {
	r := reading(t)
	require.Equal(t, []string{"No retryd runs with this ledger: nothing is swept | start it: retryd run; if it should be running, its log says why it is not"}, r.attention())
	r.drive("prod", "edge")
	require.Empty(t, r.attention(), "nothing has been swept yet, and nothing is wrong")

	r = reading(t)
	r.fill()
	r.sweep("guarded", "prod", scheduler.SweepComplete, r.now)
	r.sweep("guarded", "edge", scheduler.SweepComplete, r.now)
	for i, name := range []string{"prod", "edge"} {
		_, err := r.s.SetConnection(t.Context(), store.ConnectionRow{Identity: r.config.Connections[i].Identity(), Name: name, Reason: "auth", Detail: "HTTP 401", Remedy: "check the key"})
		require.NoError(t, err)
	}
	_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PausePolicy, Policy: "nightly"}, resting)
	require.NoError(t, err)
	require.Equal(t, []string{
		"2 connections are down (prod, edge): auth, HTTP 401, since 2026-03-01T18:00:00Z | check the key",
		"Policy nightly is paused, by ann since 2026-03-01T18:00:00Z: network works | retryd resume --policy nightly --why …",
		`Task "fw 2.1" (5f2bc5a1b2c3d4e5f6a7b8c9) is paused, by ann since 2026-03-01T18:00:00Z: network works | retryd resume --task 5f2bc5a1b2c3d4e5f6a7b8c9 --why …`,
		"1 device in 1 task is given up: 1 exhausted | see which and why: retryd targets --is exhausted",
	}, r.attention(), "sweeps that failed for a connection that is down are no news, and what is down awaits no approval")

	for i, name := range []string{"prod", "edge"} {
		_, err := r.s.SetConnection(t.Context(), store.ConnectionRow{Identity: r.config.Connections[i].Identity(), Name: name})
		require.NoError(t, err)
	}
	_, _, err = r.s.Approve(t.Context(), store.Action{Who: "bob", What: "approve", Why: "canary"}, store.Approval{
		ProjectID: project, TaskID: guarded, Policy: "guarded", PolicyHash: "another", Until: r.now.AddDate(0, 0, 7)})
	require.NoError(t, err)
	r.configure(strings.ReplaceAll(estate, "max: 3", "max: 4"))
	got := r.attention()
	require.Len(t, got, 7)
	require.Contains(t, got[0], "The last sweep of nightly on prod (2026-03-01T17:45:00Z) was partial: task "+campaign+": HTTP 500 | the last complete one began at 2026-03-01T17:30:00Z")
	require.Contains(t, got[1], "Another configuration than the one looked at here")
	require.Contains(t, got[4], `Task "guarded 1" (`+guarded+`) awaits approval: 7 failed targets`)
	require.Contains(t, got[5], "The approval of task "+guarded+" by bob opens nothing: policy guarded has changed since")

	r.now = r.now.Add(2 * time.Hour)
	r.drive("prod")
	got = r.attention()
	require.Contains(t, got[0], "Nobody drives connection edge: nothing is swept there")
	require.Contains(t, got[1], "Sweeps are overdue: nightly on prod since 2026-03-01T18:00:17Z")
}

func TestNothingConfiguredReadsWellToo(t *testing.T) {
	r := reading(t)
	r.config = &config.Config{Hash: "none"}
	s := r.status()
	require.Len(t, s.Attention, 2)
	require.Contains(t, s.Attention[0].What, "No retryd runs with this ledger")
	require.Contains(t, s.Attention[1].What, "The configuration cannot be used as it is", "no whole one is without connections")
	require.NotNil(t, s.Connections)
	require.NotNil(t, s.Policies)
}
