package scheduler

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/store"
)

// What looking for successes elsewhere may take. It changes nothing that is retried, so it is
// content with a thousandth of a budget of 5 calls/s for each task whose successes rise: of an
// hour's 18,000 calls, 20. Up to some 900 failed targets are seen within the hour, as pages of
// the failed ones leave few to ask for; of 30,000 it sees 480 a day. The ledger knows with how
// many successes a pass has ended, over restarts.
const (
	elsewhereEvery = time.Hour // for each task
	elsewhereCalls = 20        // of one round, for each task; not more than it has targets to look at
	elsewhereRound = 40        // calls of one round, for all tasks of a connection
	elsewhereRows  = 1000      // targets that are read from the ledger at once
)

// elsewhere is how far the targets of a task have been looked at: pass by pass in the order of
// their ids, each over many rounds where there are many.
type elsewhere struct {
	begun   time.Time // of the last round
	after   string    // device that it ended with; empty = so has the pass
	success int       // of the task when the pass began
}

// due tells whether there may be something to find. If all that may have changed were resolved,
// the task would show that many more successes.
func (e elsewhere) due(t iotda.Task) bool {
	return (e.after != "" || e.success != t.Progress.Success) && (e.begun.IsZero() || time.Since(e.begun) >= elsewhereEvery)
}

// lookElsewhere looks for targets that failed after their last attempt and have succeeded
// since without one: a person pressed "retry", or the device upgraded by other means. They
// are never counted as recovered.
func (c *connection) lookElsewhere(ctx context.Context, l *listing, known map[string]store.KnownTask) error {
	if c.dry != nil {
		return nil
	}
	var row failures
	left := elsewhereRound
	for _, t := range c.inTurnElsewhere(l, known) {
		if left == 0 {
			return nil // the others are first in the next round
		}
		pass := c.elsewhere[t.ID]
		pass.begun = time.Now()
		c.elsewhere[t.ID] = pass // where it fails, too
		err := c.lookOn(ctx, t, pass, &left)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.log.Warn("a task's failed targets could not be read again", zap.String("task", t.ID), zap.Error(err))
		}
		if row.stop(err) {
			return err
		}
	}
	return nil
}

// inTurnElsewhere gives the tasks that are due, those first that were not looked at for the longest time.
func (c *connection) inTurnElsewhere(l *listing, known map[string]store.KnownTask) (due []iotda.Task) {
	for _, t := range l.tasks {
		if _, ok := c.elsewhere[t.ID]; !ok {
			c.elsewhere[t.ID] = elsewhere{success: known[t.ID].Looked}
		}
		if t.Progress.Success > 0 && c.elsewhere[t.ID].due(t) {
			due = append(due, t)
		}
	}
	slices.SortStableFunc(due, func(a, b iotda.Task) int { return c.elsewhere[a.ID].begun.Compare(c.elsewhere[b.ID].begun) })
	return due
}

// lookOn is one round in a task, with so many calls left for all tasks. A task that has succeeded as a whole takes no calls: its pass
// is ended.
func (c *connection) lookOn(ctx context.Context, t iotda.Task, pass elsewhere, left *int) error {
	if pass.after == "" {
		pass.success = t.Progress.Success
	}
	all := t.Status == iotda.TaskSuccess && t.Progress.Success == t.Progress.Total
	for {
		targets, err := c.ledger().Unresolved(ctx, c.client.ProjectID(), t.ID, pass.after, elsewhereRows)
		if err != nil {
			return err
		}
		resolved, looked := targets, len(targets)
		if !all {
			if resolved, looked, err = c.resolved(ctx, t, targets, left); err != nil {
				return err
			}
		}
		if err := c.resolve(ctx, t, resolved); err != nil {
			return err
		}
		pass.after = ""
		if looked < len(targets) || looked == elsewhereRows {
			pass.after = targets[looked-1].DeviceID
		}
		c.elsewhere[t.ID] = pass
		if pass.after == "" {
			return c.ledger().SeeLooked(ctx, c.client.ProjectID(), t.ID, pass.success)
		}
		if !all {
			return nil
		}
	}
}

// resolve closes targets that somebody else has resolved.
func (c *connection) resolve(ctx context.Context, t iotda.Task, resolved []store.Unresolved) error {
	closed, err := c.ledger().ResolvedElsewhere(ctx, c.client.ProjectID(), t.ID, resolved)
	if err != nil {
		return err
	}
	for _, u := range closed {
		name := c.policyNow(u.Policy, t)
		c.o.Metrics.Closed.WithLabelValues(c.name, name, u.TaskType, resolvedElsewhere).Inc()
		c.log.Info("target resolved elsewhere", zap.String("policy", name), zap.String("task", t.ID), zap.String("device", u.DeviceID))
	}
	return nil
}

// resolved gives those of the targets that read Success. It has looked at the first looked of
// them, and takes its calls from those that are left for all tasks.
func (c *connection) resolved(ctx context.Context, t iotda.Task, targets []store.Unresolved, left *int) (resolved []store.Unresolved, looked int, err error) {
	calls := min(len(targets), elsewhereCalls, *left)
	*left -= calls
	defer func() { *left += max(calls, 0) }() // that were not needed
	failed := map[string]bool{}               // those need not be asked for
	if n := pages(t.Progress.Fail) + 1; n < calls {
		calls -= n
		if err := c.readFailed(ctx, t, failed, n); err != nil {
			return nil, 0, err
		}
	}
	for ; looked < len(targets); looked++ {
		u := targets[looked]
		if failed[u.DeviceID] {
			continue
		}
		if calls--; calls < 0 {
			break
		}
		page, err := c.client.Subtasks(ctx, t.ID, iotdaclient.Query{Target: u.DeviceID}, "", 0)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range page.Subtasks {
			if s.Target == u.DeviceID && s.Status == iotda.SubtaskSuccess {
				resolved = append(resolved, u)
			}
		}
	}
	return resolved, looked, nil
}

// readFailed reads failed targets of a task, up to so many pages.
func (c *connection) readFailed(ctx context.Context, t iotda.Task, failed map[string]bool, pages int) error {
	for from := (iotdaclient.From{Rows: t.Progress.Fail}); pages > 0; {
		n := min(pages, c.client.WavePages())
		wave, err := c.client.Wave(ctx, t.ID, iotdaclient.Query{Status: iotda.SubtaskFail}, from, n)
		if err != nil {
			return err
		}
		for _, s := range wave.Subtasks {
			failed[s.Target] = true
		}
		if wave.End {
			return nil
		}
		from, pages = iotdaclient.From{Marker: wave.Next, Rows: wave.Left}, pages-n
	}
	return nil
}
