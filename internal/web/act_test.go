package web_test

import (
	"encoding/json"
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

const (
	project = "0123456789abcdef0123456789abcdef"
	canary  = "5f2bc5a1b2c3d4e5f6a7b8c9"
	fleet   = "5f2bc5a1b2c3d4e5f6a7b8ca"
)

const sample = `
connections:
  - name: prod
    endpoint: https://h.example
    region: cn-north-4
    project_id: ` + project + `
    auth: {aksk: {access_key: "a", secret_key: "b"}}
policies:
  - name: canary
    schedule: "*/15 * * * *"
    tasks: {names: ["canary.*"]}
  - name: fleet
    schedule: "*/15 * * * *"
    mode: approve
`

// acts is an API on a ledger, for somebody.
type acts struct {
	t      *testing.T
	s      *store.Store
	caller web.Caller
	h      http.Handler
	config *config.Config
}

func acting(t *testing.T) *acts {
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "retryd.db"), Create: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	a := &acts{t: t, s: s, caller: web.Caller{Name: "ann", From: "192.0.2.1"}}
	a.config, err = config.Parse("retryd.yaml", []byte(sample), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	now := time.Now()
	require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{
		{ID: canary, Name: "canary 1", Type: "firmwareUpgrade", Status: "Fail", Total: 3, Fail: 3, CreatedAt: now},
		{ID: fleet, Name: "fleet 1", Type: "firmwareUpgrade", Status: "Fail", Total: 9, Fail: 9, CreatedAt: now},
	}))
	a.h = web.New(web.Options{Store: s, Config: func() *config.Config { return a.config }, Version: "v1", Log: zap.NewNop(), Caller: func(*http.Request) web.Caller { return a.caller }})
	return a
}

// ask sends a request, and reads the answer into what is named.
func (a *acts) ask(method, path, body string, into any, header ...string) *http.Response {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	require.NoError(a.t, err)
	if into != nil {
		require.NoError(a.t, json.Unmarshal(text, into), "%s", text)
	}
	return w.Result()
}

// refuses has a request refused in words, and looks that nothing has changed.
func (a *acts) refuses(status int, words, method, path, body string, header ...string) {
	a.t.Helper()
	before := a.state()
	var p web.Problem
	r := a.ask(method, path, body, &p, header...)
	require.Equal(a.t, status, r.StatusCode, "%s %s: %s", path, body, p.Detail)
	require.Equal(a.t, "application/problem+json", r.Header.Get("Content-Type"))
	require.Equal(a.t, status, p.Status)
	require.Contains(a.t, p.Detail, words)
	require.Equal(a.t, before, a.state(), "nothing has changed")
}

// state is what people have done.
func (a *acts) state() []any {
	a.t.Helper()
	actions, err := a.s.LastAction(a.t.Context())
	require.NoError(a.t, err)
	pauses, err := a.s.Pauses(a.t.Context())
	require.NoError(a.t, err)
	approvals, err := a.s.Approvals(a.t.Context())
	require.NoError(a.t, err)
	halts, err := a.s.Halts(a.t.Context())
	require.NoError(a.t, err)
	return []any{actions, pauses, approvals, halts}
}

func TestWhoeverMayNotActChangesNothingAndReadsWhy(t *testing.T) {
	a := acting(t)
	a.caller = web.Caller{Name: "eve", From: "192.0.2.66", Refused: "eve is not in server.admins"}
	for _, request := range [][2]string{
		{"POST /api/v1/pauses", `{"all": true, "why": "w"}`}, {"DELETE /api/v1/pauses?all=true&why=w", ""}, {"DELETE /api/v1/pauses/1?why=w", ""},
		{"DELETE /api/v1/halts/1?why=w", ""}, {"POST /api/v1/approvals", `{"task": "fleet 1", "why": "w"}`}, {"DELETE /api/v1/approvals/1?why=w", ""},
		{"POST /api/v1/forgiveness", `{"task": "fleet 1", "why": "w"}`},
	} {
		method, path, _ := strings.Cut(request[0], " ")
		a.refuses(http.StatusForbidden, "eve is not in server.admins", method, path, request[1])
	}
}

