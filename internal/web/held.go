package web

import (
	"context"
	"slices"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// held is what people, and halts, hold back now.
type held struct {
	pauses    []store.Pause
	halts     []store.Halt
	approvals []store.ApprovalRow
}

func (s *server) held(ctx context.Context) (h held, err error) {
	if h.pauses, err = s.Store.Pauses(ctx); err != nil {
		return h, err
	}
	if h.halts, err = s.Store.Halts(ctx); err != nil {
		return h, err
	}
	h.approvals, err = s.Store.Approvals(ctx)
	return h, err
}

// pausedBy gives the first pause that holds for a scope, as the ledger's gate does.
func (h held) pausedBy(sc store.Scope) *store.Pause {
	i := slices.IndexFunc(h.pauses, func(p store.Pause) bool {
		switch p.Scope {
		case store.PauseAll:
			return true
		case store.PauseConnection:
			return p.Identity == sc.Identity
		case store.PausePolicy:
			return p.Policy == sc.Policy
		case store.PauseTask:
			return p.ProjectID == sc.ProjectID && p.TaskID == sc.TaskID
		case store.PauseDevice:
		}
		return false
	})
	if i < 0 {
		return nil
	}
	return &h.pauses[i]
}

// haltedBy gives the first halt that holds for a scope.
func (h held) haltedBy(sc store.Scope) *store.Halt {
	i := slices.IndexFunc(h.halts, func(halt store.Halt) bool {
		if halt.TaskID == "" {
			return halt.ProjectID == sc.ProjectID && halt.Policy == sc.Policy
		}
		return halt.ProjectID == sc.ProjectID && halt.TaskID == sc.TaskID
	})
	if i < 0 {
		return nil
	}
	return &h.halts[i]
}

// unapproved says why a task needs an approval that it has not; empty = it has, or needs none.
func (h held) unapproved(sc store.Scope) string {
	if !sc.NeedsApproval {
		return ""
	}
	for _, a := range slices.Backward(h.approvals) {
		if a.ProjectID == sc.ProjectID && a.TaskID == sc.TaskID && a.Policy == sc.Policy {
			if a.PolicyHash != sc.PolicyHash {
				return "the policy has changed since it was approved"
			}
			return ""
		}
	}
	return "not approved"
}

// owner gives the connection and the policy that a task belongs to by the configuration, as far
// as it has any.
func owner(c *config.Config, t store.TaskRow) (config.Connection, *policy.Policy) {
	i := slices.IndexFunc(c.Connections, func(one config.Connection) bool { return one.ProjectID == t.ProjectID && one.Identity() == t.Identity })
	if i < 0 { // it has been listed under an address that has changed
		i = slices.IndexFunc(c.Connections, func(one config.Connection) bool { return one.ProjectID == t.ProjectID })
	}
	if i < 0 {
		return config.Connection{}, nil
	}
	return c.Connections[i], policy.Owner(c.Policies, c.Connections[i].Name, platformTask(t))
}

// platformTask gives a task as the platform has told of it last, as far as the ledger keeps that.
func platformTask(t store.TaskRow) iotda.Task {
	task := iotda.Task{
		ID: t.ID, Name: t.Name, Type: iotda.TaskType(t.Type), Status: iotda.TaskStatus(t.Status), AppID: t.AppID, AppName: t.AppName,
		Progress: iotda.Progress{Total: t.Total, Success: t.Success, Fail: t.Fail},
	}
	if !t.CreatedAt.IsZero() {
		task.CreateTime = t.CreatedAt.UTC().Format(iotda.TimeLayout)
	}
	return task
}

// scope is what holds are asked about.
func scope(t store.TaskRow, c config.Connection, p *policy.Policy) store.Scope {
	return store.Scope{
		ProjectID: t.ProjectID, TaskID: t.ID, Policy: p.Name, Connection: c.Name, Identity: c.Identity(),
		PolicyHash: p.Hash, NeedsApproval: p.Mode == policy.ModeApprove,
	}
}
