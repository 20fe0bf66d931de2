package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"retryd/internal/store"
)

// params reads the words of the address, as the API does.
func (v *view) params(p *pages) *params { return &params{values: v.Query, now: p.now()} }

// listed gives the error of a list as its reader should see it.
func listed(err error) error {
	if errors.Is(err, store.ErrCursor) {
		return refusal(http.StatusBadRequest, "%s", store.ErrCursor)
	}
	return err
}

func (p *pages) listSweeps(v *view) error {
	q := v.params(p)
	f := store.SweepFilter{
		Policy: q.text("policy"), Connection: q.text("connection"), Result: q.oneOf("result", sweepResults()...), Since: q.when("since"), Until: q.when("until"),
	}
	page := q.page()
	if err := q.check(); err != nil {
		return err
	}
	list, err := p.sweeps(v.ctx(), f, page)
	if err != nil {
		return listed(err)
	}
	return v.put("sweeps", "Sweeps", "/sweeps", struct {
		List[Sweep]
		Results []string
	}{list, sweepResults()})
}

func (p *pages) listAttempts(v *view) error {
	q := v.params(p)
	f := store.AttemptFilter{
		ProjectID: q.text("project"), Policy: q.text("policy"), Connection: q.text("connection"), DeviceID: q.text("device"),
		State: q.oneOf("state", attemptStates()...), Since: q.when("since"), Until: q.when("until"),
	}
	task, page := q.text("task"), q.page()
	if err := q.check(); err != nil {
		return err
	}
	if err := p.byTask(v.ctx(), task, &f.ProjectID, &f.TaskID); err != nil {
		return err
	}
	list, err := p.attempts(v.ctx(), f, page)
	if err != nil {
		return listed(err)
	}
	return v.put("attempts", "Attempts", "/attempts", struct {
		List[Attempt]
		States []string
	}{list, attemptStates()})
}

func (p *pages) listActions(v *view) error {
	q := v.params(p)
	f := store.ActionFilter{
		ProjectID: q.text("project"), Policy: q.text("policy"), Connection: q.text("connection"), DeviceID: q.text("device"),
		Who: q.text("who"), What: q.text("what"), Since: q.when("since"), Until: q.when("until"),
	}
	task, page := q.text("task"), q.page()
	if err := q.check(); err != nil {
		return err
	}
	if err := p.byTask(v.ctx(), task, &f.ProjectID, &f.TaskID); err != nil {
		return err
	}
	list, err := p.actions(v.ctx(), f, page)
	if err != nil {
		return listed(err)
	}
	return v.put("actions", "Actions", "/actions", list)
}

// policies lists every policy on each of its connections, or those of a name, a connection or a mode.
func (p *pages) policies(v *view) error {
	q := v.params(p)
	name, connection, mode := q.text("policy"), q.text("connection"), q.text("mode")
	if err := q.check(); err != nil {
		return err
	}
	all, err := p.server.policies(v.ctx())
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(all, func(row Policy) bool {
		return name != "" && row.Name != name || connection != "" && row.Connection != connection || mode != "" && row.Mode != mode
	})
	return v.put("policies", "Policies", "/policies", policiesBody{rows[:min(len(rows), policiesRows)], len(rows), "name a policy or a connection to see the others"})
}

// policiesRows is how many policies a page lists.
const policiesRows = 200

// policiesBody is a table of policies. All is how many there are, and Others says how to see those
// that are left out.
type policiesBody struct {
	Policies []Policy
	All      int
	Others   string
}

func (p *pages) connections(v *view) error {
	if err := v.params(p).check(); err != nil {
		return err
	}
	rows, err := p.server.connections(v.ctx())
	if err != nil {
		return err
	}
	return v.put("connections", "Connections", "/connections", connectionsBody{Connections: worstFirst(rows), All: len(rows)})
}

type connectionsBody struct {
	Connections []Connection
	All         int
}

// worstFirst puts the connections first that somebody should look at.
func worstFirst(rows []Connection) []Connection {
	rank := map[string]int{"down": 0, "unknown": 1}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Connection) int {
		of := func(c Connection) int {
			if n, bad := rank[c.State]; bad {
				return n
			}
			if c.Paused != "" {
				return 2
			}
			return 3
		}
		return cmp.Compare(of(a), of(b))
	})
	return rows
}
