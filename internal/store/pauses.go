package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/policy"
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

// action gives what a person does to a pause.
func (p Pause) action(a Action) Action {
	a.Subject, a.Policy, a.Connection = p.Subject(), p.Policy, p.Connection
	a.ProjectID, a.TaskID, a.DeviceID = p.ProjectID, p.TaskID, p.DeviceID
	return a
}

// Paused is what pausing came to.
type Paused struct {
	Pauses   []Pause
	Accepted int             // targets with open attempts, which a pause does not call back
	Which    []policy.Target // some of them
	Again    bool            `json:"-"` // it is the answer of the first time
}

// PauseNow writes pauses, all or none, and an action for each. They hold for every claim that
// follows, on every replica; what was claimed before is in the answer.
func (s *Store) PauseNow(ctx context.Context, a Action, pauses ...Pause) (Paused, error) {
	done, again, err := once(ctx, s, a, func(tx *tx) (p Paused, acts []Action, err error) {
		for _, pause := range pauses {
			pause.At, pause.Who, pause.Why = tx.now, a.Who, a.Why
			err := tx.QueryRowContext(ctx, `INSERT INTO pauses
				(scope, connection, identity, policy, project_id, task_id, device_id, until, who, why, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
				pause.Scope, pause.Connection, pause.Identity, pause.Policy, pause.ProjectID, pause.TaskID, pause.DeviceID,
				micros(pause.Until), pause.Who, pause.Why, micros(pause.At)).Scan(&pause.ID)
			if err != nil {
				return Paused{}, nil, fmt.Errorf("pause: %w", err)
			}
			p.Pauses, acts = append(p.Pauses, pause), append(acts, pause.action(a))
		}
		p.Accepted, p.Which, err = openIn(ctx, tx, pauses)
		return p, acts, err
	})
	done.Again = again
	return done, err
}

// ErrNoPause is the error for a pause, halt or approval that does not hold now.
var ErrNoPause = errors.New("it does not hold now: it has ended, or there never was one")

// Pauses lists the pauses that hold now, the oldest first.
func (s *Store) Pauses(ctx context.Context) ([]Pause, error) { return pausesAt(ctx, s.read, s.Now()) }

func pausesAt(ctx context.Context, q queryer, now time.Time) (pauses []Pause, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var p Pause
		var until, at int64
		err := rows.Scan(&p.ID, &p.Scope, &p.Connection, &p.Identity, &p.Policy, &p.ProjectID, &p.TaskID, &p.DeviceID, &until, &p.Who, &p.Why, &at)
		p.Until, p.At = fromMicros(until), fromMicros(at)
		pauses = append(pauses, p)
		return err
	}, `SELECT id, scope, connection, identity, policy, project_id, task_id, device_id, until, who, why, at FROM pauses
		WHERE ended_at = 0 AND (until = 0 OR until > ?) ORDER BY id`, micros(now))
	if err != nil {
		return nil, fmt.Errorf("read the pauses: %w", err)
	}
	return pauses, nil
}

// Resumed is what ended.
type Resumed struct {
	Pauses []Pause
	Halts  []Halt
	Again  bool `json:"-"` // it is the answer of the first time
}

// Resume ends the pauses, and the halts, of exactly these scopes, all or none, and writes an action
// for each. ErrNoPause is in the chain of the error where there is none.
func (s *Store) Resume(ctx context.Context, a Action, scopes ...Pause) (Resumed, error) {
	return s.endHolds(ctx, a, pausesOf(scopes), haltsOf(scopes))
}

// WouldResume says what Resume would end, and ends nothing.
func (s *Store) WouldResume(ctx context.Context, scopes ...Pause) (r Resumed, err error) {
	r, err = holds(ctx, s.read, s.Now(), pausesOf(scopes), haltsOf(scopes))
	if err == nil && len(r.Pauses)+len(r.Halts) == 0 {
		err = ErrNoPause
	}
	return r, err
}

// kept gives a scope as the ledger has it.
func (p Pause) kept() Pause {
	p.Identity, p.Policy, p.ProjectID, p.TaskID, p.DeviceID = clean(p.Identity), clean(p.Policy), clean(p.ProjectID), clean(p.TaskID), clean(p.DeviceID)
	return p
}

func pausesOf(scopes []Pause) func(Pause) bool {
	return func(p Pause) bool {
		return slices.ContainsFunc(scopes, func(of Pause) bool {
			of = of.kept()
			return p.Scope == of.Scope && p.Identity == of.Identity && p.Policy == of.Policy && p.ProjectID == of.ProjectID && p.TaskID == of.TaskID && p.DeviceID == of.DeviceID
		})
	}
}

func haltsOf(scopes []Pause) func(Halt) bool {
	return func(h Halt) bool {
		return slices.ContainsFunc(scopes, func(of Pause) bool {
			of = of.kept()
			return of.Scope == PauseTask && h.ProjectID == of.ProjectID && h.TaskID == of.TaskID || of.Scope == PausePolicy && h.Policy == of.Policy
		})
	}
}

// EndPause ends one pause, and writes the action.
func (s *Store) EndPause(ctx context.Context, a Action, id int64) (Resumed, error) {
	return s.endHolds(ctx, a, func(p Pause) bool { return p.ID == id }, func(Halt) bool { return false })
}

// EndHalt ends one halt, and writes the action.
func (s *Store) EndHalt(ctx context.Context, a Action, id int64) (Resumed, error) {
	return s.endHolds(ctx, a, func(Pause) bool { return false }, func(h Halt) bool { return h.ID == id })
}

// endHolds ends those of the pauses and halts that hold.
func (s *Store) endHolds(ctx context.Context, a Action, pause func(Pause) bool, halt func(Halt) bool) (Resumed, error) {
	ended, again, err := once(ctx, s, a, func(tx *tx) (r Resumed, acts []Action, err error) {
		if r, err = holds(ctx, tx, tx.now, pause, halt); err != nil {
			return Resumed{}, nil, err
		}
		for _, p := range r.Pauses {
			if _, err := tx.ExecContext(ctx, `UPDATE pauses SET ended_at = ? WHERE id = ?`, micros(tx.now), p.ID); err != nil {
				return Resumed{}, nil, err
			}
			acts = append(acts, p.action(a))
		}
		for _, h := range r.Halts {
			if _, err := tx.ExecContext(ctx, `UPDATE halts SET ended_at = ? WHERE id = ?`, micros(tx.now), h.ID); err != nil {
				return Resumed{}, nil, err
			}
			acts = append(acts, h.action(a))
		}
		return r, acts, nil
	})
	if ended.Again = again; err == nil && len(ended.Pauses)+len(ended.Halts) == 0 {
		err = ErrNoPause
	}
	return ended, err
}

// holds gives those of the pauses and halts that hold.
func holds(ctx context.Context, q queryer, now time.Time, pause func(Pause) bool, halt func(Halt) bool) (r Resumed, err error) {
	pauses, err := pausesAt(ctx, q, now)
	if err != nil {
		return Resumed{}, err
	}
	halts, err := haltsAt(ctx, q, now)
	if err != nil {
		return Resumed{}, err
	}
	r.Pauses = slices.DeleteFunc(pauses, func(p Pause) bool { return !pause(p) })
	r.Halts = slices.DeleteFunc(halts, func(h Halt) bool { return !halt(h) })
	return r, nil
}

// OpenIn gives the open attempts that pauses do not call back: how many targets they are of, and
// some of those.
func (s *Store) OpenIn(ctx context.Context, pauses ...Pause) (n int, which []policy.Target, err error) {
	return openIn(ctx, s.read, pauses)
}

// maxWhich is how many targets are named.
const maxWhich = 20

func openIn(ctx context.Context, q queryer, pauses []Pause) (n int, which []policy.Target, err error) {
	where, args := `FALSE`, []any{}
	for _, p := range pauses {
		switch p.Scope {
		case PauseAll:
			where += ` OR TRUE`
		case PauseConnection:
			w, a := p.ofConnection()
			where, args = where+` OR `+w, append(args, a...)
		case PausePolicy:
			where, args = where+` OR policy = ?`, append(args, p.Policy)
		case PauseTask:
			where, args = where+` OR project_id = ? AND task_id = ?`, append(args, p.ProjectID, p.TaskID)
		case PauseDevice:
			where, args = where+` OR project_id = ? AND task_id = ? AND device_id = ?`, append(args, p.ProjectID, p.TaskID, p.DeviceID)
		}
	}
	where = ` FROM attempts WHERE ` + openStates + ` AND (` + where + `)`
	if err := q.QueryRowContext(ctx, `SELECT coalesce(sum(weight), 0)`+where, args...).Scan(&n); err != nil {
		return 0, nil, fmt.Errorf("count open attempts: %w", explain(err))
	}
	err = each(ctx, q, func(r *sql.Rows) error {
		var t policy.Target
		err := r.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID)
		which = append(which, t)
		return err
	}, `SELECT project_id, task_id, device_id`+where+` ORDER BY project_id, task_id, device_id LIMIT ?`, append(args, maxWhich)...)
	if err != nil {
		return 0, nil, fmt.Errorf("name open attempts: %w", err)
	}
	return n, which, nil
}

// ofConnection selects the attempts of a connection: by its project, which its identity ends with,
// but for tasks that another instance has listed. Names may have changed since.
func (p Pause) ofConnection() (where string, args []any) {
	if p.Identity == "" {
		return `connection = ?`, []any{p.Connection}
	}
	return `project_id = ? AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.project_id = attempts.project_id AND tasks.task_id = attempts.task_id AND identity NOT IN ('', ?))`,
		[]any{p.Identity[strings.LastIndex(p.Identity, " ")+1:], p.Identity}
}

// Approval lets a policy in mode approve retry a task.
type Approval struct {
	ProjectID, TaskID  string
	Policy, PolicyHash string
	Targets            int // at most; 0 = any number
	Until              time.Time
	Who, Why           string
}

func (p Approval) action(a Action) Action {
	a.Subject = "task " + p.TaskID + " for policy " + p.Policy
	a.Policy, a.ProjectID, a.TaskID = p.Policy, p.ProjectID, p.TaskID
	return a
}

// Approve writes an approval, in place of any earlier one of the task, and the action. It gives
// what it wrote.
func (s *Store) Approve(ctx context.Context, a Action, p Approval) (row ApprovalRow, again bool, err error) {
	return once(ctx, s, a, func(tx *tx) (ApprovalRow, []Action, error) {
		p.Who, p.Why = a.Who, a.Why
		row := ApprovalRow{Approval: p, At: tx.now}
		if _, err := endApprovals(ctx, tx, p, micros(tx.now)); err != nil {
			return row, nil, err
		}
		err := tx.QueryRowContext(ctx, `INSERT INTO approvals (project_id, task_id, policy, policy_hash, targets, until, who, why, at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
			p.ProjectID, p.TaskID, p.Policy, p.PolicyHash, p.Targets, micros(p.Until), p.Who, p.Why, micros(tx.now)).Scan(&row.ID)
		if err != nil {
			return row, nil, fmt.Errorf("approve: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE notices SET approved = ? WHERE event = 'awaiting_approval' AND project_id = ? AND task_id = ? AND policy = ?`,
			true, p.ProjectID, p.TaskID, p.Policy) // people are told again when it has ended
		if err != nil {
			return row, nil, fmt.Errorf("approve: %w", err)
		}
		return row, []Action{p.action(a)}, nil
	})
}

// EndApproval ends an approval that is valid, and writes the action. ErrNoPause is in the chain of the
// error where there is none.
func (s *Store) EndApproval(ctx context.Context, a Action, id int64) (row ApprovalRow, again bool, err error) {
	row, again, err = once(ctx, s, a, func(tx *tx) (ApprovalRow, []Action, error) {
		valid, err := approvalsAt(ctx, tx, tx.now)
		if err != nil {
			return ApprovalRow{}, nil, err
		}
		for _, row := range valid {
			if row.ID == id {
				_, err := endApprovals(ctx, tx, row.Approval, micros(tx.now))
				return row, []Action{row.action(a)}, err
			}
		}
		return ApprovalRow{}, nil, nil
	})
	if err == nil && row.ID == 0 {
		err = ErrNoPause
	}
	return row, again, err
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
			a.Subject, a.Policy = "policy "+name, name
			if err := act(ctx, tx, a, nil); err != nil {
				return err
			}
		}
		return nil
	})
}
