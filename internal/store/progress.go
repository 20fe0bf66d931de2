package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Progress is how far a task was at a moment.
type Progress struct {
	At                   time.Time
	Total, Success, Fail int
}

// TaskProgress gives how far a task was since a moment, the oldest first. Each row holds until the
// next one; the first is the one that held at that moment, if there is any.
func (s *Store) TaskProgress(ctx context.Context, projectID, taskID string, since time.Time) (progress []Progress, err error) {
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var p Progress
		var at int64
		err := r.Scan(&at, &p.Total, &p.Success, &p.Fail)
		p.At = fromMicros(at)
		progress = append(progress, p)
		return err
	}, `SELECT at, total, success, fail FROM progress WHERE project_id = ? AND task_id = ?
			AND at >= coalesce((SELECT max(at) FROM progress WHERE project_id = ? AND task_id = ? AND at <= ?), 0) ORDER BY at`,
		projectID, taskID, projectID, taskID, micros(since))
	if err != nil {
		return nil, fmt.Errorf("read the progress of task %s: %w", taskID, err)
	}
	return progress, nil
}

// progressed gives those of the tasks that stand otherwise than when they were seen last.
func progressed(ctx context.Context, q queryer, projectID string, tasks []Task) (moved []Task, err error) {
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	wanted, err := list(ids)
	if err != nil {
		return nil, err
	}
	before := map[string]Progress{}
	err = each(ctx, q, func(r *sql.Rows) error {
		var id string
		var p Progress
		err := r.Scan(&id, &p.Total, &p.Success, &p.Fail)
		before[id] = p
		return err
	}, `SELECT task_id, total, success, fail FROM tasks WHERE project_id = ? AND task_id IN (@list)`, projectID, wanted)
	for _, t := range tasks {
		if p, seen := before[clean(t.ID)]; !seen || p != (Progress{Total: t.Total, Success: t.Success, Fail: t.Fail}) {
			moved = append(moved, t)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read how far the tasks were: %w", err)
	}
	return moved, nil
}

func noteProgress(ctx context.Context, tx *tx, projectID string, t Task) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO progress (project_id, task_id, at, total, success, fail) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (project_id, task_id, at) DO UPDATE SET total = excluded.total, success = excluded.success, fail = excluded.fail`,
		projectID, t.ID, micros(tx.now), t.Total, t.Success, t.Fail)
	return err
}
