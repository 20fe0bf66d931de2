package scheduler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// connection is one instance of the platform with the policies that apply to it.
type connection struct {
	*Scheduler
	name     string
	client   *iotdaclient.Client
	policies []*policy.Policy // in file order
	log      *zap.Logger
	dry      *overlay // nil = for real

	turn      *semaphore.Weighted // the sweeps take turns wave by wave, first come first served
	listings  *semaphore.Weighted // one at a time lists
	listed    *listing
	observing *semaphore.Weighted // one at a time observes, while others list
	observed  time.Time

	mu     sync.Mutex
	posted map[string]int // retry calls by task, since the start
}

func newConnection(s *Scheduler, client *iotdaclient.Client) *connection {
	c := &connection{
		Scheduler: s, name: client.Name(), client: client,
		log:  s.o.Log.With(zap.String("connection", client.Name())),
		turn: semaphore.NewWeighted(1), listings: semaphore.NewWeighted(1), observing: semaphore.NewWeighted(1),
		posted: map[string]int{},
	}
	for _, p := range s.o.Policies {
		if slices.Contains(p.Connections, c.name) {
			c.policies = append(c.policies, p)
		}
	}
	return c
}

// listing is the tasks of a connection at one moment, the newest id first.
type listing struct {
	begun   time.Time
	tasks   []iotda.Task
	members map[string]members // of those tasks whose row names all of them
}

func (l *listing) task(id string) (iotda.Task, bool) {
	i := slices.IndexFunc(l.tasks, func(t iotda.Task) bool { return t.ID == id })
	if i < 0 {
		return iotda.Task{}, false
	}
	return l.tasks[i], true
}

// list gives the tasks as of a read begun at since or later, one that another sweep has
// made if there is one.
func (c *connection) list(ctx context.Context, since time.Time) (*listing, error) {
	if err := c.listings.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.listings.Release(1)
	if c.listed != nil && !c.listed.begun.Before(since) {
		return c.listed, nil
	}
	l, err := c.readTasks(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		reason := "unknown"
		if e := iotdaclient.AsError(err); e != nil {
			reason = e.Short()
		}
		c.o.Metrics.SetConnection(c.name, reason)
		c.surprise(err)
		return nil, err
	}
	c.o.Metrics.SetConnection(c.name, "")
	c.listed = l
	if c.dry != nil {
		return l, nil
	}
	return l, c.o.Store.SeeTasks(ctx, c.client.ProjectID(), rows(l.tasks))
}

func (c *connection) readTasks(ctx context.Context) (*listing, error) {
	l := &listing{members: map[string]members{}}
	seen := map[string]bool{}
	for _, taskType := range c.types() {
		begun, err := c.client.EachTask(ctx, taskType, func(t iotda.Task) error {
			if t.Type == "" { // it was asked for
				t.Type = taskType
			}
			if seen[t.ID] || !iotda.ValidTaskID(t.ID) || t.Type != taskType {
				return nil
			}
			seen[t.ID] = true
			if n := len(t.Targets); n > 0 && n == t.Progress.Total {
				l.members[t.ID] = newMembers(t.Targets)
			}
			t.Targets = nil
			if !t.Status.Known() {
				c.wonder(surpriseWord, "a task's status is a word that is not known: the task is left alone",
					zap.String("task", t.ID), zap.String("status", iotda.Clip(string(t.Status), 40)))
			}
			l.tasks = append(l.tasks, t)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if l.begun.IsZero() {
			l.begun = begun.Round(0)
		}
	}
	slices.SortFunc(l.tasks, func(a, b iotda.Task) int { return cmp.Compare(b.ID, a.ID) })
	return l, nil
}

func (c *connection) types() (types []iotda.TaskType) {
	for _, taskType := range iotda.RetryableTaskTypes() {
		if slices.ContainsFunc(c.policies, func(p *policy.Policy) bool { return slices.Contains(p.Tasks.Types, taskType) }) {
			types = append(types, taskType)
		}
	}
	return types
}

// refresh lists the tasks and observes the open attempts, unless that has been done
// since already.
func (c *connection) refresh(ctx context.Context, since time.Time) (*listing, error) {
	if err := c.observing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.observing.Release(1)
	l, err := c.list(ctx, since)
	if err != nil {
		return nil, err
	}
	if !c.observed.Before(since) {
		return l, nil
	}
	begun := c.o.Store.Now()
	if err := c.observe(ctx, l); err != nil {
		return nil, err
	}
	c.observed = begun
	return l, nil
}

// observeRegularly observes where no sweep does: outcomes come in whether or not a
// policy still wants anything.
func (c *connection) observeRegularly(ctx context.Context) error {
	for {
		sleep(ctx, observeEvery)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := c.refresh(ctx, c.o.Store.Now().Add(-observeEvery)); err != nil && ctx.Err() == nil {
			c.log.Warn("open attempts could not be observed", zap.Error(err))
		}
	}
}

func (c *connection) countPost(taskID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posted[taskID]++
}

func (c *connection) posts(taskID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posted[taskID]
}

// wonder counts and logs a reply that contradicts what is known of the platform.
func (c *connection) wonder(kind, message string, fields ...zap.Field) {
	c.o.Metrics.Surprises.WithLabelValues(c.name, kind).Inc()
	c.log.Warn(message, append(fields, zap.String("surprise", kind))...)
}

func (c *connection) surprise(err error) {
	if errors.Is(err, iotdaclient.ErrMarker) {
		c.wonder(surpriseMarker, "a list cannot be read to its end", zap.Error(err))
	}
}

func rows(tasks []iotda.Task) []store.Task {
	rows := make([]store.Task, len(tasks))
	for i, t := range tasks {
		rows[i] = store.Task{
			ID: t.ID, Name: iotda.Clip(t.Name, 256), Type: string(t.Type), Status: iotda.Clip(string(t.Status), 40),
			Total: t.Progress.Total, Success: t.Progress.Success, Fail: t.Progress.Fail, CreatedAt: t.Created(),
		}
	}
	return rows
}
