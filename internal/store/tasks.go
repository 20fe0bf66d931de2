package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/policy"
)

// Task is a batch task as it was listed last.
type Task struct {
	ID, Name, Type, Status string
	Total, Success, Fail   int
	CreatedAt              time.Time
	Identity               string // of the connection that listed it last: a project can have several instances
	AppID, AppName         string
}

// SeeTasks writes down the tasks of a project that a list showed.
func (s *Store) SeeTasks(ctx context.Context, projectID string, tasks []Task) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.txIn(ctx, projectID, func(tx *tx) error {
		now := micros(tx.now)
		moved, err := progressed(ctx, tx, projectID, tasks)
		if err != nil {
			return err
		}
		for _, t := range moved {
			if err := noteProgress(ctx, tx, projectID, t); err != nil {
				return fmt.Errorf("task %s: %w", t.ID, err)
			}
		}
		for _, t := range tasks {
			_, err := tx.ExecContext(ctx, `INSERT INTO tasks
				(project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen, identity, app_id, app_name)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (project_id, task_id) DO UPDATE SET name = excluded.name, status = excluded.status,
					total = excluded.total, success = excluded.success, fail = excluded.fail, last_seen = excluded.last_seen, missing_since = 0, gone_at = 0,
					identity = excluded.identity, app_id = excluded.app_id, app_name = excluded.app_name`,
				projectID, t.ID, t.Name, t.Type, t.Status, t.Total, t.Success, t.Fail, micros(t.CreatedAt), now, now, t.Identity, t.AppID, t.AppName)
			if err != nil {
				return fmt.Errorf("task %s: %w", t.ID, err)
			}
		}
		return nil
	})
}

// TaskCounts is how the targets of a task stood when it was swept.
type TaskCounts struct {
	TaskID             string
	Policy, Connection string         // that it belongs to
	Counts             map[string]int // targets by reason
	Limits             map[string]int // capped targets by limit
	Detail             string         // why it is closed as a whole
	Pass               Pass
}

// Pass is how a task stood when all of its sub-tasks had been read and nothing was left to be done about
// them: as long as it stands so, they need not be read again. A claim in the task, and a target of it
// that is forgiven, end it.
type Pass struct {
	As    string    // in the words of whoever decided; empty = there is something to be done
	After int       // KnownTask.Changes when reading began
	Until time.Time // what was decided may be decided otherwise from then on
}

// CountTasks writes how the targets of tasks of a project stand.
func (s *Store) CountTasks(ctx context.Context, projectID string, tasks []TaskCounts) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.txIn(ctx, projectID, func(tx *tx) error {
		for _, t := range tasks {
			counts, err := json.Marshal(t.Counts)
			limits, e := json.Marshal(t.Limits)
			if err := errors.Join(err, e); err != nil {
				return fmt.Errorf("task %s: %w", t.TaskID, err)
			}
			_, err = tx.ExecContext(ctx, `UPDATE tasks SET policy = ?, connection = ?, counts = ?, limits = ?, detail = ?, counted_at = ?,
					pass = CASE WHEN changes = ? THEN ? ELSE '' END, pass_until = ? WHERE project_id = ? AND task_id = ?`,
				t.Policy, t.Connection, string(counts), string(limits), t.Detail, micros(tx.now), t.Pass.After, t.Pass.As, micros(t.Pass.Until), projectID, t.TaskID)
			if err != nil {
				return fmt.Errorf("task %s: %w", t.TaskID, err)
			}
		}
		return nil
	})
}

// KnownTask is what the ledger knows of a task beside its listing.
type KnownTask struct {
	Task
	Attempted    bool      // it has attempts, or had
	Refusals     int       // retry calls refused as a whole, in a row
	RefusedAs    string    // how the task stood then
	MissingSince time.Time // first coded 404; zero = it was found last
	LastSeen     time.Time
	Changes      int // claims, and what was forgiven
	Looked       int // as SeeLooked wrote it
}

