package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Scope names a task under one policy on one connection: what gates are asked about.
type Scope struct {
	ProjectID, TaskID  string
	Policy, Connection string // names
	Identity           string // of the connection: what a pause of it is kept under
	PolicyHash         string
	NeedsApproval      bool
}

// Gates say why nothing of a task may be claimed now; empty texts mean that it may.
type Gates struct {
	Paused       string
	PauseEnds    time.Time // zero = when a person ends it
	Approval     string
	ApprovalLeft int            // further targets that the approval allows; -1 = any number
	Approved     map[string]int // devices that it has been used for, with the targets that each stands for: they may be retried again
	Halted       string
	HaltEnds     time.Time // zero = when a person ends it
}

// GateError is the error of a claim that came to a closed gate.
type GateError struct {
	Reason policy.Reason
	Detail string
}

// Error says which gate, and why.
func (c *GateError) Error() string { return string(c.Reason) + ": " + c.Detail }

// Gates reads the gates of a task.
func (s *Store) Gates(ctx context.Context, sc Scope) (Gates, error) {
	g, err := gates(ctx, s.read, sc, s.Now())
	if err != nil {
		return Gates{}, fmt.Errorf("read whether task %s may be retried: %w", sc.TaskID, err)
	}
	return g, nil
}

// Err gives the first gate that is closed, as a *GateError; nil if all are open.
func (g Gates) Err() error {
	switch {
	case g.Paused != "":
		return &GateError{policy.Paused, g.Paused}
	case g.Approval != "":
		return &GateError{policy.AwaitingApproval, g.Approval}
	case g.Halted != "":
		return &GateError{policy.Halted, g.Halted}
	}
	return nil
}

func gates(ctx context.Context, q queryer, sc Scope, now time.Time) (g Gates, err error) {
	if g.Paused, g.PauseEnds, err = paused(ctx, q, sc, now); err != nil {
		return g, err
	}
	if g.Halted, g.HaltEnds, err = halted(ctx, q, sc, now); err != nil {
		return g, err
	}
	g.ApprovalLeft = -1
	if sc.NeedsApproval {
		g.Approval, g.ApprovalLeft, g.Approved, err = approval(ctx, q, sc, now)
	}
	return g, err
}

func paused(ctx context.Context, q queryer, sc Scope, now time.Time) (string, time.Time, error) {
	var p Pause
	var until, at int64
	err := q.QueryRowContext(ctx, `SELECT scope, who, why, at, until FROM pauses
		WHERE ended_at = 0 AND (until = 0 OR until > ?) AND (scope = 'all' OR scope = 'connection' AND identity = ?
			OR scope = 'policy' AND policy = ? OR scope = 'task' AND project_id = ? AND task_id = ?) ORDER BY id LIMIT 1`,
		micros(now), sc.Identity, sc.Policy, sc.ProjectID, sc.TaskID).Scan(&p.Scope, &p.Who, &p.Why, &at, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, nil
	}
	p.At, p.Until = fromMicros(at), fromMicros(until)
	return p.String(), p.Until, err
}

func halted(ctx context.Context, q queryer, sc Scope, now time.Time) (string, time.Time, error) {
	var failed, recovered int
	var at, until int64
	err := q.QueryRowContext(ctx, `SELECT failed, recovered, at, until FROM halts
		WHERE ended_at = 0 AND (until = 0 OR until > ?) AND project_id = ? AND (task_id = ? OR task_id = '' AND policy = ?)
		ORDER BY id LIMIT 1`, micros(now), sc.ProjectID, sc.TaskID, sc.Policy).Scan(&failed, &recovered, &at, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, nil
	}
	return haltText(failed, recovered, at), fromMicros(until), err
}

func haltText(failed, recovered int, at int64) string {
	return fmt.Sprintf("%d of %d retried targets failed again, since %s", failed, failed+recovered, stamp(fromMicros(at)))
}

// approval gives why there is none, how many targets the one that there is has left, and which it
// has been used for.
func approval(ctx context.Context, q queryer, sc Scope, now time.Time) (why string, left int, used map[string]int, err error) {
	var hash string
	var targets int
	var until, at int64
	err = q.QueryRowContext(ctx, `SELECT policy_hash, targets, until, at FROM approvals
		WHERE project_id = ? AND task_id = ? AND policy = ? AND ended_at = 0 ORDER BY id DESC LIMIT 1`,
		sc.ProjectID, sc.TaskID, sc.Policy).Scan(&hash, &targets, &until, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "not approved", 0, nil, nil
	case err != nil:
		return "", 0, nil, err
	case hash != sc.PolicyHash:
		return "the policy has changed since it was approved", 0, nil, nil
	case !fromMicros(until).After(now):
		return "its approval ended at " + stamp(fromMicros(until)), 0, nil, nil
	case targets == 0:
		return "", -1, nil, nil
	}
	used = map[string]int{}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var device string
		var weight int
		err := rows.Scan(&device, &weight)
		used[device] = weight
		targets -= weight // more than 1 for a whole task
		return err
	}, `SELECT device_id, max(weight) FROM attempts WHERE project_id = ? AND task_id = ? AND policy = ? AND claimed_at >= ? AND state <> 'released'
		GROUP BY device_id`, sc.ProjectID, sc.TaskID, sc.Policy, at)
	return "", max(targets, 0), used, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
