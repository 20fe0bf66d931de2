package web

import (
	"context"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func (s *server) targets(ctx context.Context, f store.TargetFilter, p store.Page) (List[Target], error) {
	rows, next, err := s.Store.ListTargets(ctx, f, p)
	return List[Target]{mapped(rows, targetOf), next}, err
}

func targetOf(t store.TargetRow) Target {
	r := t.Record
	target := Target{
		DeviceID: t.DeviceID, TaskID: t.TaskID, TaskName: t.TaskName, TaskType: t.TaskType, ProjectID: t.ProjectID, Policy: t.Policy, Connection: t.Connection,
		Is: "waiting", Why: t.EndDetail, Attempts: r.Counted, Last: r.N, State: string(r.State), FirstAt: moment(r.FirstAt), LastAt: moment(t.LastClaimed),
		EndedAt: moment(t.EndedAt), FailureCode: t.CauseCode, FailureText: t.CauseText, Rule: t.Rule, Class: t.Class, Paused: r.Paused, OpenTask: r.OpenTask,
	}
	switch {
	case r.OpenTask == t.TaskID && r.OpenTask != "":
		target.Is = "open"
	case t.Ended != "":
		target.Is = t.Ended
	}
	return target
}

func (s *server) attempts(ctx context.Context, f store.AttemptFilter, p store.Page) (List[Attempt], error) {
	rows, next, err := s.Store.ListAttempts(ctx, f, p)
	return List[Attempt]{mapped(rows, attemptOf), next}, err
}

func attemptOf(a store.AttemptRow) Attempt {
	attempt := Attempt{
		DeviceID: a.DeviceID, TaskID: a.TaskID, TaskType: string(a.TaskType), ProjectID: a.ProjectID, Policy: a.Policy, Connection: a.Connection,
		N: a.N, State: string(a.State), Claimed: a.ClaimedAt, Settled: moment(a.SettledAt), Code: a.Code, Text: a.Text, Detail: a.Detail,
		Rule: a.Rule, Class: a.Class, RequestID: a.RequestID, AskedBy: a.AskedBy,
	}
	if a.State != policy.Claimed {
		attempt.Answered = moment(a.AnsweredAt)
	}
	return attempt
}

func (s *server) sweeps(ctx context.Context, f store.SweepFilter, p store.Page) (List[Sweep], error) {
	rows, next, err := s.Store.ListSweeps(ctx, f, p)
	return List[Sweep]{mapped(rows, sweepOf), next}, err
}

func sweepOf(t store.Tick) Sweep {
	w := Sweep{
		Policy: t.Policy, Connection: t.Connection, Tick: t.Tick, Started: t.Started, Finished: moment(t.Finished), Result: t.Result, Why: t.Why, Missed: t.Missed,
		Targets: counted(t.Counts), Tasks: counted(t.States), Capped: t.Limits, Sent: counted(t.Sent), Problems: t.Problems,
	}
	if t.Finished.Before(t.Started) { // it began, or began once more, and goes on
		w.Result, w.Finished = "running", nil
	}
	return w
}

// counted gives counts; none are counts too.
func counted(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

// actions lists what people did; to a task, or to more than it that holds for it too.
func (s *server) actions(ctx context.Context, f store.ActionFilter, p store.Page) (List[Action], error) {
	if f.TaskID != "" && f.DeviceID == "" {
		tasks, _, err := s.Store.ListTasks(ctx, store.TaskFilter{ProjectID: f.ProjectID, TaskID: f.TaskID, Gone: true}, store.Page{Limit: 1})
		if err != nil {
			return List[Action]{}, err
		}
		for _, t := range tasks {
			f.ProjectID = t.ProjectID // of a task that is gone it is not known before
			f.Wider = &store.Wider{Policy: t.Policy, Connection: t.Connection}
		}
	}
	rows, next, err := s.Store.ListActions(ctx, f, p)
	return List[Action]{mapped(rows, actionOf), next}, err
}

func actionOf(a store.ActionRow) Action {
	return Action{
		ID: a.ID, At: a.At, Who: a.Who, From: a.Source, What: a.What, Subject: a.Subject, Why: a.Why, Policy: a.Policy, Connection: a.Connection,
		ProjectID: a.ProjectID, TaskID: a.TaskID, DeviceID: a.DeviceID, Outcome: a.Outcome,
	}
}
