package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// retry answers POST /api/v1/retries: whoever drives the connection performs it within seconds.
func (s *server) retry(r *asked) (any, bool, error) {
	var body NewRetry
	if err := r.into(&body); err != nil {
		return nil, false, err
	}
	if err := r.because("retry", body.Why); err != nil {
		return nil, false, err
	}
	switch {
	case len(body.Devices) > 0 == body.AllFailed:
		return nil, false, refusal(http.StatusBadRequest, "name devices, or set all_failed")
	case slices.Contains(body.Devices, "") || slices.Contains(body.Devices, policy.WholeTask):
		return nil, false, refusal(http.StatusBadRequest, "a device without a name is none")
	}
	if err := few(body.Devices); err != nil {
		return nil, false, err
	}
	t, err := s.oneTaskIn(r.Context(), body.Task, body.Project)
	if err != nil {
		return nil, false, err
	}
	c, _, err := s.connectionOf(r.Context(), t)
	if err != nil {
		return nil, false, err
	}
	request := store.Request{
		Kind: store.RetryRequest, Identity: c.Identity(), Connection: c.Name, ProjectID: t.ProjectID, TaskID: t.ID, Who: r.action.Who, Why: r.action.Why, At: s.now(),
		Order: store.Order{Devices: body.Devices, Past: policy.Past{Window: body.PastWindow, Limit: body.PastLimit, Max: body.PastMax}},
	}
	if body.DryRun {
		would, err := s.plan(r, request)
		return would, false, err
	}
	asked, again, err := s.ask(r, request)
	if err != nil {
		return nil, false, err
	}
	return requestOf(asked[0]), again, nil
}

// planFor is how long it may take to find out what retries would do: it reads all targets of a task.
const planFor = 10 * time.Minute

// plan says what would be retried, unless the platform is being asked for others.
func (s *server) plan(r *asked, request store.Request) (would Request, err error) {
	if !s.looks.turn.TryAcquire(1) {
		return would, refusal(http.StatusServiceUnavailable, "the platform is being asked for others: ask again in a few seconds")
	}
	defer s.looks.turn.Release(1)
	_ = r.control.SetWriteDeadline(time.Now().Add(planFor + time.Minute)) // what goes over no network has none
	ctx, cancel := context.WithTimeout(r.Context(), planFor)
	defer cancel()
	planned, err := s.Scheduler.PlanRetry(ctx, request)
	if err != nil {
		return would, refusal(http.StatusConflict, "%s", err)
	}
	request.State, request.Result = store.RequestDone, planned
	return requestOf(request), nil
}

// connectionOf gives the connection of a task: that which listed it last, where a project has several.
// The row of the task is empty where it has gone meanwhile.
func (s *server) connectionOf(ctx context.Context, t store.FoundTask) (c config.Connection, row store.TaskRow, err error) {
	rows, _, err := s.Store.ListTasks(ctx, store.TaskFilter{ProjectID: t.ProjectID, TaskID: t.ID}, store.Page{Limit: 1})
	if err != nil {
		return c, row, err
	}
	if len(rows) > 0 {
		row = rows[0]
	}
	for _, c := range s.Config().Connections {
		if c.ProjectID == t.ProjectID && (row.Identity == "" || row.Identity == c.Identity()) {
			return c, row, nil
		}
	}
	return c, row, refusal(http.StatusConflict, "no connection in the configuration is that of task %s, in project %s", t.ID, t.ProjectID)
}

// sweep answers POST /api/v1/sweeps, with a request for each policy on each of its connections.
func (s *server) sweep(r *asked) (any, bool, error) {
	var body NewSweep
	if err := r.into(&body); err != nil {
		return nil, false, err
	}
	if err := r.does("sweep", body.Why); err != nil { // no reason is needed to look
		return nil, false, err
	}
	var requests []store.Request
	names := namesOf(s.Config().Policies)
	for _, p := range s.Config().Policies {
		if len(body.Policies) > 0 && !slices.Contains(body.Policies, p.Name) {
			continue
		}
		for _, c := range s.Config().Connections {
			if slices.Contains(p.Connections, c.Name) {
				requests = append(requests, store.Request{Kind: store.SweepRequest, Identity: c.Identity(), Connection: c.Name, Policy: p.Name})
			}
		}
	}
	for _, name := range body.Policies {
		if err := thereIs("policy", name, names); err != nil {
			return nil, false, err
		}
	}
	if len(requests) == 0 {
		return nil, false, refusal(http.StatusConflict, "the configuration has no policy on any connection: there is nothing to sweep")
	}
	if body.DryRun {
		for i := range requests {
			requests[i].State, requests[i].Who, requests[i].Why, requests[i].At = store.RequestWaiting, r.action.Who, r.action.Why, s.now()
		}
		return List[Request]{Items: mapped(requests, requestOf)}, false, nil
	}
	asked, again, err := s.ask(r, requests...)
	return List[Request]{Items: mapped(asked, requestOf)}, again, err
}

// ask writes requests down for whoever drives their connections; if that is nobody's daemon but this
// process, it performs them before it answers.
func (s *server) ask(r *asked, requests ...store.Request) ([]store.Request, bool, error) {
	asked, again, err := s.Store.Ask(r.Context(), r.action, requests...)
	if err != nil || again {
		return asked, again, err
	}
	if s.Perform == nil {
		s.Scheduler.Wake()
		return asked, false, nil
	}
	done, err := s.Perform(r.Context(), asked...)
	if done == nil && err == nil {
		done = asked
	}
	return done, false, err
}
