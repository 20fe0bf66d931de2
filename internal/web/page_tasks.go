package web

import (
	"net/http"
	"time"

	"retryd/internal/store"
)

func (p *pages) listTasks(v *view) error {
	q := v.params(p)
	f := store.TaskFilter{
		ProjectID: q.text("project"), Policy: q.text("policy"), Connection: q.text("connection"), Name: q.text("name"),
		Type: q.text("type"), Status: q.text("status"), Gone: q.yes("gone"),
	}
	page := q.page()
	if err := q.check(); err != nil {
		return err
	}
	list, err := p.tasks(v.ctx(), f, page)
	if err != nil {
		return listed(err)
	}
	return v.put("tasks", "Tasks", "/tasks", list)
}

// taskPage is all about one task.
type taskPage struct {
	Task
	List    List[Target]
	Is      string
	Stands  []string
	Actions []Action
	Chart   chart
	Holds   holds
	Hash    string // of the policy that it belongs to
}

// GivenUp tells whether some of its targets are.
func (t taskPage) GivenUp() bool {
	return lostOf(t.Ended) > 0
}

// holds are what people, and halts, hold back in one place.
type holds struct {
	Pauses    []Pause
	Halts     []Halt
	Approvals []Approval
}

func (p *pages) oneTask(v *view) error {
	q := v.params(p)
	is, page := q.oneOf("is", Stands()...), q.page()
	if err := q.check(); err != nil {
		return err
	}
	project, id := v.request.PathValue("project"), v.request.PathValue("task")
	found, err := p.tasks(v.ctx(), store.TaskFilter{ProjectID: project, TaskID: id, Gone: true}, store.Page{Limit: 1})
	if err != nil {
		return err
	}
	if len(found.Items) == 0 {
		return refusal(http.StatusNotFound, "no task %s of project %s has been listed yet: a sweep lists them", id, project)
	}
	body := taskPage{Task: found.Items[0], Is: is, Stands: Stands()}
	for _, p := range p.Config().Policies {
		if p.Name == body.Policy {
			body.Hash = p.Hash
		}
	}
	if body.List, err = p.targets(v.ctx(), store.TargetFilter{ProjectID: project, TaskID: id, Is: is}, page); err != nil {
		return listed(err)
	}
	done, err := p.actions(v.ctx(), store.ActionFilter{ProjectID: project, TaskID: id}, store.Page{Limit: 20})
	if err != nil {
		return err
	}
	body.Actions = done.Items
	progress, err := p.Store.TaskProgress(v.ctx(), project, id, v.Now.Add(-30*24*time.Hour))
	if err != nil {
		return err
	}
	body.Chart = progressChart(progress, v.Now)
	if body.Holds, err = p.holdsOf(v, project, id); err != nil {
		return err
	}
	title := body.Name
	if title == "" {
		title = body.ID
	}
	return v.put("task", title, "/tasks", body)
}

// holdsOf gives what holds one task, or devices in it.
func (p *pages) holdsOf(v *view, project, task string) (h holds, err error) {
	pauses, err := p.pauses(v.ctx())
	if err != nil {
		return h, err
	}
	halts, err := p.halts(v.ctx())
	if err != nil {
		return h, err
	}
	approvals, err := p.approvals(v.ctx())
	for _, pause := range pauses {
		if pause.ProjectID == project && pause.TaskID == task {
			h.Pauses = append(h.Pauses, pause)
		}
	}
	for _, halt := range halts {
		if halt.ProjectID == project && halt.TaskID == task {
			h.Halts = append(h.Halts, halt)
		}
	}
	for _, approval := range approvals {
		if approval.ProjectID == project && approval.TaskID == task {
			h.Approvals = append(h.Approvals, approval)
		}
	}
	return h, err
}
