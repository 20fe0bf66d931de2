package scheduler

import (
	"context"
	"slices"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// tellOpen tells of each attempt that waits for its outcome, and still would after what this dry run has
// read: a target that is in motion is not read as failed, and would be told of nowhere.
func (s *Scheduler) tellOpen(ctx context.Context, names []string) error {
	for _, c := range s.all() {
		known, err := c.knownTasks(ctx)
		if err != nil {
			return err
		}
		tasks, err := c.ledger().OpenTasks(ctx, c.client.ProjectID())
		if err != nil {
			return err
		}
		for _, open := range tasks {
			if c.foreign(open.Identity) {
				continue
			}
			attempts, err := c.ledger().OpenAttempts(ctx, c.client.ProjectID(), open.ID)
			if err != nil {
				return err
			}
			k := known[open.ID]
			t := iotda.Task{ID: open.ID, Name: k.Name, Type: iotda.TaskType(open.TaskType), AppID: k.AppID, AppName: k.AppName}
			for _, a := range attempts {
				if name := c.policyNow(a.Policy, t); len(names) == 0 || slices.Contains(names, name) {
					c.tellAttempt(name, t, a)
				}
			}
		}
	}
	return nil
}

func (c *connection) tellAttempt(policyName string, t iotda.Task, a policy.Attempt) {
	if !c.dry.stillOpen(a.Target) {
		return
	}
	r := policy.Record{OpenTask: t.ID, OpenN: a.N, OpenSince: a.ClaimedAt}
	c.o.Watch(Event{Kind: Open, Connection: c.name, Policy: policyName, TaskID: t.ID, TaskName: t.Name, DeviceID: a.DeviceID,
		Verdict: r.InFlight(t.ID), State: a.State, Attempt: a.N, Since: a.ClaimedAt})
}
