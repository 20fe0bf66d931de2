package web

import (
	"context"
	"maps"
	"slices"
	"time"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// known is what answers are made from beside their own rows: all as of one moment.
type known struct {
	held
	now         time.Time
	config      *config.Config
	connections map[string]store.ConnectionRow // by identity
	policies    map[[2]string]store.PolicyRow  // by policy and connection
}

func (s *server) known(ctx context.Context) (k known, err error) {
	k.now, k.config, k.policies = s.now(), s.Config(), map[[2]string]store.PolicyRow{}
	if k.held, err = s.held(ctx); err != nil {
		return k, err
	}
	if k.connections, err = s.Store.Connections(ctx); err != nil {
		return k, err
	}
	rows, err := s.Store.PolicyRows(ctx)
	for _, row := range rows {
		k.policies[[2]string{row.Policy, row.Connection}] = row
	}
	return k, err
}

// baseline is what the ticks of a policy on a connection count from: as Store.Baseline gives it,
// but for writing down a policy that is new.
func (k known) baseline(policyName, connection string) time.Time {
	row, ok := k.policies[[2]string{policyName, connection}]
	switch {
	case !ok:
		return k.now
	case row.Last != nil && row.Last.Tick.After(row.FirstSeen):
		return row.Last.Tick
	}
	return row.FirstSeen
}

// down says why a connection cannot be used; empty = it can, or nobody has tried.
func (k known) down(identity string) string {
	row := k.connections[identity]
	if row.Reason == "" || row.Detail == "" {
		return row.Reason
	}
	return row.Reason + ": " + row.Detail
}

// holding says what holds a whole task back now, by the same decision that a sweep makes; the zero
// Verdict means that nothing does. A task that waits for nothing is not held.
func (k known) holding(t store.TaskRow) policy.Verdict {
	c, p := owner(k.config, t)
	if p == nil {
		return policy.Verdict{Reason: policy.OtherPolicy, Detail: "no policy of the configuration selects it"}
	}
	sc := scope(t, c, p)
	f := policy.TaskFacts{
		Task: platformTask(t), Owner: p, FirstSeen: k.policies[[2]string{p.Name, c.Name}].FirstSeen, Attempted: takenOn(t),
		Down: k.down(sc.Identity), Approval: k.unapproved(sc),
	}
	if pause := k.pausedBy(sc); pause != nil {
		f.Paused, f.PauseEnds = pause.String(), pause.Until
	}
	if halt := k.haltedBy(sc); halt != nil {
		f.Halted, f.HaltEnds = halt.String(), halt.Until
	}
	v := p.DecideTask(f, k.now)
	switch {
	case v.Reason == policy.TaskStatus:
		return policy.Verdict{}
	case v.Reason == policy.OutsideWindow && f.Approval != "": // which a person can do something about
		return policy.Verdict{Reason: policy.AwaitingApproval, Detail: f.Approval}
	}
	return v
}

// takenOn tells whether retryd has done something about a task, as far as its row shows that.
func takenOn(t store.TaskRow) bool {
	if t.Open > 0 || len(t.Ended) > 0 {
		return true
	}
	i := slices.Index(policy.Reasons(), policy.Backlog)
	return slices.ContainsFunc(slices.Collect(maps.Keys(t.Counts)), func(reason string) bool {
		return slices.Index(policy.Reasons(), policy.Reason(reason)) > i
	})
}

// finished tells whether a task waits for nothing.
func finished(t store.TaskRow) bool {
	return !t.GoneAt.IsZero() || t.Status == string(iotda.TaskSuccess) || t.Total > 0 && t.Success >= t.Total
}
