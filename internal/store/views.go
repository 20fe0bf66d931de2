package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Halt is a task or policy that is halted because too many of its retries failed.
type Halt struct {
	ID                 int64
	Scope              policy.HaltScope
	Policy, Connection string
	ProjectID, TaskID  string // TaskID is empty for a policy
	Failed, Recovered  int
	At, Until          time.Time // Until zero = until a person ends it
}

func (h Halt) action(a Action) Action {
	a.Subject, a.Policy, a.Connection, a.ProjectID, a.TaskID = "policy "+h.Policy, h.Policy, h.Connection, h.ProjectID, h.TaskID
	if h.Scope == policy.HaltTask {
		a.Subject = "task " + h.TaskID
	}
	return a
}

// String says what is halted, since when, until when, and why.
func (h Halt) String() string {
	text := haltText(h.Failed, h.Recovered, micros(h.At))
	if !h.Until.IsZero() {
		text += ", until " + stamp(h.Until)
	}
	return text
}

// Halts lists the halts that hold now, the oldest first.
func (s *Store) Halts(ctx context.Context) ([]Halt, error) { return haltsAt(ctx, s.read, s.Now()) }

func haltsAt(ctx context.Context, q queryer, now time.Time) (halts []Halt, err error) {
	err = each(ctx, q, func(r *sql.Rows) error {
		var h Halt
		var at, until int64
		err := r.Scan(&h.ID, &h.Scope, &h.Policy, &h.Connection, &h.ProjectID, &h.TaskID, &h.Failed, &h.Recovered, &at, &until)
		h.At, h.Until = fromMicros(at), fromMicros(until)
		halts = append(halts, h)
		return err
	}, `SELECT id, scope, policy, connection, project_id, task_id, failed, recovered, at, until FROM halts
		WHERE ended_at = 0 AND (until = 0 OR until > ?) ORDER BY id`, micros(now))
	if err != nil {
		return nil, fmt.Errorf("read the halts: %w", err)
	}
	return halts, nil
}

// ApprovalRow is an approval that is valid now.
type ApprovalRow struct {
	ID int64
	Approval
	At   time.Time
	Used int // targets that it has been used for
}

// Approvals lists the approvals that are valid now, the oldest first. Whether the policy is still
// the one that was approved is for the caller to see.
func (s *Store) Approvals(ctx context.Context) ([]ApprovalRow, error) {
	return approvalsAt(ctx, s.read, s.Now())
}

func approvalsAt(ctx context.Context, q queryer, now time.Time) (approvals []ApprovalRow, err error) {
	err = each(ctx, q, func(r *sql.Rows) error {
		var a ApprovalRow
		var at, until int64
		err := r.Scan(&a.ID, &a.ProjectID, &a.TaskID, &a.Policy, &a.PolicyHash, &a.Targets, &until, &a.Who, &a.Why, &at)
		a.At, a.Until = fromMicros(at), fromMicros(until)
		approvals = append(approvals, a)
		return err
	}, `SELECT id, project_id, task_id, policy, policy_hash, targets, until, who, why, at FROM approvals
		WHERE ended_at = 0 AND until > ? ORDER BY id`, micros(now))
	for i := range approvals {
		if err == nil {
			approvals[i].Used, err = used(ctx, q, approvals[i])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the approvals: %w", err)
	}
	return approvals, nil
}

func used(ctx context.Context, q queryer, a ApprovalRow) (targets int, err error) {
	err = q.QueryRowContext(ctx, `SELECT coalesce(sum(weight), 0) FROM (SELECT max(weight) AS weight FROM attempts
		WHERE project_id = ? AND task_id = ? AND policy = ? AND claimed_at >= ? AND state <> 'released' GROUP BY device_id) AS devices`,
		a.ProjectID, a.TaskID, a.Policy, micros(a.At)).Scan(&targets)
	return targets, explain(err)
}

// ConnectionRow is how a connection stands, as its driver said last.
type ConnectionRow struct {
	Identity, Name string
	Reason         string // why it is down; empty = it is up
	Detail, Remedy string
	Since          time.Time
	Until          time.Time // nothing is tried before; zero = not known
}

// Connections gives how each connection that was ever driven stands, by identity.
func (s *Store) Connections(ctx context.Context) (map[string]ConnectionRow, error) {
	connections := map[string]ConnectionRow{}
	err := each(ctx, s.read, func(r *sql.Rows) error {
		var c ConnectionRow
		var since, until int64
		err := r.Scan(&c.Identity, &c.Name, &c.Reason, &c.Detail, &c.Remedy, &since, &until)
		c.Since, c.Until = fromMicros(since), fromMicros(until)
		connections[c.Identity] = c
		return err
	}, `SELECT identity, name, reason, detail, remedy, since, until FROM connections`)
	if err != nil {
		return nil, fmt.Errorf("read the connections: %w", err)
	}
	return connections, nil
}
