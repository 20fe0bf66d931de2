package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Settled is an attempt whose outcome has been written.
type Settled struct {
	policy.Settlement
	Counted int       // attempts of the target that count
	FirstAt time.Time // claim of the first of them
	Closed  bool      // this ended the target, and is to be counted as that
	Stuck   int       // of a failed one: its attempts in a row, this one included, never seen in motion, in a task where none ever was
}

// Settle writes what was observed of open attempts. It returns those that have come to
// their outcome by it; an attempt that has one already keeps it.
func (s *Store) Settle(ctx context.Context, settlements []policy.Settlement) (settled []Settled, err error) {
	if len(settlements) == 0 {
		return nil, nil
	}
	err = s.txIn(ctx, settlements[0].ProjectID, func(tx *tx) error {
		moves := map[string]bool{}
		for _, settlement := range settlements {
			if err := everMoved(ctx, tx, settlement, moves); err != nil {
				return err
			}
			result, done, err := settle(ctx, tx, settlement)
			if err != nil {
				return fmt.Errorf("settle %s: %w", settlement.DeviceID, err)
			}
			if moves[settlement.TaskID] {
				result.Stuck = 0
			}
			if done {
				settled = append(settled, result)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return settled, nil
}

// everMoved notes, once for each task, whether any of its attempts was seen in motion or recovered.
func everMoved(ctx context.Context, tx *tx, o policy.Settlement, moves map[string]bool) error {
	if _, asked := moves[o.TaskID]; asked || o.State != policy.Failed {
		return nil
	}
	var moved bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts WHERE project_id = ? AND task_id = ? AND (motion_seen OR state = 'recovered'))`,
		o.ProjectID, o.TaskID).Scan(&moved)
	moves[o.TaskID] = moved
	return err
}

func settle(ctx context.Context, tx *tx, o policy.Settlement) (Settled, bool, error) {
	key := []any{o.ProjectID, o.TaskID, o.DeviceID}
	if o.State.Open() {
		_, err := tx.ExecContext(ctx, `UPDATE attempts SET fail_seen_at = ?, motion_seen = ?
			WHERE project_id = ? AND task_id = ? AND device_id = ? AND n = ? AND state IN ('accepted', 'unknown')`,
			append([]any{micros(o.FailSeenAt), o.MotionSeen}, append(key, o.N)...)...)
		return Settled{}, false, err
	}
	var before policy.State
	made := o // under these names, whatever the caller calls them now
	var weight int
	err := tx.QueryRowContext(ctx, `SELECT state, policy, connection, weight FROM attempts WHERE project_id = ? AND task_id = ? AND device_id = ? AND n = ?`,
		append(key, o.N)...).Scan(&before, &made.Policy, &made.Connection, &weight)
	if err != nil || !before.CanBecome(o.State) {
		return Settled{}, false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE attempts SET state = ?, settled_at = ?, detail = ?, code = ?, text = ?, rule = ?, class = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ? AND n = ?`,
		append([]any{o.State, micros(o.At), o.Detail, o.Code, o.Text, o.Cause.Name, o.Cause.Class}, append(key, o.N)...)...)
	if err != nil {
		return Settled{}, false, err
	}
	set, values := `state = ?, seen_at = ?`, []any{o.State, micros(o.At)}
	if o.State == policy.Failed { // the last failure stays, whatever comes after it
		set, values = set+`, cause_code = ?, cause_text = ?, rule = ?, class = ?`, append(values, o.Code, o.Text, o.Cause.Name, o.Cause.Class)
	}
	_, err = tx.ExecContext(ctx, `UPDATE targets SET `+set+` WHERE project_id = ? AND task_id = ? AND device_id = ?`, append(values, key...)...)
	if err != nil {
		return Settled{}, false, err
	}
	result, ok, err := finish(ctx, tx, o)
	if ok {
		tx.count(o.At, made.Policy, made.Connection, string(o.State), result.Counted, weight)
	}
	return result, ok, err
}

// finish closes the target where the outcome is its end.
func finish(ctx context.Context, tx *tx, o policy.Settlement) (Settled, bool, error) {
	result := Settled{Settlement: o}
	var err error
	if o.State == policy.Recovered || o.State == policy.Gone {
		result.Closed, err = closeTarget(ctx, tx, o.Target, string(o.State), o.Detail, o.At)
		if err != nil {
			return Settled{}, false, err
		}
	}
	var firstAt int64
	err = tx.QueryRowContext(ctx, `SELECT counted, first_at FROM targets WHERE project_id = ? AND task_id = ? AND device_id = ?`,
		o.ProjectID, o.TaskID, o.DeviceID).Scan(&result.Counted, &firstAt)
	result.FirstAt = fromMicros(firstAt)
	if err == nil && o.State == policy.Failed && !o.MotionSeen {
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM attempts WHERE project_id = ? AND task_id = ? AND device_id = ? AND state = 'failed'
			AND NOT motion_seen AND n > (SELECT coalesce(max(n), 0) FROM attempts WHERE project_id = ? AND task_id = ? AND device_id = ?
				AND (state NOT IN ('failed', 'released') OR motion_seen))`,
			o.ProjectID, o.TaskID, o.DeviceID, o.ProjectID, o.TaskID, o.DeviceID).Scan(&result.Stuck)
	}
	return result, err == nil, err
}

// closeTarget tells whether it closed the target: it does so once for each number of
// counted attempts, so that an end that is seen in every sweep is counted once.
func closeTarget(ctx context.Context, tx *tx, t policy.Target, outcome, detail string, at time.Time) (bool, error) {
	ok, err := execOne(ctx, tx, `UPDATE targets SET closed_outcome = ?, closed_n = counted, closed_at = ?, closed_detail = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ? AND closed_n <> counted`,
		outcome, micros(at), detail, t.ProjectID, t.TaskID, t.DeviceID)
	if ok {
		tx.end(t, outcome, 1)
	}
	return ok, err
}

// Undo writes that targets which had recovered read Fail at that time, and returns those for
// which that is news.
func (s *Store) Undo(ctx context.Context, projectID, taskID string, devices []string, at time.Time) (undone []string, err error) {
	err = s.txIn(ctx, projectID, func(tx *tx) error {
		for _, device := range devices {
			ok, err := undo(ctx, tx, policy.Target{ProjectID: projectID, TaskID: taskID, DeviceID: device}, at)
			if err != nil {
				return fmt.Errorf("reopen %s: %w", device, err)
			}
			if ok {
				undone = append(undone, device)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return undone, nil
}

// undo takes the end back too: the target comes to another, at the same number of attempts if there
// can be no more.
func undo(ctx context.Context, tx *tx, t policy.Target, at time.Time) (bool, error) {
	var ended string
	err := tx.QueryRowContext(ctx, `SELECT ended FROM targets WHERE project_id = ? AND task_id = ? AND device_id = ? AND state = 'recovered'`,
		t.ProjectID, t.TaskID, t.DeviceID).Scan(&ended)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tx.end(t, ended, -1)
	return execOne(ctx, tx, `UPDATE targets SET state = 'failed', seen_at = ?, closed_outcome = '', closed_n = -1
		WHERE project_id = ? AND task_id = ? AND device_id = ?`, micros(at), t.ProjectID, t.TaskID, t.DeviceID)
}

// Closing ends the retries of one target.
type Closing struct {
	DeviceID   string
	Outcome    string // exhausted, permanent or expired
	Detail     string // why that is its end
	LastN      int    // number of its last attempt when that was decided
	Attempts   int    // that counted then
	Code, Text string // of its last failure, in the platform's words
	Cause      policy.Cause
}

// Closings are ends of targets of one task.
type Closings struct {
	ProjectID, TaskID, TaskType string
	Policy, Connection          string
	Targets                     []Closing
}

// decidedOn tells whether the record is still what was decided on: the target may have been forgiven,
// or retried, since.
func (c Closing) decidedOn(r Record) bool { return r.N == c.LastN && r.Counted == c.Attempts }

// CloseTargets writes that targets will not be retried again. It returns those that stand as they
// were decided on, and were not closed yet at their number of counted attempts.
func (s *Store) CloseTargets(ctx context.Context, c Closings) (closed []Closing, err error) {
	if len(c.Targets) == 0 {
		return nil, nil
	}
	devices := make([]string, len(c.Targets))
	for i, target := range c.Targets {
		devices[i] = target.DeviceID
	}
	err = s.txIn(ctx, c.ProjectID, func(tx *tx) error {
		known, err := records(ctx, tx, c.ProjectID, c.TaskID, devices, tx.now)
		if err != nil {
			return err
		}
		for _, target := range c.Targets {
			if !keeps(target.DeviceID) { // it is never claimed either
				continue
			}
			if !target.decidedOn(known[target.DeviceID]) { // it is decided anew
				continue
			}
			// A target can end without any attempt: its cause may be one that no retry mends.
			_, err := tx.ExecContext(ctx, `INSERT INTO targets
				(project_id, task_id, device_id, task_type, policy, connection, last_n, counted)
				VALUES (?, ?, ?, ?, ?, ?, 0, 0) ON CONFLICT DO NOTHING`,
				c.ProjectID, c.TaskID, target.DeviceID, c.TaskType, c.Policy, c.Connection)
			if err != nil {
				return fmt.Errorf("close %s: %w", target.DeviceID, err)
			}
			ok, err := giveUp(ctx, tx, c, target)
			if err != nil {
				return fmt.Errorf("close %s: %w", target.DeviceID, err)
			}
			if !ok {
				continue
			}
			if err := tellClosed(ctx, tx, c, target); err != nil {
				return err
			}
			closed = append(closed, target)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return closed, nil
}

// giveUp closes a target, and keeps what it failed for.
func giveUp(ctx context.Context, tx *tx, c Closings, end Closing) (bool, error) {
	t := policy.Target{ProjectID: c.ProjectID, TaskID: c.TaskID, DeviceID: end.DeviceID}
	ok, err := closeTarget(ctx, tx, t, end.Outcome, end.Detail, tx.now)
	if err != nil || !ok {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE targets SET cause_code = ?, cause_text = ?, rule = ?, class = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ?`,
		end.Code, end.Text, end.Cause.Name, end.Cause.Class, t.ProjectID, t.TaskID, t.DeviceID)
	tx.count(tx.now, c.Policy, c.Connection, end.Outcome, end.Attempts, 1) // with those of the whole task
	return err == nil, err
}