func TestARequestThatIsNotWholeChangesNothingAndSaysWhatIsMissing(t *testing.T) {
	a := acting(t)
	for _, row := range []struct {
		status              int
		words, path, body   string
		header, headerValue string
	}{
		{400, "why is missing", "/api/v1/pauses", `{"all": true}`, "", ""},
		{400, "why is missing", "/api/v1/pauses", `{"all": true, "why": "  "}`, "", ""},
		{400, "exactly one of all, connection, policy and task", "/api/v1/pauses", `{"why": "w"}`, "", ""},
		{400, "exactly one of", "/api/v1/pauses", `{"all": true, "policy": "fleet", "why": "w"}`, "", ""},
		{400, `unknown field "alll"`, "/api/v1/pauses", `{"alll": true, "why": "w"}`, "", ""},
		{400, "more than one JSON value", "/api/v1/pauses", `{"all": true, "why": "w"} {}`, "", ""},
		{400, "more than one JSON value", "/api/v1/pauses", `{"all": true, "why": "w"} }`, "", ""},
		{400, "more than one JSON value", "/api/v1/pauses", `{"all": true, "why": "w"} x`, "", ""},
		{400, "not what /api/v1/pauses takes", "/api/v1/pauses", `all`, "", ""},
		{400, `there is no parameter "dry_run": it takes none`, "/api/v1/pauses?dry_run=true", `{"all": true, "why": "w"}`, "", ""},
		{400, `there is no parameter "dry_run": it takes none`, "/api/v1/approvals?dry_run=true", `{"task": "fleet 1", "why": "w"}`, "", ""},
		{400, `there is no parameter "x": it takes none`, "/api/v1/forgiveness?x=1", `{"task": "fleet 1", "why": "w"}`, "", ""},
		{400, `there is no parameter "x": it takes none`, "/api/v1/retries?x=1", `{"task": "fleet 1", "all_failed": true, "why": "w"}`, "", ""},
		{400, `there is no parameter "x": it takes none`, "/api/v1/sweeps?x=1", `{}`, "", ""},
		{400, "can have 256 bytes", "/api/v1/pauses", `{"task": "fleet 1", "devices": ["` + strings.Repeat("d", 257) + `"], "why": "w"}`, "", ""},
		{400, "can have 256 bytes", "/api/v1/forgiveness", `{"task": "fleet 1", "devices": ["` + strings.Repeat("d", 257) + `"], "why": "w"}`, "", ""},
		{400, "can have 256 bytes", "/api/v1/retries", `{"task": "fleet 1", "devices": ["` + strings.Repeat("d", 257) + `"], "why": "w"}`, "", ""},
		{400, `no connection "x"`, "/api/v1/pauses", `{"connection": "x", "why": "w"}`, "", ""},
		{400, `no policy "x"`, "/api/v1/pauses", `{"policy": "x", "why": "w"}`, "", ""},
		{400, `no task with the id or name "x"`, "/api/v1/pauses", `{"task": "x", "why": "w"}`, "", ""},
		{400, "named with the task", "/api/v1/pauses", `{"all": true, "devices": ["d"], "why": "w"}`, "", ""},
		{400, "a device without a name", "/api/v1/pauses", `{"task": "fleet 1", "devices": ["*"], "why": "w"}`, "", ""},
		{400, "over already", "/api/v1/pauses", `{"all": true, "until": "2020-01-01T00:00:00Z", "why": "w"}`, "", ""},
		{415, "Content-Type: application/json", "/api/v1/pauses", `{"all": true, "why": "w"}`, "Content-Type", "application/x-www-form-urlencoded"},
		{400, "can have 200 characters", "/api/v1/pauses", `{"all": true, "why": "w"}`, "Idempotency-Key", strings.Repeat("k", 201)},
		{400, "waits for no approval", "/api/v1/approvals", `{"task": "canary 1", "why": "w"}`, "", ""},
		{400, `there is no policy "canary" in mode approve`, "/api/v1/approvals", `{"task": "canary 1", "policy": "canary", "why": "w"}`, "", ""},
		{400, "have ended already", "/api/v1/approvals", `{"task": "fleet 1", "until": "2020-01-01T00:00:00Z", "why": "w"}`, "", ""},
		{400, "longer than store.retention", "/api/v1/approvals", `{"task": "fleet 1", "until": "2099-01-01T00:00:00Z", "why": "w"}`, "", ""},
		{400, "less than 0", "/api/v1/approvals", `{"task": "fleet 1", "targets": -1, "why": "w"}`, "", ""},
		{409, "has changed since it was looked at", "/api/v1/approvals", `{"task": "fleet 1", "policy_hash": "0123456789ab", "why": "w"}`, "", ""},
		{400, "exhausted, expired, permanent", "/api/v1/forgiveness", `{"task": "fleet 1", "is": "recovered", "why": "w"}`, "", ""},
	} {
		header := []string{}
		if row.header != "" {
			header = append(header, row.header, row.headerValue)
		}
		a.refuses(row.status, row.words, http.MethodPost, row.path, row.body, header...)
	}
	for path, words := range map[string]string{
		"/api/v1/pauses/1?why=w": "does not hold now", "/api/v1/pauses/x?why=w": `"x" is no number`, "/api/v1/halts/1?why=w": "does not hold now",
		"/api/v1/approvals/1?why=w": "does not hold now", "/api/v1/pauses?all=true&why=w": "does not hold now",
	} {
		a.refuses(http.StatusNotFound, words, http.MethodDelete, path, "")
	}
	a.refuses(http.StatusMethodNotAllowed, "", http.MethodPut, "/api/v1/pauses", `{"all": true, "why": "w"}`)
	r := a.ask(http.MethodGet, "/api/v1/pauses?all=true&why=w", "", nil)
	require.NotEqual(t, http.StatusInternalServerError, r.StatusCode)
	require.Empty(t, a.state()[1], "a GET changes nothing")
}

