package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// listing is the tasks of a connection at one moment, the newest id first.
type listing struct {
	begun   time.Time // by this process's clock
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
	c.asking.Add(1)
	l, err := c.readTasks(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		c.stands(ctx, downReason(err), err)
		c.surprise(err)
		return nil, err
	}
	c.stands(ctx, c.troubleReason(), nil)
	c.listed = l
	if c.dry != nil {
		return l, nil
	}
	return l, c.ledger().SeeTasks(ctx, c.client.ProjectID(), c.rows(l.tasks))
}

// downReason gives the class of an error, for a metric's label.
func downReason(err error) string {
	if e := iotdaclient.AsError(err); e != nil {
		return e.Short()
	}
	return "unknown"
}

// troubleReason names what keeps a connection that can be read from being retried on.
func (c *connection) troubleReason() string {
	switch {
	case c.clockTrouble() != "":
		return "clock"
	case c.hasVanished():
		return "tasks_vanished"
	}
	return ""
}

// trouble says the same in words, empty if nothing is wrong.
func (c *connection) trouble() string {
	if text := c.clockTrouble(); text != "" {
		return text
	}
	if c.hasVanished() {
		return "tasks_vanished: more than half of the tasks with open attempts cannot be found all at once: check endpoint, instance_id and project_id"
	}
	return ""
}

func (c *connection) readTasks(ctx context.Context) (*listing, error) {
	l := &listing{begun: time.Now(), members: map[string]members{}}
	apps, err := c.appsOfTasks(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, taskType := range c.types() {
		_, err := c.client.EachTask(ctx, taskType, "", func(t iotda.Task) error {
			if c.add(l, seen, taskType, t) {
				last := &l.tasks[len(l.tasks)-1]
				last.AppID, last.AppName = apps[t.ID].ID, apps[t.ID].Name
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	l.sort()
	return l, nil
}

// add takes a row into the list, unless that has it, or it is not what was asked for.
func (c *connection) add(l *listing, seen map[string]bool, taskType iotda.TaskType, t iotda.Task) bool {
	if t.Type == "" { // it was asked for
		t.Type = taskType
	}
	if seen[t.ID] || !iotda.ValidTaskID(t.ID) || t.Type != taskType {
		return false
	}
	seen[t.ID] = true
	if n := len(t.Targets); n > 0 && n == t.Progress.Total {
		l.members[t.ID] = t.Targets
	}
	t.Targets = nil
	if !t.Status.Known() {
		c.wonder(surpriseWord, "a task's status is a word that is not known: the task is left alone",
			zap.String("task", t.ID), zap.String("status", iotda.Clip(string(t.Status), 40)))
	}
	l.tasks = append(l.tasks, t)
	return true
}

func (l *listing) sort() {
	slices.SortFunc(l.tasks, func(a, b iotda.Task) int { return cmp.Compare(b.ID, a.ID) })
}

// errKnown ends the reading of a list whose rest is known.
var errKnown = errors.New("the rest of the list is known")

// catchUp gives the list with the tasks of a type that have come since it was read, and with the
// present statuses of those that it reads beside them. New tasks come first, as lists run by id,
// descending [sdk model_list_batch_tasks_request.go]; a page's worth of known ones in a row ends
// it. So it stays one call where a whole list takes hundreds.
func (c *connection) catchUp(ctx context.Context, old *listing, taskType iotda.TaskType) (*listing, error) {
	l := &listing{begun: time.Now(), members: maps.Clone(old.members)}
	seen, known := map[string]bool{}, 0
	_, err := c.client.EachTask(ctx, taskType, "", func(t iotda.Task) error {
		c.add(l, seen, taskType, t)
		if _, ok := old.task(t.ID); !ok {
			known = 0
		} else if known++; known >= iotda.MaxPageSize {
			return errKnown
		}
		return nil
	})
	if err != nil && !errors.Is(err, errKnown) {
		return nil, err
	}
	for _, t := range old.tasks {
		if !seen[t.ID] {
			l.tasks = append(l.tasks, t)
		}
	}
	l.sort()
	return l, nil
}

func (c *connection) types() (types []iotda.TaskType) {
	for _, taskType := range iotda.RetryableTaskTypes() {
		if slices.ContainsFunc(c.current(), func(p *policy.Policy) bool { return slices.Contains(p.Tasks.Types, taskType) }) {
			types = append(types, taskType)
		}
	}
	return types
}

// appsEvery is how long the names of resource spaces are taken as they were read.
const appsEvery = time.Hour

// appsOfTasks gives the resource space of each task that is in one that a policy names: rows
// do not say, so the tasks of each of these are listed by themselves.
func (c *connection) appsOfTasks(ctx context.Context) (map[string]iotda.App, error) {
	wanted, err := c.wantedApps(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]iotda.App{}
	for _, app := range wanted {
		for _, taskType := range c.types() {
			_, err := c.client.EachTask(ctx, taskType, app.ID, func(t iotda.Task) error {
				found[t.ID] = app
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("tasks of app %s: %w", app.ID, err)
			}
		}
	}
	return found, nil
}

func (c *connection) wantedApps(ctx context.Context) (wanted []iotda.App, err error) {
	var ids, names []string
	for _, p := range c.current() {
		ids, names = append(ids, p.Tasks.Apps...), append(names, p.Tasks.AppNames...)
	}
	if len(names) > 0 && (c.appsRead.IsZero() || time.Since(c.appsRead) > appsEvery) {
		if c.apps, err = c.client.Apps(ctx); err != nil {
			return nil, err
		}
		c.appsRead = time.Now()
		for _, name := range names {
			if !slices.ContainsFunc(c.apps, func(a iotda.App) bool { return a.Name == name }) {
				c.log.Warn("there is no resource space of this name: tasks.app_names selects nothing by it", zap.String("app_name", name))
			}
		}
	}
	for _, app := range c.apps {
		if slices.Contains(names, app.Name) || slices.Contains(ids, app.ID) {
			wanted = append(wanted, app)
		}
	}
	for _, id := range ids {
		if !slices.ContainsFunc(wanted, func(a iotda.App) bool { return a.ID == id }) {
			wanted = append(wanted, iotda.App{ID: id})
		}
	}
	return wanted, nil
}

func (c *connection) rows(tasks []iotda.Task) []store.Task {
	rows := make([]store.Task, len(tasks))
	for i, t := range tasks {
		rows[i] = store.Task{
			ID: t.ID, Name: iotda.Clip(t.Name, 256), Type: string(t.Type), Status: iotda.Clip(string(t.Status), 40),
			Total: t.Progress.Total, Success: t.Progress.Success, Fail: t.Progress.Fail, CreatedAt: t.Created(),
			Identity: c.identity, AppID: t.AppID, AppName: iotda.Clip(t.AppName, 256),
		}
	}
	return rows
}
