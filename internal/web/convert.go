package web

import (
	"time"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// mapped converts a list; an empty one is one too.
func mapped[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}

// moment gives a moment that may be absent.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func pauseOf(p store.Pause) Pause {
	return Pause{
		ID: p.ID, Scope: string(p.Scope), Connection: p.Connection, Policy: p.Policy, ProjectID: p.ProjectID, TaskID: p.TaskID, DeviceID: p.DeviceID,
		At: p.At.UTC(), Until: moment(p.Until), Who: p.Who, Why: p.Why,
	}
}

func haltOf(h store.Halt) Halt {
	return Halt{
		ID: h.ID, Scope: string(h.Scope), Policy: h.Policy, Connection: h.Connection, ProjectID: h.ProjectID, TaskID: h.TaskID,
		Failed: h.Failed, Recovered: h.Recovered, At: h.At.UTC(), Until: moment(h.Until),
	}
}

// approvalOf says also whether the policy has changed since.
func (s *server) approvalOf(a store.ApprovalRow) Approval {
	stale := true
	for _, p := range s.Config().Policies {
		if p.Name == a.Policy && p.Hash == a.PolicyHash && p.Mode == policy.ModeApprove {
			stale = false
		}
	}
	return Approval{
		ID: a.ID, ProjectID: a.ProjectID, TaskID: a.TaskID, Policy: a.Policy, PolicyHash: a.PolicyHash, Stale: stale,
		Targets: a.Targets, Used: a.Used, At: a.At.UTC(), Until: a.Until.UTC(), Who: a.Who, Why: a.Why,
	}
}
