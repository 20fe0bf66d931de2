package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

const (
	otherProject = "fedcba9876543210fedcba9876543210"
	campaign     = "5f2bc5a1b2c3d4e5f6a7b8c9" // of policy nightly, half done
	guarded      = "5f2bc5a1b2c3d4e5f6a7b8cb" // of policy guarded, which waits for approvals
	later        = "5f2bc5a1b2c3d4e5f6a7b8cf" // newer than the campaign, of nobody's
)

const estate = `
connections:
  - name: prod
    endpoint: https://prod.example
    region: cn-north-4
    project_id: ` + project + `
    labels: {env: prod}
    auth: {aksk: {access_key: "a", secret_key: "b"}}
  - name: edge
    endpoint: https://edge.example
    region: cn-north-4
    project_id: ` + otherProject + `
    auth: {aksk: {access_key: "a", secret_key: "b"}}
policies:
  - name: nightly
    connections: [prod]
    schedule: "*/15 * * * *"
    time_zone: Asia/Shanghai
    windows: [{start: "0 1 * * *", duration: 4h}]
    tasks: {names: ["fw.*"]}
    attempts: {max: 3, backoff: {initial: 30m, multiplier: 3, max: 24h, jitter: 0.2}}
  - name: guarded
    connections: all
    mode: approve
    schedule: "@every 1h"
    time_zone: UTC
    tasks: {names: ["guarded.*"]}
`

// reader is an API to be read, on a ledger of its own.
type reader struct {
	t      *testing.T
	s      *store.Store
	now    time.Time // on the ledger's clock
	config *config.Config
	o      web.Options
	h      http.Handler
	front  func(http.Handler) http.Handler // what stands before the platform, if anything
}

// reading begins with an empty ledger, at 02:00 in Shanghai.
func reading(t *testing.T) *reader {
	r := &reader{t: t, now: time.Date(2026, 3, 1, 18, 0, 0, 0, time.UTC)}
	var err error
	r.s, err = store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "retryd.db"), Create: true, Clock: func() time.Time { return r.now }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.s.Close()) })
	r.configure(estate)
	r.o = web.Options{
		Store: r.s, Config: func() *config.Config { return r.config }, Version: "v1", Log: zap.NewNop(),
		Caller: func(*http.Request) web.Caller { return web.Caller{Refused: "this is a test of looking"} },
	}
	r.h = web.New(r.o)
	return r
}

func (r *reader) configure(text string) {
	r.t.Helper()
	var err error
	r.config, err = config.Parse("retryd.yaml", []byte(text), func(string) (string, bool) { return "", false })
	require.NoError(r.t, err)
}

func (r *reader) policy(name string) *policy.Policy {
	for _, p := range r.config.Policies {
		if p.Name == name {
			return p
		}
	}
	require.Fail(r.t, "no policy "+name)
	return nil
}

// get reads an answer.
func (r *reader) get(path string, into any) {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, path, nil))
	require.Equal(r.t, http.StatusOK, w.Code, "%s: %s", path, w.Body)
	require.NoError(r.t, json.Unmarshal(w.Body.Bytes(), into))
}

// refused reads why there is no answer.
func (r *reader) refused(status int, method, path string) web.Problem {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), method, path, nil))
	require.Equal(r.t, status, w.Code, "%s: %s", path, w.Body)
	require.Equal(r.t, "application/problem+json", w.Header().Get("Content-Type"))
	var p web.Problem
	require.NoError(r.t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(r.t, status, p.Status)
	return p
}

// drive has a replica drive the connections that are named.
func (r *reader) drive(names ...string) {
	r.t.Helper()
	by := store.Replica{ID: "one", Host: "host-1", Version: "v1", ConfigHash: r.config.Hash, Started: r.now, Budgets: map[string][]string{}}
	for _, c := range r.config.Connections {
		for _, name := range names {
			if c.Name == name {
				by.Budgets[r.config.BudgetOf(c).Name] = []string{c.Identity()}
			}
		}
	}
	_, err := r.s.Renew(r.t.Context(), by, 15*time.Second)
	require.NoError(r.t, err)
	for budget := range by.Budgets {
		_, err = r.s.Acquire(r.t.Context(), budget, by, 15*time.Second)
		require.NoError(r.t, err)
	}
}

// see lists tasks, as a sweep does.
func (r *reader) see(c config.Connection, tasks ...store.Task) {
	r.t.Helper()
	for i := range tasks {
		tasks[i].Identity, tasks[i].Type = c.Identity(), "firmwareUpgrade"
	}
	require.NoError(r.t, r.s.SeeTasks(r.t.Context(), c.ProjectID, tasks))
}

