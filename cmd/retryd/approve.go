package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"retryd/internal/web"
)

type approveCmd struct {
	handFlags
	Task string `arg:"" help:"The task, by id or name."`
	projectFlag
	Policy  string `placeholder:"NAME" help:"The policy in mode approve. Default: the one that the task can belong to."`
	Hash    string `placeholder:"HASH" help:"Of the policy as it was looked at, as retryd status --format json tells it: another one is refused."`
	Targets int    `default:"0" placeholder:"N" help:"Retry at most this many of its devices; 0 = all."`
	For     span   `default:"7d" placeholder:"7d" help:"How long the approval is valid."`
}

// Validate looks at what kong cannot.
func (c approveCmd) Validate() error {
	switch {
	case c.Targets < 0:
		return errors.New("--targets cannot be less than 0")
	case c.For <= 0:
		return errors.New("--for has to be more than 0: the approval would have ended already")
	}
	return c.handFlags.Validate()
}

// Run approves.
func (c approveCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	body := web.NewApproval{Task: c.Task, Project: c.Project, Policy: c.Policy, PolicyHash: c.Hash, Targets: c.Targets, Until: until(&c.For, moment{}), Why: c.Why, DryRun: true}
	limit := "all of its targets"
	if c.Targets > 0 {
		limit = "at most " + plural(c.Targets, "target")
	}
	var answer web.Approval
	if !c.Yes || c.DryRun {
		if err := h.post("approvals", body, &answer); err != nil {
			return err
		}
		if ok, err := h.sure("approve task %s for policy %s, %s%s, until %s", answer.TaskID, answer.Policy, limit, h.failing(answer), answer.Until.Format(time.RFC3339)); err != nil || !ok {
			return err
		}
		body.PolicyHash = answer.PolicyHash // of what was looked at
	}
	body.DryRun = false
	if err := h.post("approvals", body, &answer); err != nil {
		return err
	}
	printf(a.stdout, "approved: task %s for policy %s, %s, until %s\n", answer.TaskID, answer.Policy, limit, answer.Until.Format(time.RFC3339))
	return nil
}

// failing says how many sub-tasks of the task have failed.
func (h *hand) failing(a web.Approval) string {
	var tasks web.List[web.Task]
	if err := h.api.Get(h.a.ctx, "tasks", url.Values{"task": {a.TaskID}, "project": {a.ProjectID}}, &tasks); err != nil || len(tasks.Items) != 1 {
		return ""
	}
	return fmt.Sprintf(" (%d of its %d sub-tasks have failed)", tasks.Items[0].Fail, tasks.Items[0].Total)
}

type revokeCmd struct {
	handFlags
	Task string `arg:"" help:"The task, by id or name."`
	projectFlag
	Policy string `placeholder:"NAME" help:"The policy in mode approve. Default: the one that it is approved for."`
}

// Run ends the approval.
func (c revokeCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	var tasks web.List[web.Task]
	if err := h.api.Get(h.a.ctx, "tasks", query("task", c.Task, "project", c.Project), &tasks); err != nil {
		return h.refused(err)
	}
	var approvals web.List[web.Approval]
	if err := h.api.Get(h.a.ctx, "approvals", nil, &approvals); err != nil {
		return err
	}
	var of []web.Approval
	for _, row := range approvals.Items {
		if len(tasks.Items) == 1 && row.TaskID == tasks.Items[0].ID && row.ProjectID == tasks.Items[0].ProjectID && (c.Policy == "" || c.Policy == row.Policy) {
			of = append(of, row)
		}
	}
	switch {
	case len(of) == 0 && c.Policy == "":
		return fmt.Errorf("task %s is not approved", shown(c.Task))
	case len(of) == 0:
		return fmt.Errorf("task %s is not approved for policy %s", shown(c.Task), c.Policy)
	case len(of) > 1:
		return errors.New("the task is approved for several policies: name one with --policy")
	}
	if ok, err := h.sure("revoke the approval of task %s for policy %s, by %s: %s", of[0].TaskID, of[0].Policy, shown(of[0].Who), shown(of[0].Why)); err != nil || !ok {
		return err
	}
	var answer web.Approval
	if err := h.delete(fmt.Sprintf("approvals/%d", of[0].ID), url.Values{}, &answer); err != nil {
		return err
	}
	printf(a.stdout, "revoked: task %s for policy %s\n", answer.TaskID, answer.Policy)
	return nil
}

type forgiveCmd struct {
	handFlags
	Task string `arg:"" help:"The task, by id or name."`
	projectFlag
	Devices []string `arg:"" optional:"" name:"device" help:"Devices of the task. Default: all that are given up."`
	Is      string   `placeholder:"END" enum:"exhausted,expired,permanent," default:"" help:"Only those that are exhausted, expired or permanent. What is permanent by a rule of the policy is so again until the rule changes."`
}

// Run forgives.
func (c forgiveCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	body := web.NewForgiveness{Task: c.Task, Project: c.Project, Devices: c.Devices, Is: c.Is, Why: c.Why, DryRun: true}
	var answer web.Forgiven
	if !c.Yes || c.DryRun {
		if err := h.post("forgiveness", body, &answer); err != nil {
			return err
		}
		if answer.Count > 0 {
			if ok, err := h.sure("forgive %s: their attempts count no more, and they are retried from the first on%s%s", plural(answer.Count, "target"), firstOf(answer.Devices, answer.Count), stillGoing(answer.Going)); err != nil || !ok {
				return err
			}
		}
	}
	body.DryRun = false
	if err := h.post("forgiveness", body, &answer); err != nil {
		return err
	}
	for _, left := range answer.Left {
		printf(a.stderr, "%s is left as it is: %s\n", shown(left.DeviceID), left.Detail)
	}
	if answer.Count == 0 {
		return errors.New("no target is forgiven: none is given up, or none of those named can be")
	}
	printf(a.stdout, "forgiven: %s of task %s\n", plural(answer.Count, "target"), shown(c.Task))
	return nil
}

// stillGoing says which of those that were named are not given up: perhaps another was meant.
func stillGoing(devices []string) string {
	if len(devices) == 0 {
		return ""
	}
	return fmt.Sprintf("\nNot given up, and retried without this too: %s.%s", plural(len(devices), "target"), firstOf(devices, len(devices)))
}

// maxShown is how many names a question shows.
const maxShown = 20

// firstOf lists devices, one a line.
func firstOf(devices []string, count int) (text string) {
	for _, device := range devices[:min(len(devices), maxShown)] {
		text += "\n  " + shown(device)
	}
	if more := count - min(len(devices), maxShown); more > 0 {
		text += fmt.Sprintf("\n  … and %d more", more)
	}
	return text
}
