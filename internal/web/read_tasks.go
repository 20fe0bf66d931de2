package web

import (
	"context"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

func (s *server) tasks(ctx context.Context, f store.TaskFilter, p store.Page) (List[Task], error) {
	rows, next, err := s.Store.ListTasks(ctx, f, p)
	if err != nil {
		return List[Task]{}, err
	}
	k, err := s.known(ctx)
	if err != nil {
		return List[Task]{}, err
	}
	answer := List[Task]{make([]Task, len(rows)), next}
	for i, row := range rows {
		answer.Items[i] = k.task(row)
		if answer.Items[i].ETA, err = s.eta(ctx, k, row, answer.Items[i]); err != nil {
			return List[Task]{}, err
		}
	}
	return answer, nil
}

// task gives a task without its ETA.
func (k known) task(t store.TaskRow) Task {
	task := Task{
		ID: t.ID, Name: t.Name, ProjectID: t.ProjectID, App: t.AppName, Type: t.Type, Status: t.Status, Policy: t.Policy, Connection: t.Connection,
		Created: moment(t.CreatedAt), Seen: t.LastSeen, Gone: moment(t.GoneAt), Total: t.Total, Success: t.Success, Fail: t.Fail, Open: t.Open,
		Counted: moment(t.CountedAt), Targets: t.Counts, Perhaps: t.Detail == policy.Perhaps, Capped: t.Limits, Ended: t.Ended,
	}
	if task.App == "" {
		task.App = t.AppID
	}
	if !finished(t) {
		v := k.holding(t)
		task.Held, task.HeldBy = string(v.Reason), v.Detail
	}
	return task
}

func (s *server) eta(ctx context.Context, k known, t store.TaskRow, held Task) (ETA, error) {
	f := forecast{
		status: iotda.TaskStatus(t.Status), gone: !t.GoneAt.IsZero(),
		progress: store.Progress{At: k.now, Total: t.Total, Success: t.Success, Fail: t.Fail},
	}
	if held.Held != "" && held.Held != string(policy.OutsideWindow) { // windows are in the rate of a day already
		f.held = plainly(held.Held) + " (" + held.HeldBy + ")"
	}
	f.givenUp, f.alone, _ = notToCome(held)
	var err error
	f.past, err = s.Store.TaskProgress(ctx, t.ProjectID, t.ID, k.now.Add(-etaOver))
	return f.eta(k.now), err
}

// lostOf is how many targets are given up, of those that have come to each end.
func lostOf(ends map[string]int) (n int) {
	for _, end := range store.GivenUp() {
		n += ends[end]
	}
	return n
}

// notToCome is how many targets are given up, how many are left alone, which their task is not to upgrade, and how many
// are that perhaps: the next sweep finds out. One that a newer task took over when it had been given up has that
// verdict, and its end still: it is one of those left alone only, and given up where that is not sure.
func notToCome(t Task) (givenUp, alone, perhaps int) {
	alone = t.Targets[string(policy.Excluded)]
	if superseded := t.Targets[string(policy.SupersededBy)]; t.Perhaps {
		perhaps = superseded
	} else {
		alone += superseded
	}
	givenUp, sure := lostOf(t.Ended), lostOf(t.Targets)
	if alone > 0 {
		givenUp = min(givenUp, sure+perhaps)
	}
	return givenUp, alone, perhaps - min(max(givenUp-sure, 0), perhaps)
}
