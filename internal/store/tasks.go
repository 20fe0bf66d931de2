package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Task is a batch task as it was listed last.
type Task struct {
	ID, Name, Type, Status string
	Total, Success, Fail   int
	CreatedAt              time.Time
}

// SeeTasks writes down the tasks of a project that a list showed.
func (s *Store) SeeTasks(ctx context.Context, projectID string, tasks []Task) error {
	if len(tasks) == 0 {
		return nil
	}
	now := micros(s.Now())
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, t := range tasks {
			_, err := tx.ExecContext(ctx, `INSERT INTO tasks
				(project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (project_id, task_id) DO UPDATE SET name = excluded.name, status = excluded.status,
					total = excluded.total, success = excluded.success, fail = excluded.fail, last_seen = excluded.last_seen`,
				projectID, t.ID, t.Name, t.Type, t.Status, t.Total, t.Success, t.Fail, micros(t.CreatedAt), now, now)
			if err != nil {
				return fmt.Errorf("task %s: %w", t.ID, err)
			}
		}
		return nil
	})
}

// Action is something that a person did.
type Action struct {
	Who, Source, What, Subject, Why string
}

// Act writes down an action.
func (s *Store) Act(ctx context.Context, a Action) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO actions (at, who, source, what, subject, why) VALUES (?, ?, ?, ?, ?, ?)`,
			micros(s.Now()), a.Who, a.Source, a.What, a.Subject, a.Why)
		return err
	})
}

// Forget deletes history that is older than keep: attempts that have come to their
// outcome, and sweeps but the last of each policy. Counts are kept: they are the targets'.
// It returns how many attempts it deleted.
func (s *Store) Forget(ctx context.Context, keep time.Duration) (attempts int, err error) {
	before := micros(s.Now().Add(-keep))
	err = s.tx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE settled_at > 0 AND settled_at < ?`, before)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		attempts = int(n)
		_, err = tx.ExecContext(ctx, `DELETE FROM ticks WHERE started_at < ? AND tick NOT IN (
			SELECT max(tick) FROM ticks last WHERE last.policy = ticks.policy AND last.connection = ticks.connection
				AND last.finished_at > 0 GROUP BY last.result)`, before)
		return err
	})
	return attempts, err
}