func TestWhatIsToEndIsReadStrictlyAndADryRunEndsNothing(t *testing.T) {
	a := acting(t)
	var approval web.Approval
	var paused web.Paused
	_, tripped, err := a.s.Trip(t.Context(), store.Scope{ProjectID: project, TaskID: a.failed("d1"), Policy: "fleet", Connection: "prod"},
		policy.Halt{On: []policy.CauseClass{"network"}, FailureRatio: 0.1, MinOutcomes: 1, Window: time.Hour, Scope: policy.HaltTask})
	require.NoError(t, err)
	require.True(t, tripped)
	a.ask(http.MethodPost, "/api/v1/approvals", `{"task": "fleet 1", "why": "w"}`, &approval)
	a.ask(http.MethodPost, "/api/v1/pauses", `{"all": true, "why": "w"}`, &paused)
	halts, err := a.s.Halts(t.Context())
	require.NoError(t, err)
	paths := []string{
		"/api/v1/pauses?all=true&", fmt.Sprintf("/api/v1/pauses/%d?", paused.Items[0].ID), fmt.Sprintf("/api/v1/halts/%d?", halts[0].ID), fmt.Sprintf("/api/v1/approvals/%d?", approval.ID),
	}
	for _, path := range paths {
		for query, words := range map[string]string{
			"why=w&dry-run=true":               `there is no parameter "dry-run"`,
			"why=w&dry_run=1":                  `dry_run can be true, false: it is "1"`,
			"why=w&dry_run=":                   "dry_run can be true, false: it is empty",
			"why=w&dry_run":                    "dry_run can be true, false: it is empty",
			"why=w&dry_run=true&dry_run=false": "dry_run is given 2 times",
			"why=w&why=x":                      "why is given 2 times",
			"why=w;dry_run=true":               "the query cannot be read",
			"dry_run=true":                     "why is missing",
		} {
			a.refuses(http.StatusBadRequest, words, http.MethodDelete, path+query, "")
		}
		a.refuses(http.StatusBadRequest, "DELETE takes no body", http.MethodDelete, path+"why=w", `{"dry_run": true}`)
		before := a.state()
		r := a.ask(http.MethodDelete, path+"why=w&dry_run=true", "", nil)
		require.Equal(t, http.StatusOK, r.StatusCode, path)
		require.Equal(t, before, a.state(), "%s: a dry run changes nothing", path)
	}
	var would web.Resumed
	a.ask(http.MethodDelete, paths[1]+"why=w&dry_run=true", "", &would)
	require.Equal(t, web.Resumed{Pauses: paused.Items, Halts: []web.Halt{}, DryRun: true}, would)
	a.ask(http.MethodDelete, paths[2]+"why=w&dry_run=true", "", &would)
	require.Len(t, would.Halts, 1)
	a.refuses(http.StatusNotFound, "does not hold now", http.MethodDelete, "/api/v1/pauses/99?why=w&dry_run=true", "")
	a.refuses(http.StatusNotFound, "does not hold now", http.MethodDelete, "/api/v1/halts/99?why=w&dry_run=true", "")
	a.refuses(http.StatusNotFound, "does not hold now", http.MethodDelete, "/api/v1/approvals/99?why=w&dry_run=true", "")
	a.refuses(http.StatusBadRequest, "can have 256 bytes", http.MethodDelete, "/api/v1/pauses?task=fleet+1&why=w&device="+strings.Repeat("d", 257), "")
	for _, path := range paths[1:] {
		require.Equal(t, http.StatusOK, a.ask(http.MethodDelete, path+"why=w", "", nil).StatusCode, path)
	}
	for _, held := range a.state()[1:] {
		require.Empty(t, held)
	}
}

