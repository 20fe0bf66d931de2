package web

import (
	"context"
	"slices"
	"time"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// policies gives a row for each configured policy on each of its connections.
func (s *server) policies(ctx context.Context) ([]Policy, error) {
	k, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.driving(ctx)
	return k.policyRows(d), err
}

func (k known) policyRows(d driving) (rows []Policy) {
	for _, p := range k.config.Policies {
		outside := p.Outside(k.now)
		for _, c := range k.config.Connections {
			if slices.Contains(p.Connections, c.Name) {
				rows = append(rows, k.policy(p, c, outside, d))
			}
		}
	}
	return rows
}

func (k known) policy(p *policy.Policy, c config.Connection, outside policy.Verdict, d driving) Policy {
	row := k.policies[[2]string{p.Name, c.Name}]
	out := Policy{
		Name: p.Name, Connection: c.Name, Mode: string(p.Mode), Schedule: p.Schedule.Spec, Hash: p.Hash, Window: "open",
		NextTick: moment(scheduler.NextSweep(p, c.Name, k.baseline(p.Name, c.Name), k.now).Truncate(time.Second)), Driven: d.by[c.Identity()] != "",
		Running: sweepAt(row.Running), Last: sweepAt(row.Last),
	}
	if outside.Reason != "" {
		out.Window, out.Opens = outside.Detail, moment(outside.NotBefore)
	}
	if row.LastComplete != nil {
		out.Complete = moment(row.LastComplete.Started)
	}
	sc := store.Scope{ProjectID: c.ProjectID, Policy: p.Name, Identity: c.Identity()}
	if pause := k.pausedBy(sc); pause != nil {
		out.Paused = pause.String()
	}
	if halt := k.haltedBy(sc); halt != nil {
		out.Halted = halt.String()
	}
	return out
}

func sweepAt(t *store.Tick) *Sweep {
	if t == nil {
		return nil
	}
	w := sweepOf(*t)
	return &w
}
