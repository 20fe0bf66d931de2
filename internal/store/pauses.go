package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// PauseScope says what a pause holds back.
type PauseScope string

// The scopes of a pause.
const (
	PauseAll        PauseScope = "all"
	PauseConnection PauseScope = "connection"
	PausePolicy     PauseScope = "policy"
	PauseTask       PauseScope = "task"
	PauseDevice     PauseScope = "device" // in one task
)

// Pause holds back retries until it ends. It is looked at in the transaction that claims.
type Pause struct {
	ID                 int64
	Scope              PauseScope
	Connection, Policy string // names
	Identity           string // of the connection
	ProjectID, TaskID  string
	DeviceID           string
	Until              time.Time // zero = until it is ended
	Who, Why           string
	At                 time.Time
}

// String says who paused what, since when, until when, and why.
func (p Pause) String() string {
	text := string(p.Scope) + ", by " + p.Who + " since " + stamp(p.At)
	if !p.Until.IsZero() {
		text += " until " + stamp(p.Until)
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}

// Subject names what it holds back.
func (p Pause) Subject() string {
	switch p.Scope {
	case PauseAll:
		return "all"
	case PauseConnection:
		return "connection " + p.Connection
	case PausePolicy:
		return "policy " + p.Policy
	case PauseTask:
		return "task " + p.TaskID
	case PauseDevice:
	}
	return "device " + p.DeviceID + " in task " + p.TaskID
}

// PauseNow writes a pause and the action.
func (s *Store) PauseNow(ctx context.Context, p Pause, a Action) error {
	return s.tx(ctx, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pauses
			(scope, connection, identity, policy, project_id, task_id, device_id, until, who, why, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			p.Scope, p.Connection, p.Identity, p.Policy, p.ProjectID, p.TaskID, p.DeviceID, micros(p.Until), p.Who, p.Why, micros(tx.now))
		if err != nil {
			return fmt.Errorf("pause: %w", err)
		}
		return act(ctx, tx, a)
	})
}

// Pauses lists the pauses that hold now, the oldest first.
func (s *Store) Pauses(ctx context.Context) (pauses []Pause, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var p Pause
		var until, at int64
		err := rows.Scan(&p.ID, &p.Scope, &p.Connection, &p.Identity, &p.Policy, &p.ProjectID, &p.TaskID, &p.DeviceID, &until, &p.Who, &p.Why, &at)
		p.Until, p.At = fromMicros(until), fromMicros(at)
		pauses = append(pauses, p)
		return err
	}, `SELECT id, scope, connection, identity, policy, project_id, task_id, device_id, until, who, why, at FROM pauses
		WHERE ended_at = 0 AND (until = 0 OR until > ?) ORDER BY id`, micros(s.Now()))
	if err != nil {
		return nil, fmt.Errorf("read the pauses: %w", err)
	}
	return pauses, nil
}

// Resume ends the pauses, and the halts, of exactly this scope, and writes the action. It
// returns how many of each it ended.
func (s *Store) Resume(ctx context.Context, p Pause, a Action) (pauses, halts int, err error) {
	err = s.tx(ctx, func(tx *tx) error {
		now := micros(tx.now)
		if pauses, err = execCount(ctx, tx, `UPDATE pauses SET ended_at = ? WHERE ended_at = 0 AND (until = 0 OR until > ?)
			AND scope = ? AND identity = ? AND policy = ? AND project_id = ? AND task_id = ? AND device_id = ?`,
			now, now, p.Scope, p.Identity, p.Policy, p.ProjectID, p.TaskID, p.DeviceID); err != nil {
			return err
		}
		switch p.Scope {
		case PauseTask:
			halts, err = execCount(ctx, tx, `UPDATE halts SET ended_at = ? WHERE ended_at = 0 AND (until = 0 OR until > ?)
				AND project_id = ? AND task_id = ?`, now, now, p.ProjectID, p.TaskID)
		case PausePolicy:
			halts, err = execCount(ctx, tx, `UPDATE halts SET ended_at = ? WHERE ended_at = 0 AND (until = 0 OR until > ?) AND policy = ?`, now, now, p.Policy)
		case PauseAll, PauseConnection, PauseDevice:
		}
		if err != nil || pauses+halts == 0 {
			return err
		}
		return act(ctx, tx, a)
	})
	return pauses, halts, err
}