// KnownTasks gives the tasks of a project that are not gone, by id.
func (s *Store) KnownTasks(ctx context.Context, projectID string) (map[string]KnownTask, error) {
	known := map[string]KnownTask{}
	err := each(ctx, s.read, func(rows *sql.Rows) error {
		var t KnownTask
		var created, missing, seen int64
		err := rows.Scan(&t.ID, &t.Name, &t.Type, &t.Status, &t.Total, &t.Success, &t.Fail, &created, &t.Refusals, &t.RefusedAs, &missing, &seen, &t.Identity, &t.AppID, &t.AppName, &t.Changes, &t.Looked, &t.Attempted)
		t.CreatedAt, t.MissingSince, t.LastSeen = fromMicros(created), fromMicros(missing), fromMicros(seen)
		known[t.ID] = t
		return err
	}, `SELECT task_id, name, type, status, total, success, fail, created_at, refusals, refused_as, missing_since, last_seen, identity, app_id, app_name, changes, looked,
			EXISTS (SELECT 1 FROM targets WHERE targets.project_id = tasks.project_id AND targets.task_id = tasks.task_id AND counted > 0)
		FROM tasks WHERE project_id = ? AND gone_at = 0`, projectID)
	if err != nil {
		return nil, fmt.Errorf("read the tasks: %w", err)
	}
	return known, nil
}

// longestPass is more than any pass is for: one that was dated by a clock that was ahead does not hold.
const longestPass = 25 * time.Hour

// Passed gives the tasks of a project of which there is nothing to be read before a moment, by id, with
// the counts that they had: nothing was capped in them. One with open attempts is not among them.
func (s *Store) Passed(ctx context.Context, projectID string) (map[string]TaskCounts, error) {
	passed := map[string]TaskCounts{}
	err := each(ctx, s.read, func(rows *sql.Rows) error {
		var t TaskCounts
		var counts string
		var until int64
		if err := rows.Scan(&t.TaskID, &t.Policy, &t.Connection, &counts, &t.Pass.As, &until); err != nil {
			return err
		}
		t.Pass.Until = fromMicros(until)
		if err := json.Unmarshal([]byte(counts), &t.Counts); err != nil {
			return fmt.Errorf("task %s: %w", t.TaskID, err)
		}
		passed[t.TaskID] = t
		return nil
	}, `SELECT task_id, policy, connection, counts, pass, pass_until FROM tasks WHERE project_id = ? AND pass <> '' AND pass_until > ? AND pass_until <= ?
		AND NOT EXISTS (SELECT 1 FROM attempts @by_open_task WHERE attempts.project_id = tasks.project_id AND attempts.task_id = tasks.task_id AND `+openStates+`)`,
		projectID, micros(s.Now()), micros(s.Now().Add(longestPass)))
	if err != nil {
		return nil, fmt.Errorf("read the tasks that need not be read: %w", err)
	}
	return passed, nil
}

// unpass has a task be read again.
func unpass(ctx context.Context, tx *tx, projectID, taskID string) error {
	_, err := tx.ExecContext(ctx, `UPDATE tasks SET pass = '', changes = changes + 1 WHERE project_id = ? AND task_id = ?`, projectID, taskID)
	return err
}

// FoundTask is a task and the project that it is in.
type FoundTask struct {
	ProjectID, ID, Name, Type string
}

// FindTasks gives the tasks with this id; where there is none, those with this name, the
// newest first. Ones that are gone are not among them.
func (s *Store) FindTasks(ctx context.Context, idOrName string) (found []FoundTask, err error) {
	for _, column := range []string{"task_id", "name"} {
		err := each(ctx, s.read, func(rows *sql.Rows) error {
			var t FoundTask
			err := rows.Scan(&t.ProjectID, &t.ID, &t.Name, &t.Type)
			found = append(found, t)
			return err
		}, `SELECT project_id, task_id, name, type FROM tasks WHERE `+column+` = ? AND gone_at = 0 ORDER BY task_id DESC`, idOrName)
		if err != nil {
			return nil, fmt.Errorf("find task %s: %w", idOrName, err)
		}
		if len(found) > 0 {
			break
		}
	}
	return found, nil
}

// RefuseTask writes that a retry call was refused as a whole while the task stood as named;
// no state means that one was taken.
func (s *Store) RefuseTask(ctx context.Context, projectID, taskID, as string) error {
	return s.txIn(ctx, projectID, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET refusals = CASE WHEN ? = '' THEN 0 WHEN refused_as = ? THEN refusals + 1 ELSE 1 END, refused_as = ?
			WHERE project_id = ? AND task_id = ?`, as, as, as, projectID, taskID)
		return err
	})
}

// MissTasks writes that tasks were not found, from when on, and that others were.
func (s *Store) MissTasks(ctx context.Context, projectID string, missing, found []string) error {
	if len(missing)+len(found) == 0 {
		return nil
	}
	return s.txIn(ctx, projectID, func(tx *tx) error {
		for _, id := range missing {
			if _, err := tx.ExecContext(ctx, `UPDATE tasks SET missing_since = ? WHERE project_id = ? AND task_id = ? AND missing_since = 0`,
				micros(tx.now), projectID, id); err != nil {
				return err
			}
		}
		for _, id := range found {
			if _, err := tx.ExecContext(ctx, `UPDATE tasks SET missing_since = 0, last_seen = ? WHERE project_id = ? AND task_id = ?`, micros(tx.now), projectID, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// TaskGone writes that a task does not exist any more.
func (s *Store) TaskGone(ctx context.Context, projectID, taskID string) error {
	return s.txIn(ctx, projectID, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET gone_at = ? WHERE project_id = ? AND task_id = ? AND gone_at = 0`, micros(tx.now), projectID, taskID)
		return err
	})
}

