package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// OpenTask is a task with open attempts that wait for their outcome.
type OpenTask struct {
	ID       string
	TaskType string
	Attempts int
	Identity string // of the connection that listed it last; empty = not known
}

// OpenTasks lists the tasks of a project in which answered attempts wait for their outcome.
func (s *Store) OpenTasks(ctx context.Context, projectID string) (tasks []OpenTask, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var t OpenTask
		if err := rows.Scan(&t.ID, &t.TaskType, &t.Attempts, &t.Identity); err != nil {
			return err
		}
		tasks = append(tasks, t)
		return nil
	}, `SELECT task_id, min(task_type), count(*),
			coalesce((SELECT identity FROM tasks WHERE tasks.project_id = attempts.project_id AND tasks.task_id = attempts.task_id), '') FROM attempts @by_open_task
		WHERE project_id = ? AND `+openStates+` AND state <> 'claimed'
		GROUP BY project_id, task_id ORDER BY task_id DESC`, projectID)
	if err != nil {
		return nil, fmt.Errorf("read the tasks with open attempts: %w", err)
	}
	return tasks, nil
}

// OpenAttempts gives the attempts of a task that wait for their outcome.
func (s *Store) OpenAttempts(ctx context.Context, projectID, taskID string) (attempts []policy.Attempt, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		a, err := scanAttempt(rows)
		attempts = append(attempts, a)
		return err
	}, `SELECT `+attemptColumns+` FROM attempts WHERE project_id = ? AND task_id = ?
			AND `+openStates+` AND state <> 'claimed' ORDER BY device_id`, projectID, taskID)
	if err != nil {
		return nil, fmt.Errorf("read the open attempts of task %s: %w", taskID, err)
	}
	return attempts, nil
}

const attemptColumns = `project_id, task_id, device_id, n, state, task_type, policy, connection,
	claimed_at, answered_at, fail_seen_at, motion_seen, settle, stale_after, wait_retry_fails`

// scanAttempt reads attemptColumns, and whatever more the row has.
func scanAttempt(rows *sql.Rows, more ...any) (a policy.Attempt, err error) {
	var claimedAt, answeredAt, failSeenAt, settle, staleAfter int64
	err = rows.Scan(append([]any{&a.ProjectID, &a.TaskID, &a.DeviceID, &a.N, &a.State, &a.TaskType, &a.Policy, &a.Connection,
		&claimedAt, &answeredAt, &failSeenAt, &a.MotionSeen, &settle, &staleAfter, &a.Terms.WaitRetryFails}, more...)...)
	a.ClaimedAt, a.AnsweredAt, a.FailSeenAt = fromMicros(claimedAt), fromMicros(answeredAt), fromMicros(failSeenAt)
	a.Terms.Settle = time.Duration(settle) * time.Microsecond
	a.Terms.StaleAfter = time.Duration(staleAfter) * time.Microsecond
	return a, err
}

// OldestOpen gives when the oldest open attempt was claimed, by project; one without open
// attempts is not in it.
func (s *Store) OldestOpen(ctx context.Context) (map[string]time.Time, error) {
	oldest := map[string]time.Time{}
	err := each(ctx, s.read, func(rows *sql.Rows) error {
		var project string
		var at int64
		if err := rows.Scan(&project, &at); err != nil {
			return err
		}
		oldest[project] = fromMicros(at)
		return nil
	}, `SELECT project_id, min(claimed_at) FROM attempts WHERE `+openStates+` GROUP BY project_id`)
	if err != nil {
		return nil, fmt.Errorf("read the oldest open attempts: %w", err)
	}
	return oldest, nil
}

// Totals counts targets by outcome, for a summary.
type Totals struct {
	Attempts  int // counted
	Targets   int // with at least one
	Open      int
	Recovered int
}

// Totals gives the sums over the whole ledger.
func (s *Store) Totals(ctx context.Context) (t Totals, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(sum(counted), 0), count(*) FILTER (WHERE counted > 0),
		count(*) FILTER (WHERE closed_outcome = 'recovered') FROM targets`).Scan(&t.Attempts, &t.Targets, &t.Recovered)
	if err == nil {
		err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM attempts WHERE `+openStates).Scan(&t.Open)
	}
	if err != nil {
		return Totals{}, fmt.Errorf("sum up the ledger: %w", err)
	}
	return t, nil
}