// failed has a device of the fleet fail once, for the network, and gives the task.
func (a *acts) failed(device string) string {
	a.t.Helper()
	claimed, _, err := a.s.Claim(a.t.Context(), store.Claim{
		Scope: store.Scope{ProjectID: project, TaskID: fleet, Policy: "fleet", Connection: "prod"}, TaskType: "firmwareUpgrade", Tick: time.Now(), SendBy: time.Now().Add(time.Minute),
		Candidates: []store.Candidate{{DeviceID: device, Max: 3}},
	})
	require.NoError(a.t, err)
	_, err = a.s.Answered(a.t.Context(), project, fleet, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: time.Now()}})
	require.NoError(a.t, err)
	open, err := a.s.OpenAttempts(a.t.Context(), project, fleet)
	require.NoError(a.t, err)
	o := policy.Settlement{Attempt: open[0], At: time.Now(), Code: "IOTDA.014016", Cause: a.config.Policies[1].Cause("IOTDA.014016", "")}
	o.State = policy.Failed
	_, err = a.s.Settle(a.t.Context(), []policy.Settlement{o})
	require.NoError(a.t, err)
	return fleet
}

func TestAPauseSaysWhatItHoldsAndWhatItCannotCallBack(t *testing.T) {
	a := acting(t)
	claimed, _, err := a.s.Claim(t.Context(), store.Claim{
		Scope: store.Scope{ProjectID: project, TaskID: fleet, Policy: "fleet", Connection: "prod"}, TaskType: "firmwareUpgrade", Tick: time.Now(), SendBy: time.Now().Add(time.Minute),
		Candidates: []store.Candidate{{DeviceID: "d1", Max: 3}},
	})
	require.NoError(t, err)
	_, err = a.s.Answered(t.Context(), project, fleet, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: time.Now()}})
	require.NoError(t, err)
	before := a.state()
	var would, done, again web.Paused
	a.ask(http.MethodPost, "/api/v1/pauses", `{"task": "fleet 1", "devices": ["d1", "d2"], "why": "a storm", "dry_run": true}`, &would)
	require.Equal(t, before, a.state(), "a dry run changes nothing")
	require.Equal(t, []int{2, 1}, []int{len(would.Items), would.Accepted})
	require.Equal(t, []string{"d1 in task " + fleet}, would.Which)
	require.Equal(t, []string{"d2"}, would.Unknown)
	require.True(t, would.DryRun)

	body := `{"task": "fleet 1", "devices": ["d1", "d2"], "why": "a storm"}`
	r := a.ask(http.MethodPost, "/api/v1/pauses", body, &done, "Idempotency-Key", "k1")
	require.Empty(t, r.Header.Get("Idempotency-Replayed"))
	require.Equal(t, []string{"ann", "a storm", "device", "d1"}, []string{done.Items[0].Who, done.Items[0].Why, done.Items[0].Scope, done.Items[0].DeviceID})
	held := a.state()
	r = a.ask(http.MethodPost, "/api/v1/pauses", body, &again, "Idempotency-Key", "k1")
	require.Equal(t, "true", r.Header.Get("Idempotency-Replayed"))
	require.Equal(t, done, again)
	require.Equal(t, held, a.state(), "it has happened once")
	a.refuses(http.StatusUnprocessableEntity, "used for another request", http.MethodPost, "/api/v1/pauses", `{"all": true, "why": "w"}`, "Idempotency-Key", "k1")

	var ended web.Resumed
	a.ask(http.MethodDelete, "/api/v1/pauses?task=fleet+1&device=d1&device=d2&why=over&dry_run=true", "", &ended)
	require.Len(t, ended.Pauses, 2)
	require.Equal(t, held, a.state())
	a.ask(http.MethodDelete, "/api/v1/pauses?task=fleet+1&device=d1&device=d2&why=over", "", &ended)
	require.Len(t, ended.Pauses, 2)
	require.Empty(t, a.state()[1])
	actions, err := a.s.ActionsAfter(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, store.Action{
		Who: "ann", Source: "192.0.2.1", What: "resume", Subject: "device d2 in task " + fleet, Why: "over", ProjectID: project, TaskID: fleet, DeviceID: "d2",
	}, actions[len(actions)-1].Action)
}

