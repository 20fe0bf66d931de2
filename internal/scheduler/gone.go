package scheduler

import (
	"context"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

const (
	// goneAfter is how long after the first 404 of a task the second has to come.
	goneAfter = 10 * time.Minute
	// vanishedFor is how long it is not believed that most tasks have gone at once: a wrong
	// endpoint or project shows itself before.
	vanishedFor = 24 * time.Hour
	// forgottenAfter is how long a task has not been listed when it is asked for by itself.
	forgottenAfter = 24 * time.Hour
	// forgottenAtOnce bounds how many are asked for in one round.
	forgottenAtOnce = 3
)

// missing collects what one round of observing shows about tasks that cannot be found.
type missing struct {
	*connection
	known  map[string]store.KnownTask
	listed *listing
	lost   []string        // coded 404 in this round
	idle   map[string]bool // those of them without open attempts
	found  []string        // read in this round, and missing before
	read   bool            // another task was read
}

// note takes what reading a task came to. read tells whether anything of it was.
func (m *missing) note(taskID string, err error, read bool) {
	e := iotdaclient.AsError(err)
	switch {
	case e != nil && e.Gone():
		m.lost = append(m.lost, taskID)
	case err == nil && read:
		m.read = true
		if !m.known[taskID].MissingSince.IsZero() {
			m.found = append(m.found, taskID)
		}
	}
}

// settle closes the attempts of tasks that have gone: two coded 404s, 10 minutes apart, while
// another known task was found. open is how many tasks have open attempts.
func (m *missing) settle(ctx context.Context, open int) error {
	if m.dry == nil {
		m.askForForgotten(ctx)
		if err := m.ledger().MissTasks(ctx, m.client.ProjectID(), m.lost, m.found); err != nil {
			return err
		}
	}
	now := m.o.Store.Now()
	var gone []string
	working := 0 // with open attempts
	longest := time.Duration(0)
	for _, id := range m.lost {
		since := m.known[id].MissingSince
		if since.IsZero() || now.Sub(since) < goneAfter {
			continue
		}
		gone = append(gone, id)
		if !m.idle[id] {
			working++
			longest = max(longest, now.Sub(since))
		}
	}
	read := m.read
	for _, t := range m.listed.tasks { // what is listed is there
		_, known := m.known[t.ID]
		read = read || known
	}
	vanished := working > 1 && 2*working > open && longest < vanishedFor
	m.setVanished(ctx, vanished)
	if vanished || !read || m.dry != nil {
		return nil
	}
	for _, id := range gone {
		if err := m.bury(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// bury closes what is open of a task that has gone.
func (m *missing) bury(ctx context.Context, taskID string) error {
	attempts, err := m.ledger().OpenAttempts(ctx, m.client.ProjectID(), taskID)
	if err != nil {
		return err
	}
	var settlements []policy.Settlement
	for _, a := range attempts {
		s := policy.Settlement{Attempt: a, At: m.o.Store.Now(), Detail: "the task does not exist any more"}
		s.State = policy.Gone
		settlements = append(settlements, s)
	}
	w := newWatch(m.connection, nil)
	w.task.ID, w.task.Name = taskID, m.known[taskID].Name
	if err := w.settle(ctx, settlements); err != nil {
		return err
	}
	m.log.Info("a task is gone", zap.String("task", taskID), zap.String("task_name", w.task.Name), zap.Int("open_attempts", len(attempts)))
	return m.ledger().TaskGone(ctx, m.client.ProjectID(), taskID)
}

// askForForgotten reads tasks without open attempts that have not been listed for a day, so
// that what the ledger keeps of a task goes some time after the task has.
func (m *missing) askForForgotten(ctx context.Context) {
	asked := 0
	for id, k := range m.known {
		if asked == forgottenAtOnce || m.o.Store.Now().Sub(k.LastSeen) < forgottenAfter {
			continue
		}
		if _, listed := m.listed.task(id); listed {
			continue
		}
		if attempts, err := m.ledger().OpenAttempts(ctx, m.client.ProjectID(), id); err != nil || len(attempts) > 0 {
			continue
		}
		asked++
		m.idle[id] = true
		_, err := m.client.Subtasks(ctx, id, iotdaclient.Query{}, "", 0)
		if m.note(id, err, err == nil); err == nil {
			m.found = append(m.found, id) // it is there, whatever lists it
		}
	}
}

func (c *connection) hasVanished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vanished
}

func (c *connection) setVanished(ctx context.Context, vanished bool) {
	c.mu.Lock()
	before := c.vanished
	c.vanished = vanished
	c.mu.Unlock()
	if before == vanished {
		return
	}
	if vanished {
		c.log.Error("connection down", zap.String("reason", "tasks_vanished"), zap.String("why", c.trouble()))
	}
	c.stands(ctx, c.troubleReason(), nil)
}
