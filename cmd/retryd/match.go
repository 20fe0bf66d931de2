package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// triedPolicy is what a policy finds on a connection.
type triedPolicy struct {
	Name     string `json:"name"`
	Matching int    `json:"matching"` // tasks that a sweep would look into now
	Looked   int    `json:"looked_at"`
	Tasks    int64  `json:"tasks"` // of its types
	Why      string `json:"why,omitempty"`
}

// match holds the newest tasks against each policy.
func (t *trial) match(ctx context.Context) error {
	known, err := t.h.store.KnownTasks(ctx, t.c.ProjectID)
	if err != nil {
		return err
	}
	for _, p := range t.own() {
		m, err := t.matching(ctx, p, known)
		if err != nil {
			return err
		}
		t.Policies = append(t.Policies, m)
	}
	return nil
}

// misses are the reasons for which a task is none of a policy's, the nearest miss last.
var misses = []policy.Reason{policy.OtherPolicy, policy.TaskStatus, policy.TaskAge, policy.Backlog}

func (t *trial) matching(ctx context.Context, p *policy.Policy, known map[string]store.KnownTask) (m triedPolicy, err error) {
	m.Name = p.Name
	for _, typ := range p.Tasks.Types {
		m.Tasks += t.total[typ]
	}
	firstSeen, err := t.h.store.FirstSeen(ctx, p.Name, t.Connection)
	if err != nil {
		return m, err
	}
	looked := slices.DeleteFunc(slices.Clone(t.tasks), func(task iotda.Task) bool { return !slices.Contains(p.Tasks.Types, task.Type) })
	m.Looked = len(looked)
	missed := map[policy.Reason][]iotda.Task{}
	for _, task := range looked {
		if !p.Owns(t.Connection, task) {
			continue
		}
		f := policy.TaskFacts{Task: task, Owner: policy.Owner(t.own(), t.Connection, task), FirstSeen: firstSeen, Attempted: known[task.ID].Attempted}
		if reason := p.DecideTask(f, t.h.store.Now()).Reason; slices.Contains(misses, reason) {
			missed[reason] = append(missed[reason], task)
		} else {
			m.Matching++
		}
	}
	if m.Matching == 0 {
		m.Why = t.miss(p, looked, missed)
	}
	return m, nil
}

// miss says why a policy matches nothing, by what came nearest.
func (t *trial) miss(p *policy.Policy, looked []iotda.Task, missed map[policy.Reason][]iotda.Task) string {
	if len(looked) == 0 {
		return "there are none of its types: is it the right project, and the right instance?"
	}
	for _, reason := range slices.Backward(misses) {
		near := missed[reason]
		if len(near) == 0 {
			continue
		}
		switch reason {
		case policy.Backlog:
			return fmt.Sprintf("%s from before this policy was first seen: name them, or say tasks.backlog: true, to take them on", are(near))
		case policy.TaskAge:
			return fmt.Sprintf("%s older than tasks.max_age of %s; the newest was made %s", are(near), policy.Short(p.Tasks.MaxAge), made(near))
		case policy.TaskStatus:
			return fmt.Sprintf("%s in no status that is retried: %s", are(near), statuses(near))
		case policy.OtherPolicy:
			return fmt.Sprintf("%s taken by policy %s, which is before it in the file", are(near), policy.Owner(t.own(), t.Connection, near[0]).Name)
		}
	}
	return t.unfit(p.Tasks, looked)
}

func are(tasks []iotda.Task) string {
	if len(tasks) == 1 {
		return "1 that fits is"
	}
	return fmt.Sprintf("%d that fit are", len(tasks))
}

// made gives when the newest of some tasks was made.
func made(tasks []iotda.Task) string {
	newest := slices.MaxFunc(tasks, func(a, b iotda.Task) int { return a.Created().Compare(b.Created()) }).Created()
	if newest.IsZero() {
		return "at a time that cannot be read"
	}
	return stamp(newest)
}

// statuses counts tasks by their status.
func statuses(tasks []iotda.Task) string {
	n := map[string]int{}
	for _, task := range tasks {
		n[iotda.Clip(string(task.Status), 40)]++
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[status], shown(status)))
	}
	return strings.Join(parts, ", ")
}

// unfit says which of the rules that name tasks keeps all of them out.
func (t *trial) unfit(r policy.TaskRules, looked []iotda.Task) string {
	names := func(task iotda.Task) bool {
		return len(r.Names) == 0 || slices.ContainsFunc(r.Names, func(re *regexp.Regexp) bool { return re.MatchString(task.Name) })
	}
	ids := func(task iotda.Task) bool { return len(r.IDs) == 0 || slices.Contains(r.IDs, task.ID) }
	apps := func(task iotda.Task) bool {
		return len(r.Apps)+len(r.AppNames) == 0 || slices.Contains(r.Apps, task.AppID) || task.AppName != "" && slices.Contains(r.AppNames, task.AppName)
	}
	switch {
	case !slices.ContainsFunc(looked, ids):
		return "tasks.ids names none of these"
	case !slices.ContainsFunc(looked, names):
		return "tasks.names fits none of these: " + some(looked, func(task iotda.Task) string { return task.Name })
	case !slices.ContainsFunc(looked, apps) && t.noSuchApp(r):
		return "there is no resource space of the name in tasks.app_names: there are " + some(t.apps, func(a iotda.App) string { return a.Name })
	case !slices.ContainsFunc(looked, apps):
		return "none of these is in the resource spaces of tasks.apps and tasks.app_names"
	}
	return "none of these fits tasks.names, ids, apps and app_names together"
}

func (t *trial) noSuchApp(r policy.TaskRules) bool {
	return len(r.Apps) == 0 && !slices.ContainsFunc(t.apps, func(a iotda.App) bool { return slices.Contains(r.AppNames, a.Name) })
}

// some names a few of them, each name once.
func some[T any](all []T, name func(T) string) string {
	const few = 3
	var names []string
	for _, one := range all {
		if quoted := strconv.Quote(iotda.Clip(name(one), 60)); !slices.Contains(names, quoted) {
			names = append(names, quoted)
		}
	}
	if more := len(names) - few; more > 0 {
		names = append(names[:few], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