func TestAnApprovalIsForThePolicyThatWasLookedAt(t *testing.T) {
	a := acting(t)
	hash := a.config.Policies[1].Hash
	var row web.Approval
	a.ask(http.MethodPost, "/api/v1/approvals", `{"task": "fleet 1", "policy_hash": "`+hash+`", "targets": 5, "why": "the canary is good", "dry_run": true}`, &row)
	require.Empty(t, a.state()[2])
	r := a.ask(http.MethodPost, "/api/v1/approvals", `{"task": "fleet 1", "policy_hash": "`+hash+`", "targets": 5, "why": "the canary is good"}`, &row)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, []any{"fleet", hash, 5, false, "ann"}, []any{row.Policy, row.PolicyHash, row.Targets, row.Stale, row.Who})
	require.InDelta(t, 7*24*time.Hour, time.Until(row.Until), float64(time.Minute))

	var err error
	a.config, err = config.Parse("retryd.yaml", []byte(strings.Replace(sample, "mode: approve", "mode: approve\n    attempts: {max: 9}", 1)), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	a.refuses(http.StatusConflict, "look at it again", http.MethodPost, "/api/v1/approvals", `{"task": "fleet 1", "policy_hash": "`+hash+`", "why": "again"}`)
	var list web.List[web.Approval]
	a.ask(http.MethodGet, "/api/v1/approvals", "", &list)
	require.True(t, list.Items[0].Stale)
	var ended web.Approval
	a.ask(http.MethodDelete, "/api/v1/approvals/1?why=not+now", "", &ended)
	require.Equal(t, row.ID, ended.ID)
	require.Empty(t, a.state()[2])
}

// TestADryRunOfSweepsSaysWhichThereWouldBe and asks for none.
func TestADryRunOfSweepsSaysWhichThereWouldBe(t *testing.T) {
	a := acting(t)
	before := a.state()
	for body, policies := range map[string][]string{`{"dry_run": true}`: {"canary", "fleet"}, `{"policies": ["fleet"], "why": "x", "dry_run": true}`: {"fleet"}} {
		var would web.List[web.Request]
		require.Equal(t, http.StatusOK, a.ask(http.MethodPost, "/api/v1/sweeps", body, &would).StatusCode)
		var named []string
		for _, r := range would.Items {
			require.Zero(t, r.ID)
			require.Equal(t, "prod", r.Connection)
			named = append(named, r.Policy)
		}
		require.Equal(t, policies, named)
	}
	require.Equal(t, before, a.state())
	a.refuses(http.StatusBadRequest, `there is no policy "weekly": there are canary, fleet`, http.MethodPost, "/api/v1/sweeps", `{"policies": ["weekly"], "dry_run": true}`)
}
