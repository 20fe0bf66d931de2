package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// approvedFor is how long an approval is valid where nothing else is said.
const approvedFor = 7 * 24 * time.Hour

// approve answers POST /api/v1/approvals.
func (s *server) approve(r *asked) (any, bool, error) {
	var body NewApproval
	if err := r.into(&body); err != nil {
		return nil, false, err
	}
	if err := r.because("approve", body.Why); err != nil {
		return nil, false, err
	}
	t, p, err := s.approvable(r.Context(), body.Task, body.Project, body.Policy)
	if err != nil {
		return nil, false, err
	}
	until := s.now().Add(approvedFor)
	if body.Until != nil {
		until = *body.Until
	}
	keep := s.Config().Store.Retention
	switch {
	case body.PolicyHash != "" && body.PolicyHash != p.Hash:
		return nil, false, refusal(http.StatusConflict, "policy %q has changed since it was looked at: it is %s now, and %s was to be approved; look at it again", p.Name, p.Hash, body.PolicyHash)
	case body.Targets < 0:
		return nil, false, refusal(http.StatusBadRequest, "targets cannot be less than 0")
	case !until.After(s.now()):
		return nil, false, refusal(http.StatusBadRequest, "the approval would have ended already: it is %s", s.now().UTC().Format(time.RFC3339))
	case until.Sub(s.now()) > keep:
		return nil, false, refusal(http.StatusBadRequest, "the approval would last longer than store.retention (%s), after which what was approved is not known any more", policy.Short(keep))
	}
	row := store.ApprovalRow{At: s.now(), Approval: store.Approval{
		ProjectID: t.ProjectID, TaskID: t.ID, Policy: p.Name, PolicyHash: p.Hash, Targets: body.Targets, Until: until, Who: r.action.Who, Why: r.action.Why,
	}}
	again := false
	if !body.DryRun {
		row, again, err = s.Store.Approve(r.Context(), r.action, row.Approval)
	}
	return s.approvalOf(row), again, err
}

// revoke answers DELETE /api/v1/approvals/{id}.
func (s *server) revoke(r *asked) (any, bool, error) {
	id, dry, err := r.one("revoke")
	if err != nil {
		return nil, false, err
	}
	if !dry {
		row, again, err := s.Store.EndApproval(r.Context(), r.action, id)
		return s.approvalOf(row), again, err
	}
	valid, err := s.Store.Approvals(r.Context())
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(valid, func(row store.ApprovalRow) bool { return row.ID == id })
	if i < 0 {
		return nil, false, store.ErrNoPause
	}
	return s.approvalOf(valid[i]), false, nil
}

// approvable names the task and the policy of an approval.
func (s *server) approvable(ctx context.Context, task, project, name string) (store.FoundTask, *policy.Policy, error) {
	t, err := s.oneTaskIn(ctx, task, project)
	if err != nil {
		return store.FoundTask{}, nil, err
	}
	owners, err := s.owners(ctx, t)
	if err != nil {
		return t, nil, err
	}
	var can []*policy.Policy
	var names []string
	for _, p := range owners {
		if p.Mode == policy.ModeApprove && (name == "" || p.Name == name) {
			can, names = append(can, p), append(names, p.Name)
		}
	}
	switch {
	case len(can) == 1:
		return t, can[0], nil
	case len(can) > 1:
		return t, nil, refusal(http.StatusBadRequest, "several policies are in mode approve and may have task %s: name one (%s)", t.ID, strings.Join(names, ", "))
	case len(owners) == 0:
		return t, nil, refusal(http.StatusBadRequest, "no policy in the configuration selects task %s", t.ID)
	case name != "":
		return t, nil, refusal(http.StatusBadRequest, "task %s belongs to policy %s: there is no policy %q in mode approve that has it", t.ID, owners[0].Name, name)
	}
	return t, nil, refusal(http.StatusBadRequest, "task %s belongs to policy %s, which is in mode %s: it waits for no approval", t.ID, owners[0].Name, owners[0].Mode)
}

// owners gives the policies that a task can belong to: one, but where its app is not known yet.
func (s *server) owners(ctx context.Context, t store.FoundTask) (owners []*policy.Policy, err error) {
	c, row, err := s.connectionOf(ctx, t)
	if err != nil || row.ID == "" {
		return nil, err
	}
	task := iotda.Task{ID: t.ID, Name: t.Name, Type: iotda.TaskType(t.Type), AppID: row.AppID, AppName: row.AppName}
	for _, p := range s.Config().Policies {
		of := *p
		if task.AppID == "" {
			of.Tasks.Apps, of.Tasks.AppNames = nil, nil
		}
		if !of.Owns(c.Name, task) {
			continue
		}
		owners = append(owners, p)
		if p.Owns(c.Name, task) { // no later one can have it
			break
		}
	}
	return owners, nil
}

// forgive answers POST /api/v1/forgiveness.
func (s *server) forgive(r *asked) (any, bool, error) {
	var body NewForgiveness
	if err := r.into(&body); err != nil {
		return nil, false, err
	}
	if err := r.because("forgive", body.Why); err != nil {
		return nil, false, err
	}
	if body.Is != "" && !slices.Contains(store.GivenUp(), body.Is) {
		return nil, false, refusal(http.StatusBadRequest, "is can be %s", strings.Join(store.GivenUp(), ", "))
	}
	if err := few(body.Devices); err != nil {
		return nil, false, err
	}
	t, err := s.oneTaskIn(r.Context(), body.Task, body.Project)
	if err != nil {
		return nil, false, err
	}
	f := store.Forgiveness{ProjectID: t.ProjectID, TaskID: t.ID, Devices: body.Devices, Is: body.Is}
	do := func(ctx context.Context, f store.Forgiveness) (store.Forgiven, error) {
		return s.Store.Forgive(ctx, r.action, f)
	}
	if body.DryRun {
		do = s.Store.WouldForgive
	}
	done, err := do(r.Context(), f)
	if err != nil {
		return nil, false, err
	}
	answer := Forgiven{
		Count: len(done.Devices), Devices: done.Devices[:min(len(done.Devices), maxNamed)], Going: done.Going[:min(len(done.Going), maxNamed)],
		Left: []Left{}, DryRun: body.DryRun,
	}
	for _, left := range done.Left[:min(len(done.Left), maxNamed)] {
		answer.Left = append(answer.Left, Left{DeviceID: left.DeviceID, Reason: "not_forgiven", Detail: left.Why})
	}
	if answer.Devices == nil {
		answer.Devices = []string{}
	}
	if answer.Going == nil {
		answer.Going = []string{}
	}
	return answer, done.Again, nil
}
