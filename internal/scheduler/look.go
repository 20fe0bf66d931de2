package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/store"
)

// Seen is a device in a task as the platform shows it.
type Seen struct {
	Connection string
	At         time.Time      // start of the read, on the ledger's clock
	Task       iotda.Task     // name and create_time as the platform gives them
	Subtask    *iotda.Subtask // nil = the task does not have the device
}

// ErrNoTask is in the chain of the error of a look at a task that the platform does not know.
var ErrNoTask = errors.New("the platform does not know the task")

// lookFor is how long a look may take.
const lookFor = 10 * time.Second

// ErrNotAsked is in the chain of the error of a look for which the platform was not asked.
var ErrNotAsked = errors.New("the platform was not asked")

// Look reads a device's sub-task, and its task, of the platform: one call [sdk
// model_show_batch_task_request.go: target], at the rate of the connection's budget. It writes
// nothing. A connection that is down is not asked: whoever drives it finds out when it is up
// again, and a refused call more might lock its key.
func (s *Scheduler) Look(ctx context.Context, projectID, taskID, deviceID string) (Seen, error) {
	c, err := s.lister(ctx, projectID, taskID)
	if err != nil {
		return Seen{}, err
	}
	if err := c.askable(ctx); err != nil {
		return Seen{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	page, err := c.client.Subtasks(ctx, taskID, iotdaclient.Query{Target: deviceID}, "", 0)
	if e := iotdaclient.AsError(err); e != nil && e.Gone() {
		return Seen{}, fmt.Errorf("task %s: %w", taskID, ErrNoTask)
	}
	if err != nil {
		return Seen{}, err
	}
	seen := Seen{Connection: c.name, At: c.when(page.Begun), Task: page.Task}
	seen.Task.Targets = nil
	i := slices.IndexFunc(page.Subtasks, func(t iotda.Subtask) bool { return t.Target == deviceID })
	if i >= 0 {
		seen.Subtask = &page.Subtasks[i]
	}
	return seen, nil
}

// lister gives the connection of a task: of several with its project, the one that lists it.
func (s *Scheduler) lister(ctx context.Context, projectID, taskID string) (*connection, error) {
	own := slices.DeleteFunc(s.all(), func(c *connection) bool { return c.client.ProjectID() != projectID })
	if len(own) == 0 {
		return nil, fmt.Errorf("no connection of the configuration has project %s: %w", projectID, ErrNotAsked)
	}
	if len(own) == 1 {
		return own[0], nil
	}
	known, err := s.o.Store.KnownTasks(ctx, projectID)
	if err != nil {
		return nil, err
	}
	for _, c := range own {
		if c.identity == known[taskID].Identity {
			return c, nil
		}
	}
	return own[0], nil
}

// askable says why the connection is not to be asked, nil if it may be.
func (c *connection) askable(ctx context.Context) error {
	rows, err := c.o.Store.Connections(ctx)
	if err != nil {
		return err
	}
	row := rows[c.identity]
	if row.Reason == "" || row.Reason == "clock" || row.Reason == "tasks_vanished" { // it answers
		return nil
	}
	return fmt.Errorf("connection %q is down (%s): %w", c.name, row.Reason, ErrNotAsked)
}

// LeftAlone tells whether the platform has refused the retries of a task as a whole, and the task
// stands as it did then: sweeps leave it alone until it changes.
func LeftAlone(k store.KnownTask, t iotda.Task) bool {
	return k.Refusals >= maxRefusals && k.RefusedAs == standing(t)
}
