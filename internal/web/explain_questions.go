package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// questions are the tasks in which a device may be, with what is known of it in each.
type questions struct {
	known
	device        string
	project, task string // that is asked about; empty = all
	tasks         []*question
	trouble       string // why it was not asked about all of them
}

// question is one of them.
type question struct {
	store.TaskRow
	wanted bool             // it is asked about, or the ledger knows the device in it
	target *store.TargetRow // nil = the ledger does not know it
	seen   *scheduler.Seen  // nil = the platform has not shown it
	gone   bool             // the platform does not know the task
	at     time.Time        // when it was asked
}

// has tells whether the device is in the task, as far as that is known.
func (q *question) has() bool {
	return q.seen != nil && q.seen.Subtask != nil || q.target != nil
}

// asOf is when it was looked at.
func (q *question) asOf() time.Time {
	switch {
	case q.seen != nil || q.gone:
		return q.at
	case q.CountedAt.IsZero():
		return q.LastSeen
	}
	return q.CountedAt
}

func (s *server) questions(ctx context.Context, device, task string) (*questions, error) {
	q := &questions{device: device}
	var err error
	if q.known, err = s.known(ctx); err != nil {
		return nil, err
	}
	if task != "" {
		found, err := s.oneTask(ctx, task)
		if err != nil {
			return nil, err
		}
		q.project, q.task = found.ProjectID, found.ID
	}
	rows, _, err := s.Store.ListTargets(ctx, store.TargetFilter{DeviceID: device, ProjectID: q.project}, store.Page{Limit: pageRowsMax})
	if err != nil {
		return nil, err
	}
	tasks, err := s.allTasks(ctx)
	if err != nil {
		return nil, err
	}
	q.choose(tasks, rows)
	return q, nil
}

// choose gives the tasks to look at, the newest first: those that are wanted, and those that may
// have the device too. Of these, newer ones take a target over from the wanted.
func (q *questions) choose(tasks []store.TaskRow, targets []store.TargetRow) {
	var all, wanted []*question
	for _, t := range tasks {
		one := &question{TaskRow: t}
		if i := slices.IndexFunc(targets, func(row store.TargetRow) bool { return row.ProjectID == t.ProjectID && row.TaskID == t.ID }); i >= 0 {
			one.target = &targets[i]
		}
		one.wanted = q.task == "" && one.target != nil || t.ProjectID == q.project && t.ID == q.task
		if all = append(all, one); one.wanted {
			wanted = append(wanted, one)
		}
	}
	q.tasks = slices.DeleteFunc(all, func(one *question) bool { return !one.wanted && !q.mayHave(one.TaskRow, wanted) })
	slices.SortFunc(q.tasks, func(a, b *question) int { return compareAge(b.TaskRow, a.TaskRow) })
}

// mayHave tells whether it is worth to look for the device in a task.
func (q *questions) mayHave(t store.TaskRow, wanted []*question) bool {
	if slices.ContainsFunc(wanted, func(one *question) bool { return newerThan(t, one.TaskRow) }) {
		return true
	}
	elsewhere := len(wanted) > 0 && !slices.ContainsFunc(wanted, func(one *question) bool { return one.ProjectID == t.ProjectID }) // a device is in one project
	return q.task == "" && t.Fail > 0 && !elsewhere && iotda.TaskStatus(t.Status) != iotda.TaskStopped
}

func compareAge(a, b store.TaskRow) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// newerThan tells whether a task may have taken over targets of another.
func newerThan(t, other store.TaskRow) bool {
	return t.ProjectID == other.ProjectID && t.Type == other.Type && iotda.TaskStatus(t.Status) != iotda.TaskStopped && platformTask(t).NewerThan(platformTask(other))
}

// target is the device in one of the tasks.
func (q *questions) target(one *question) policy.Target {
	return policy.Target{ProjectID: one.ProjectID, TaskID: one.ID, DeviceID: q.device}
}

// look asks the platform, unless that is being asked for others. What one connection does not
// answer is not asked of it again.
func (s *server) look(ctx context.Context, q *questions) {
	if s.Scheduler == nil {
		q.trouble = "no part of this retryd reads the platform"
		return
	}
	turns := slices.SortedStableFunc(slices.Values(q.tasks), func(a, b *question) int { return cmp.Compare(rank(a), rank(b)) })
	turns = slices.DeleteFunc(turns, func(one *question) bool { return s.looks.recall(q, one) })
	if len(turns) == 0 {
		return
	}
	if !s.looks.turn.TryAcquire(1) {
		q.trouble = "the platform is being asked for others: this is what the ledger knows"
		return
	}
	defer s.looks.turn.Release(1)
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	silent, looked := map[string]bool{}, 0
	for _, one := range turns {
		if silent[one.Identity] {
			continue
		}
		if looked == lookMost {
			q.trouble = "more tasks may have the device than are looked at for one answer: name the task"
			return
		}
		looked++
		if err := s.looks.look(ctx, s.Scheduler, q, one); err != nil {
			silent[one.Identity] = true
			q.trouble = err.Error()
		}
	}
}

// rank puts what is asked about first.
func rank(q *question) int {
	if q.wanted {
		return 0
	}
	return 1
}

// asked are the tasks that the answer is about, the newest first.
func (q *questions) asked() []*question {
	return slices.DeleteFunc(slices.Clone(q.tasks), func(one *question) bool { return !one.has() || q.task != "" && !one.wanted })
}

// liveness says whether the answer is as of now, and why not.
func (q *questions) liveness() (asOf time.Time, live bool, why string) {
	live = true
	for _, one := range q.asked() {
		if at := one.asOf(); asOf.IsZero() || at.Before(asOf) {
			asOf = at
		}
		live = live && (one.seen != nil || one.gone)
	}
	switch {
	case asOf.IsZero(): // it is in no task
		return q.now, q.trouble == "", q.trouble
	case live:
		return asOf, true, ""
	}
	return asOf, false, q.trouble
}

// newer gives the newest task that has taken the device over from another, and whether one may
// have that was not looked at.
func (q *questions) newer(than *question) (id string, unknown bool) {
	for _, one := range q.tasks {
		switch {
		case !newerThan(one.TaskRow, than.TaskRow):
		case one.has():
			return one.ID, false
		case one.seen == nil && !one.gone:
			unknown = true
		}
	}
	return "", unknown
}

// nothing is the answer about a device of which nothing is known.
func (q *questions) nothing() *Problem {
	where := "in any task that has failed sub-tasks"
	if q.task != "" {
		where = "in task " + q.task
	}
	if q.trouble != "" {
		return refusal(http.StatusNotFound, "the ledger does not know device %q %s, and the platform was not read: %s", q.device, where, q.trouble)
	}
	return refusal(http.StatusNotFound, "device %q is not %s", q.device, where)
}
