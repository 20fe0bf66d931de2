package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"retryd/internal/policy"
	"retryd/internal/store"
)

const (
	// lookMost is how many tasks the platform is asked about for one explanation: a call each.
	lookMost = 10
	// lookFor is how long that may take in all.
	lookFor = 10 * time.Second
	// historyMost is how many attempts, and actions, an explanation has.
	historyMost = 100
)

// explain says why a device waits, and until when: in the task that has this id or name, in all
// that it is in where none is named.
func (s *server) explain(ctx context.Context, device, task string) (Explanation, error) {
	if device == policy.WholeTask {
		return Explanation{}, refusal(http.StatusBadRequest, "%s stands for a whole task: name a device", device)
	}
	q, err := s.questions(ctx, device, task)
	if err != nil {
		return Explanation{}, err
	}
	s.look(ctx, q)
	out := Explanation{DeviceID: device, Tasks: []Verdict{}}
	for _, one := range q.asked() {
		v, err := s.judge(ctx, q, one)
		if err != nil {
			return Explanation{}, err
		}
		out.Tasks = append(out.Tasks, v)
	}
	out.AsOf, out.Live, out.NotLive = q.liveness()
	if err := s.history(ctx, &out, q); err != nil {
		return Explanation{}, err
	}
	if len(out.Tasks)+len(out.History) == 0 {
		return Explanation{}, q.nothing()
	}
	return out, nil
}

// history adds what was done about the device, by retryd and by people: to it, or to the whole of
// a task that it is in.
func (s *server) history(ctx context.Context, out *Explanation, q *questions) error {
	attempts, err := s.attempts(ctx, store.AttemptFilter{DeviceID: q.device, ProjectID: q.project, TaskID: q.task}, store.Page{Limit: historyMost})
	if err != nil {
		return err
	}
	out.History, out.Actions = attempts.Items, []Action{}
	filters := []store.ActionFilter{{DeviceID: q.device, ProjectID: q.project, TaskID: q.task}}
	for _, v := range out.Tasks {
		filters = append(filters, store.ActionFilter{ProjectID: v.ProjectID, TaskID: v.TaskID})
	}
	for i, f := range filters {
		actions, err := s.actions(ctx, f, store.Page{Limit: historyMost})
		if err != nil {
			return err
		}
		for _, a := range actions.Items {
			if i == 0 || a.DeviceID == "" {
				out.Actions = append(out.Actions, a)
			}
		}
	}
	slices.SortFunc(out.Actions, func(a, b Action) int { return cmp.Compare(b.ID, a.ID) })
	out.Actions = slices.CompactFunc(out.Actions, func(a, b Action) bool { return a.ID == b.ID }) // of more than one of its tasks
	return nil
}
