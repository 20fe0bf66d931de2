package web_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
	"retryd/internal/web"
)

func TestATaskSaysHowFarItIsAndWhatHoldsIt(t *testing.T) {
	r := reading(t)
	r.fill()
	prod := r.config.Connections[0]
	made := r.now.Add(-10 * time.Hour).Add(time.Minute)
	r.see(prod,
		store.Task{ID: "5f2bc5a1b2c3d4e5f6a7b8d1", Name: "nobody's", Status: "Fail", Total: 4, Success: 1, Fail: 3, CreatedAt: made},
		store.Task{ID: "5f2bc5a1b2c3d4e5f6a7b8d2", Name: "fw old", Status: "Fail", Total: 4, Success: 1, Fail: 3, CreatedAt: made.AddDate(0, -3, 0)},
	)
	require.NoError(t, r.s.TaskGone(t.Context(), project, later))
	r.now = r.now.Add(time.Hour)
	var list web.List[web.Task]
	r.get("/api/v1/tasks?gone=true", &list)
	got := map[string][3]string{}
	for _, task := range list.Items {
		got[task.Name] = [3]string{task.Held, task.HeldBy, task.ETA.Words}
	}
	require.Equal(t, map[string][3]string{
		"fw 2.1":    {"", "", "in about 21 h, at 1.8 an hour, but for 1 given up"},
		"guarded 1": {"awaiting_approval", "not approved", "7 are left, and held back: awaiting approval (not approved)"},
		"other":     {"", "", "the platform has the task no more"},
		"nobody's":  {"other_policy", "no policy of the configuration selects it", "3 are left, and held back: other policy (no policy of the configuration selects it)"},
		"fw old":    {"task_age", "created 2025-12-01T08:01:00Z", "3 are left, and held back: task age (created 2025-12-01T08:01:00Z)"},
	}, got)
	r.now = r.now.Add(5 * time.Hour) // 08:00: its window is shut
	r.get("/api/v1/tasks?task="+campaign, &list)
	require.Equal(t, "outside_window", list.Items[0].Held)
	require.NotNil(t, list.Items[0].ETA.At, "the rate of a day has its windows in it")
}

func TestAnApprovalOpensItsTaskAtOnce(t *testing.T) {
	r := reading(t)
	r.fill()
	p := r.policy("guarded")
	_, _, err := r.s.Approve(t.Context(), store.Action{Who: "ann", What: "approve", Why: "canary"}, store.Approval{
		ProjectID: project, TaskID: guarded, Policy: p.Name, PolicyHash: p.Hash, Until: r.now.AddDate(0, 0, 7)})
	require.NoError(t, err)
	var list web.List[web.Task]
	r.get("/api/v1/tasks?task="+guarded, &list)
	require.Empty(t, list.Items[0].Held, "as of now, and not of the last sweep")
	require.Zero(t, r.status().Awaiting)
}