// SeeLooked writes how many successes a task had when all of its unresolved targets had been looked at.
func (s *Store) SeeLooked(ctx context.Context, projectID, taskID string, successes int) error {
	return s.txIn(ctx, projectID, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tasks SET looked = ? WHERE project_id = ? AND task_id = ?`, successes, projectID, taskID)
		return err
	})
}

// Unresolved is a target that was retried and failed, or is given up.
type Unresolved struct {
	DeviceID, TaskType, Policy, Connection string
}

// Unresolved lists the first targets of a task, by id after the one named, that may have been
// resolved by somebody else.
func (s *Store) Unresolved(ctx context.Context, projectID, taskID, after string, limit int) (found []Unresolved, err error) {
	// By what they have come to: most targets of a task have recovered, and are not looked at.
	var parts []string
	var args []any
	for _, ended := range append([]string{""}, GivenUp()...) {
		where := ``
		if ended == "" {
			where = ` AND counted > 0 AND state IN ('failed', 'rejected')`
		}
		parts = append(parts, `SELECT * FROM (SELECT device_id, task_type, policy, connection FROM targets t WHERE ended = ? AND project_id = ? AND task_id = ?
				AND device_id > ? AND device_id <> '*'`+where+` AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.project_id = t.project_id
				AND a.task_id = t.task_id AND a.device_id = t.device_id AND `+openStates+`) ORDER BY device_id LIMIT ?) AS part`)
		args = append(args, ended, projectID, taskID, after, limit)
	}
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var u Unresolved
		err := rows.Scan(&u.DeviceID, &u.TaskType, &u.Policy, &u.Connection)
		found = append(found, u)
		return err
	}, strings.Join(parts, ` UNION ALL `)+` ORDER BY device_id LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("read the unresolved targets of task %s: %w", taskID, err)
	}
	return found, nil
}

const resolvedElsewhere = "resolved_elsewhere"

// ResolvedElsewhere closes targets whose success was not retryd's, and returns those that it
// closed.
func (s *Store) ResolvedElsewhere(ctx context.Context, projectID, taskID string, targets []Unresolved) (closed []Unresolved, err error) {
	if len(targets) == 0 {
		return nil, nil
	}
	err = s.txIn(ctx, projectID, func(tx *tx) error {
		for _, u := range targets {
			ok, counted, err := resolve(ctx, tx, policy.Target{ProjectID: projectID, TaskID: taskID, DeviceID: u.DeviceID})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			tx.count(tx.now, u.Policy, u.Connection, resolvedElsewhere, counted, 1)
			closed = append(closed, u)
		}
		return nil
	})
	return closed, err
}

// resolve closes a target that has not come to its end, or was given up: nobody has to look after it
// any more.
func resolve(ctx context.Context, tx *tx, t policy.Target) (closed bool, counted int, err error) {
	var ended string
	err = tx.QueryRowContext(ctx, `SELECT counted, ended FROM targets WHERE project_id = ? AND task_id = ? AND device_id = ?`, t.ProjectID, t.TaskID, t.DeviceID).Scan(&counted, &ended)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, 0, nil
	case err != nil:
		return false, 0, err
	case slices.Contains(GivenUp(), ended):
		if _, err := tx.ExecContext(ctx, `UPDATE targets SET closed_n = -1, closed_outcome = '' WHERE project_id = ? AND task_id = ? AND device_id = ?`,
			t.ProjectID, t.TaskID, t.DeviceID); err != nil {
			return false, 0, err
		}
		tx.end(t, ended, -1)
	}
	closed, err = closeTarget(ctx, tx, t, resolvedElsewhere, "", tx.now)
	return closed, counted, err
}
