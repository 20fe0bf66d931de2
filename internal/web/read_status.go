package web

import (
	"context"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func (s *server) status(ctx context.Context) (Status, error) {
	k, err := s.known(ctx)
	if err != nil {
		return Status{}, err
	}
	d, err := s.driving(ctx)
	if err != nil {
		return Status{}, err
	}
	out := Status{
		Version: s.Version, Now: k.now, Ledger: s.Store.Where(), ConfigHash: k.config.Hash, Observe: s.Scheduler != nil && s.Scheduler.Observing(),
		Policies: k.policyRows(d), Pauses: mapped(k.pauses, pauseOf), Halts: mapped(k.halts, haltOf),
	}
	if s.Refused != nil {
		out.ReloadRefused = s.Refused()
	}
	if out.Policies == nil {
		out.Policies = []Policy{}
	}
	rows, err := s.allTasks(ctx)
	if err != nil {
		return Status{}, err
	}
	out.Connections = k.connectionRows(d, rows)
	out.Replicas = d.replicasOf(out.Connections)
	for _, t := range rows {
		out.Open += t.Open
	}
	if out.Recovery, err = s.recoveryOf(ctx, k.now.Add(-recoveryOf), rows); err != nil {
		return Status{}, err
	}
	awaiting := k.awaiting(rows)
	out.Awaiting = len(awaiting)
	out.Attention = k.attention(out, rows, awaiting)
	return out, nil
}

// allTasks reads the tasks that are there, page by page.
func (s *server) allTasks(ctx context.Context) (all []store.TaskRow, err error) {
	for p := (store.Page{Limit: pageRowsMax}); ; {
		rows, next, err := s.Store.ListTasks(ctx, store.TaskFilter{}, p)
		if all = append(all, rows...); err != nil || next == "" {
			return all, err
		}
		p.After = next
	}
}

// awaiting gives the tasks that a person has to approve before their failed targets are retried.
func (k known) awaiting(rows []store.TaskRow) (tasks []store.TaskRow) {
	for _, t := range rows {
		if t.Fail > 0 && !finished(t) && k.holding(t).Reason == policy.AwaitingApproval {
			tasks = append(tasks, t)
		}
	}
	return tasks
}
