package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

// What somebody may call their devices and tasks, and a platform may say, to get into a page.
const (
	hostileDevice = `"><img src=x onerror=alert(1)>`
	hostileTask   = `fw </title><script>alert(2)</script> ' " & ` + "\u202e" + ` {{.}}`
	hostileText   = `</svg><script>alert(3)</script>`
	hostileWhy    = `<b onmouseover=alert(4)>because</b>`
	hostileID     = "5f2bc5a1b2c3d4e5f6a7b8d0"
)

// site is the page on a ledger with a week in it, served as the daemon does.
type site struct {
	*reader
	url string
}

// siteFor begins with an empty ledger.
func siteFor(t *testing.T, caller web.Caller) *site {
	r := reading(t)
	r.o.Caller = func(*http.Request) web.Caller { return caller }
	r.h = web.New(r.o)
	page := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.h.ServeHTTP(w, req) })
	server := httptest.NewServer(http.NewCrossOriginProtection().Handler(page))
	t.Cleanup(server.Close)
	return &site{reader: r, url: server.URL}
}

var ann = web.Caller{Name: "ann", From: "192.0.2.1"}

// week fills the ledger with what a daemon would have after some days, and a part of it hostile.
func (s *site) week() {
	s.t.Helper()
	ctx, end, prod, edge := s.t.Context(), s.now, s.config.Connections[0], s.config.Connections[1]
	s.now = end.Add(-7 * 24 * time.Hour)
	for _, pair := range [][2]string{{"nightly", "prod"}, {"guarded", "prod"}, {"guarded", "edge"}} {
		_, err := s.s.Baseline(ctx, pair[0], pair[1])
		require.NoError(s.t, err)
	}
	made := s.now
	task := store.Task{ID: "5f2bc5a1b2c3d4e5f6a7b800", Name: "fw 2.0 water meters", Status: "PartialSuccess", Total: 1000, Success: 540, Fail: 420, CreatedAt: made}
	for hour := 0; hour < 160; hour += 6 {
		s.now = made.Add(time.Duration(hour) * time.Hour)
		s.see(prod, task)
		n := 2 + (hour*7)%13
		recovered := s.wave(task.ID, hour, n)
		task.Success, task.Fail = task.Success+recovered, task.Fail-recovered
		s.sweep("nightly", "prod", scheduler.SweepComplete, s.now)
	}
	s.now = end.Add(-2 * time.Hour)
	s.see(prod, task, store.Task{ID: hostileID, Name: hostileTask, Status: "Fail", Total: 40, Success: 12, Fail: 20, CreatedAt: end.Add(-20 * time.Hour)})
	s.see(edge, store.Task{ID: "5f2bc5a1b2c3d4e5f6a7b8e0", Name: "guarded gateways", Status: "Fail", Total: 30, Success: 21, Fail: 9, CreatedAt: end.Add(-20 * time.Hour)})
	s.tryWith(hostileID, hostileDevice, policy.Failed, hostileText)
	require.NoError(s.t, s.s.CountTasks(ctx, project, []store.TaskCounts{
		{TaskID: task.ID, Policy: "nightly", Connection: "prod", Counts: map[string]int{"backoff": 51, "exhausted": 12, "capped": 9, "in_flight": 4}, Limits: map[string]int{"ramp": 9}},
		{TaskID: hostileID, Policy: "nightly", Connection: "prod", Counts: map[string]int{"backoff": 1, "superseded": 19}},
	}))
	_, err := s.s.SetConnection(ctx, store.ConnectionRow{
		Identity: edge.Identity(), Name: "edge", Reason: "permission", Detail: hostileText,
		Remedy: "grant iotda:batchtasks:queryList, iotda:batchtasks:query and iotda:batchtasks:retry to the user of the key",
	})
	require.NoError(s.t, err)
	_, err = s.s.PauseNow(ctx, store.Action{Who: "bob", Source: "terminal", What: "pause", Why: hostileWhy}, store.Pause{
		Scope: store.PauseDevice, ProjectID: project, TaskID: hostileID, DeviceID: hostileDevice, Who: "bob", Why: hostileWhy})
	require.NoError(s.t, err)
	s.now = end
	s.fill()
}

// wave retries devices of a task; about two of three recover, and one of them is given up.
func (s *site) wave(task string, hour, n int) (recovered int) {
	s.t.Helper()
	for i := range n {
		device := fmt.Sprintf("meter-%05d", hour*100+i)
		switch {
		case (hour+i)%3 != 0:
			s.try(task, device, policy.Recovered)
			recovered++
		case i%2 == 0:
			s.try(task, device, policy.Failed)
			s.now = s.now.Add(time.Minute)
			s.try(task, device, policy.Recovered)
			recovered++
		default:
			s.try(task, device, policy.Failed)
			_, err := s.s.CloseTargets(s.t.Context(), store.Closings{
				ProjectID: project, TaskID: task, TaskType: "firmwareUpgrade", Policy: "nightly", Connection: "prod",
				Targets: []store.Closing{{DeviceID: device, Outcome: "permanent", Detail: "rule no-space", LastN: 1, Attempts: 1, Code: "IOTDA.014112", Text: "not enough storage"}},
			})
			require.NoError(s.t, err)
		}
	}
	return recovered
}

// tryWith retries a device, which fails in the words that are given.
func (s *site) tryWith(task, device string, to policy.State, text string) {
	s.t.Helper()
	s.try(task, device, policy.Accepted)
	open, err := s.s.OpenAttempts(s.t.Context(), project, task)
	require.NoError(s.t, err)
	for _, a := range open {
		if a.DeviceID == device {
			o := policy.Settlement{Attempt: a, At: s.now, Code: "IOTDA.000000", Text: text}
			o.State = to
			_, err = s.s.Settle(s.t.Context(), []policy.Settlement{o})
			require.NoError(s.t, err)
		}
	}
}
