package scheduler

import (
	"cmp"
	"context"
	"slices"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/store"
)

// elsewhereAtOnce bounds how many targets of a task are read one by one in a round to see
// whether somebody else has resolved them.
const elsewhereAtOnce = 20

// lookElsewhere looks for targets that failed after their last attempt and have succeeded
// since without one: a person pressed "retry", or the device upgraded by other means. They
// are never counted as recovered.
func (c *connection) lookElsewhere(ctx context.Context, l *listing) error {
	if c.dry != nil {
		return nil
	}
	unresolved, err := c.o.Store.Unresolved(ctx, c.client.ProjectID())
	if err != nil {
		return err
	}
	var row failures
	for taskID, targets := range unresolved {
		t, ok := l.task(taskID)
		// If all that may have changed were resolved, the task would show that many more successes.
		if !ok || t.Progress.Success == 0 || c.successesSeen(taskID) == t.Progress.Success {
			continue
		}
		resolved, whole, err := c.resolved(ctx, t, targets)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.log.Warn("a task's failed targets could not be read again", zap.String("task", taskID), zap.Error(err))
			if row.stop(err) {
				return err
			}
			continue
		}
		closed, err := c.o.Store.ResolvedElsewhere(ctx, c.client.ProjectID(), taskID, resolved)
		if err != nil {
			return err
		}
		for _, u := range closed {
			name := c.policyNow(u.Policy, t)
			c.o.Metrics.Closed.WithLabelValues(c.name, name, u.TaskType, resolvedElsewhere).Inc()
			c.log.Info("target resolved elsewhere", zap.String("policy", name), zap.String("task", taskID), zap.String("device", u.DeviceID))
		}
		if whole {
			c.seeSuccesses(taskID, t.Progress.Success)
		}
	}
	return nil
}

func (c *connection) successesSeen(taskID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.successes[taskID]
}

func (c *connection) seeSuccesses(taskID string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.successes[taskID] = n
}

// resolved gives those of the targets that read Success. whole tells whether all were read.
func (c *connection) resolved(ctx context.Context, t iotda.Task, targets []store.Unresolved) (resolved []store.Unresolved, whole bool, err error) {
	if t.Status == iotda.TaskSuccess && t.Progress.Success == t.Progress.Total {
		return targets, true, nil
	}
	rest := targets
	if p := t.Progress; pages(p.Fail) < len(targets) { // those that read Fail need not be asked for
		failed := map[string]bool{}
		if err := c.eachFailed(ctx, t.ID, failed); err != nil {
			return nil, false, err
		}
		rest = slices.DeleteFunc(slices.Clone(targets), func(u store.Unresolved) bool { return failed[u.DeviceID] })
	}
	whole = len(rest) <= elsewhereAtOnce
	for _, u := range c.nextElsewhere(t.ID, rest) {
		page, err := c.client.Subtasks(ctx, t.ID, iotdaclient.Query{Target: u.DeviceID}, "", 0)
		if err != nil {
			return nil, false, err
		}
		for _, s := range page.Subtasks {
			if s.Target == u.DeviceID && s.Status == iotda.SubtaskSuccess {
				resolved = append(resolved, u)
			}
		}
	}
	return resolved, whole, nil
}

// nextElsewhere gives those whose turn it is: each round goes on where the one before ended.
func (c *connection) nextElsewhere(taskID string, rest []store.Unresolved) []store.Unresolved {
	slices.SortFunc(rest, func(a, b store.Unresolved) int { return cmp.Compare(a.DeviceID, b.DeviceID) })
	c.mu.Lock()
	defer c.mu.Unlock()
	from := max(0, slices.IndexFunc(rest, func(u store.Unresolved) bool { return u.DeviceID > c.lookedAt[taskID] }))
	turn := slices.Concat(rest[from:], rest[:from])[:min(len(rest), elsewhereAtOnce)]
	if len(turn) > 0 {
		c.lookedAt[taskID] = turn[len(turn)-1].DeviceID
	}
	return turn
}

func (c *connection) eachFailed(ctx context.Context, taskID string, failed map[string]bool) error {
	for marker := ""; ; {
		wave, err := c.client.Wave(ctx, taskID, iotdaclient.Query{Status: iotda.SubtaskFail}, marker, c.client.WavePages())
		if err != nil {
			return err
		}
		for _, s := range wave.Subtasks {
			failed[s.Target] = true
		}
		if wave.End {
			return nil
		}
		marker = wave.Next
	}
}