// try retries a device, and has it come to a state.
func (r *reader) try(task, device string, to policy.State) {
	r.t.Helper()
	ctx, p := r.t.Context(), r.policy("nightly")
	known, err := r.s.Records(ctx, project, task, []string{device})
	require.NoError(r.t, err)
	sc := store.Scope{ProjectID: project, TaskID: task, Policy: p.Name, Connection: "prod", Identity: r.config.Connections[0].Identity(), PolicyHash: p.Hash}
	claimed, dropped, err := r.s.Claim(ctx, store.Claim{
		Scope: sc, TaskType: "firmwareUpgrade", Tick: r.now, Terms: p.Terms(), SendBy: r.now.Add(time.Minute),
		Candidates: []store.Candidate{{DeviceID: device, LastN: known[device].N, Max: 9}},
	})
	require.NoError(r.t, err)
	require.Empty(r.t, dropped)
	_, err = r.s.Answered(ctx, project, task, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: r.now, RequestID: "q1"}})
	require.NoError(r.t, err)
	if to == policy.Accepted {
		return
	}
	open, err := r.s.OpenAttempts(ctx, project, task)
	require.NoError(r.t, err)
	for _, a := range open {
		if a.DeviceID == device {
			o := policy.Settlement{Attempt: a, At: r.now}
			o.State = to
			if to == policy.Failed {
				o.Code, o.Text = "IOTDA.014016", "Waiting for the device online timeout"
				o.Cause = p.Cause(o.Code, o.Text)
			}
			_, err = r.s.Settle(ctx, []policy.Settlement{o})
			require.NoError(r.t, err)
		}
	}
}

// fill writes a night into the ledger: what a daemon would have.
func (r *reader) fill() {
	r.t.Helper()
	ctx, end, prod := r.t.Context(), r.now, r.config.Connections[0]
	r.now = end.Add(-10 * time.Hour)
	for _, pair := range [][2]string{{"nightly", "prod"}, {"guarded", "prod"}, {"guarded", "edge"}} {
		_, err := r.s.Baseline(ctx, pair[0], pair[1])
		require.NoError(r.t, err)
	}
	made := r.now.Add(time.Minute)
	fw := store.Task{ID: campaign, Name: "fw 2.1", Status: "Processing", Total: 100, Success: 40, Fail: 10, CreatedAt: made}
	r.see(prod, fw, store.Task{ID: guarded, Name: "guarded 1", Status: "Fail", Total: 7, Fail: 7, CreatedAt: made}, store.Task{ID: later, Name: "other", Status: "Success", Total: 1, Success: 1, CreatedAt: made.Add(time.Hour)})
	r.now = end.Add(-5 * time.Hour)
	for device, to := range map[string]policy.State{"d-recovered": policy.Recovered, "d-failed": policy.Failed, "d-up": policy.Failed, "d-gone": policy.Gone} {
		r.try(campaign, device, to)
	}
	_, err := r.s.CloseTargets(ctx, store.Closings{
		ProjectID: project, TaskID: campaign, TaskType: "firmwareUpgrade", Policy: "nightly", Connection: "prod",
		Targets: []store.Closing{{DeviceID: "d-up", Outcome: "exhausted", Detail: "1 of 1 attempts", LastN: 1, Attempts: 1, Code: "IOTDA.014016", Text: "not online", Cause: r.policy("nightly").Cause("IOTDA.014016", "")}},
	})
	require.NoError(r.t, err)
	r.now = end.Add(-time.Hour)
	fw.Success = 60
	r.see(prod, fw)
	r.sweep("nightly", "prod", scheduler.SweepComplete, end.Add(-30*time.Minute))
	r.now = end.Add(-20 * time.Minute)
	require.NoError(r.t, r.s.CountTasks(ctx, project, []store.TaskCounts{
		{TaskID: campaign, Policy: "nightly", Connection: "prod", Counts: map[string]int{"backoff": 1, "exhausted": 1, "capped": 3}, Limits: map[string]int{"ramp": 3}},
		{TaskID: guarded, Policy: "guarded", Connection: "prod", Counts: map[string]int{"awaiting_approval": 7}, Detail: "not approved"},
	}))
	r.sweep("nightly", "prod", scheduler.SweepPartial, end.Add(-15*time.Minute))
	r.try(campaign, "d-open", policy.Accepted)
	_, err = r.s.SetConnection(ctx, store.ConnectionRow{Identity: prod.Identity(), Name: "prod"})
	require.NoError(r.t, err)
	r.now = end
	r.drive("prod", "edge")
}

func (r *reader) sweep(policyName, connection, result string, at time.Time) {
	r.t.Helper()
	before := r.now
	r.now = at
	tick := store.Tick{Policy: policyName, Connection: connection, Tick: at, Started: at}
	_, err := r.s.StartTick(r.t.Context(), tick)
	require.NoError(r.t, err)
	tick.Finished, tick.Result = at.Add(2*time.Second), result
	tick.Counts, tick.States, tick.Sent = map[string]int{"backoff": 1, "due": 2}, map[string]int{"active": 1}, map[string]int{"accepted": 2}
	if result != scheduler.SweepComplete {
		tick.Problems = []string{"task " + campaign + ": HTTP 500"}
	}
	require.NoError(r.t, r.s.FinishTick(r.t.Context(), tick))
	r.now = before
}
