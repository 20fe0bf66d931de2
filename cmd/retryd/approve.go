package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

type approveCmd struct {
	Task    string `arg:"" help:"The task, by id or name."`
	Policy  string `placeholder:"NAME" help:"The policy in mode approve. Default: the one that the task can belong to."`
	Targets int    `default:"0" placeholder:"N" help:"Retry at most this many of its devices; 0 = all."`
	For     span   `default:"7d" placeholder:"7d" help:"How long the approval is valid."`
	Why     string `required:"" placeholder:"TEXT" help:"For the record."`
}

// Validate looks at what kong cannot.
func (c approveCmd) Validate() error {
	switch {
	case c.Targets < 0:
		return errors.New("--targets cannot be less than 0")
	case c.For <= 0:
		return errors.New("--for has to be more than 0: the approval would have ended already")
	case strings.TrimSpace(c.Why) == "":
		return errors.New("--why is missing: say on what grounds")
	}
	return nil
}

// Run writes the approval.
func (c approveCmd) Run(a *app) error {
	h, err := a.ledgerByHand()
	if err != nil {
		return err
	}
	defer h.close()
	approval, err := h.approval(a, c.Task, c.Policy)
	if err != nil {
		return err
	}
	if keep := h.config.Store.Retention; time.Duration(c.For) > keep {
		return failure{exitUsage, fmt.Errorf("--for is longer than store.retention (%s), after which what was approved is not known any more", policy.Short(keep))}
	}
	approval.Targets, approval.Until, approval.Who, approval.Why = c.Targets, h.store.Now().Add(time.Duration(c.For)), who(), c.Why
	action := store.Action{Who: who(), Source: "approve", What: "approve", Subject: "task " + approval.TaskID + " for policy " + approval.Policy, Why: c.Why}
	if err := h.store.Approve(a.ctx, approval, action); err != nil {
		return err
	}
	limit := "all of its targets"
	if c.Targets > 0 {
		limit = "at most " + plural(c.Targets, "target")
	}
	printf(a.stdout, "approved: task %s for policy %s, %s, until %s\n", approval.TaskID, approval.Policy, limit, approval.Until.UTC().Format(time.RFC3339))
	return nil
}

type revokeCmd struct {
	Task   string `arg:"" help:"The task, by id or name."`
	Policy string `placeholder:"NAME" help:"The policy in mode approve. Default: the one that the task can belong to."`
	Why    string `placeholder:"TEXT" help:"For the record."`
}

// Run ends the approval.
func (c revokeCmd) Run(a *app) error {
	h, err := a.ledgerByHand()
	if err != nil {
		return err
	}
	defer h.close()
	approval, err := h.approval(a, c.Task, c.Policy)
	if err != nil {
		return err
	}
	action := store.Action{Who: who(), Source: "revoke", What: "revoke", Subject: "task " + approval.TaskID + " for policy " + approval.Policy, Why: c.Why}
	was, err := h.store.Revoke(a.ctx, approval, action)
	if err != nil {
		return err
	}
	if !was {
		return fmt.Errorf("task %s is not approved for policy %s", approval.TaskID, approval.Policy)
	}
	printf(a.stdout, "revoked: task %s for policy %s\n", approval.TaskID, approval.Policy)
	return nil
}

// approval names the task and the policy of an approval.
func (h *house) approval(a *app, task, name string) (store.Approval, error) {
	t, err := h.task(a, task)
	if err != nil {
		return store.Approval{}, err
	}
	var can []*policy.Policy
	var names []string
	for _, p := range h.config.Policies {
		if p.Mode == policy.ModeApprove && h.mayOwn(p, t) && (name == "" || p.Name == name) {
			can, names = append(can, p), append(names, p.Name)
		}
	}
	switch {
	case len(can) == 1:
		return store.Approval{ProjectID: t.ProjectID, TaskID: t.ID, Policy: can[0].Name, PolicyHash: can[0].Hash}, nil
	case name != "":
		return store.Approval{}, fmt.Errorf("the configuration has no policy %q that is in mode approve and selects task %s", name, t.ID)
	case len(can) == 0:
		return store.Approval{}, fmt.Errorf("no policy in the configuration is in mode approve and selects task %s: it waits for no approval", t.ID)
	}
	return store.Approval{}, fmt.Errorf("several policies are in mode approve and may select the task: name one with --policy (%s)", strings.Join(names, ", "))
}

// mayOwn tells whether the policy selects the task, as far as the ledger knows it: not its app.
func (h *house) mayOwn(p *policy.Policy, t store.FoundTask) bool {
	anyApp := *p
	anyApp.Tasks.Apps, anyApp.Tasks.AppNames = nil, nil
	return slices.ContainsFunc(h.config.Connections, func(c config.Connection) bool {
		return c.ProjectID == t.ProjectID && anyApp.Owns(c.Name, iotda.Task{ID: t.ID, Name: t.Name, Type: iotda.TaskType(t.Type)})
	})
}