// OpenIn counts the open attempts that a pause does not call back.
func (s *Store) OpenIn(ctx context.Context, p Pause) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(sum(weight), 0) FROM attempts WHERE `+openStates+`
		AND (? = 'all' OR ? = 'connection' AND connection = ? OR ? = 'policy' AND policy = ?
			OR ? = 'task' AND project_id = ? AND task_id = ? OR ? = 'device' AND project_id = ? AND task_id = ? AND device_id = ?)`,
		p.Scope, p.Scope, p.Connection, p.Scope, p.Policy, p.Scope, p.ProjectID, p.TaskID, p.Scope, p.ProjectID, p.TaskID, p.DeviceID).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count open attempts: %w", err)
	}
	return n, nil
}

// Approval lets a policy in mode approve retry a task.
type Approval struct {
	ProjectID, TaskID  string
	Policy, PolicyHash string
	Targets            int // at most; 0 = any number
	Until              time.Time
	Who, Why           string
}

// Approve writes an approval, in place of any earlier one of the task, and the action.
func (s *Store) Approve(ctx context.Context, p Approval, a Action) error {
	return s.tx(ctx, func(tx *tx) error {
		now := micros(tx.now)
		if _, err := endApprovals(ctx, tx, p, now); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO approvals (project_id, task_id, policy, policy_hash, targets, until, who, why, at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, p.ProjectID, p.TaskID, p.Policy, p.PolicyHash, p.Targets, micros(p.Until), p.Who, p.Why, now)
		if err != nil {
			return fmt.Errorf("approve: %w", err)
		}
		return act(ctx, tx, a)
	})
}

// Revoke ends the approval of a task, and writes the action. It tells whether there was one.
func (s *Store) Revoke(ctx context.Context, p Approval, a Action) (was bool, err error) {
	err = s.tx(ctx, func(tx *tx) error {
		n, err := endApprovals(ctx, tx, p, micros(tx.now))
		if was = n > 0; err != nil || !was {
			return err
		}
		return act(ctx, tx, a)
	})
	return was, err
}

func endApprovals(ctx context.Context, tx *tx, p Approval, now int64) (int, error) {
	return execCount(ctx, tx, `UPDATE approvals SET ended_at = ? WHERE ended_at = 0 AND project_id = ? AND task_id = ? AND policy = ?`,
		now, p.ProjectID, p.TaskID, p.Policy)
}

// Held is a policy that is paused or halted as a whole, under its name.
type Held struct{ Policy, Why string }

// HeldPolicies lists the policies that are paused or halted now.
func (s *Store) HeldPolicies(ctx context.Context) (held []Held, err error) {
	now := micros(s.Now())
	pauses, err := s.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pauses {
		if p.Scope == PausePolicy {
			held = append(held, Held{p.Policy, "paused: " + p.String()})
		}
	}
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var h Held
		var failed, recovered int
		var at int64
		err := rows.Scan(&h.Policy, &failed, &recovered, &at)
		h.Why = "halted: " + haltText(failed, recovered, at)
		held = append(held, h)
		return err
	}, `SELECT policy, failed, recovered, at FROM halts WHERE task_id = '' AND ended_at = 0 AND (until = 0 OR until > ?) ORDER BY id`, now)
	if err != nil {
		return nil, fmt.Errorf("read the halts: %w", err)
	}
	return held, nil
}

// DropPolicies ends the pauses and halts of policies that are gone, all or none, and writes the
// action for each.
func (s *Store) DropPolicies(ctx context.Context, names []string, a Action) error {
	return s.tx(ctx, func(tx *tx) error {
		now := micros(tx.now)
		for _, name := range names {
			for _, query := range []string{
				`UPDATE pauses SET ended_at = ? WHERE ended_at = 0 AND scope = 'policy' AND policy = ?`,
				`UPDATE halts SET ended_at = ? WHERE ended_at = 0 AND task_id = '' AND policy = ?`,
			} {
				if _, err := tx.ExecContext(ctx, query, now, name); err != nil {
					return err
				}
			}
			a.Subject = "policy " + name
			if err := act(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
}
