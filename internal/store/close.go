package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"retryd/internal/policy"
)

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
		var ends []Closing
		named := map[string]bool{}
		for _, target := range c.Targets {
			// One whose id cannot be kept is never claimed either; one that is not as it was decided on is decided anew.
			if keeps(target.DeviceID) && target.decidedOn(known[target.DeviceID]) && !named[target.DeviceID] {
				ends, named[target.DeviceID] = append(ends, target), true
			}
		}
		if closed, err = c.giveUp(ctx, tx, ends); err != nil {
			return fmt.Errorf("close targets of task %s: %w", c.TaskID, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return closed, nil
}

// closingRow is an end as a statement takes it for @each.
type closingRow struct {
	Project  string `json:"p"`
	Task     string `json:"t"`
	Device   string `json:"d"`
	Outcome  string `json:"o"`
	Detail   string `json:"w"`
	Attempts int    `json:"n"`
	Code     string `json:"c"`
	Text     string `json:"e"`
	Rule     string `json:"r"`
	Class    string `json:"k"`
}

func (c Closings) rows(ends []Closing) []closingRow {
	rows := make([]closingRow, len(ends))
	for i, e := range ends {
		rows[i] = closingRow{
			clean(c.ProjectID), clean(c.TaskID), e.DeviceID, clean(e.Outcome), clean(e.Detail), e.Attempts,
			clean(e.Code), clean(e.Text), clean(e.Cause.Name), clean(string(e.Cause.Class)),
		}
	}
	return rows
}

// giveUp closes targets, keeps what they failed for, and writes the notices of that; however many there
// are, in three statements. It returns those that were not closed yet.
func (c Closings) giveUp(ctx context.Context, tx *tx, ends []Closing) (closed []Closing, err error) {
	given := map[string]bool{}
	err = forRows(c.rows(ends), func(rows string) error {
		// A target can end without any attempt: its cause may be one that no retry mends.
		_, err := tx.ExecContext(ctx, `INSERT INTO targets
			(project_id, task_id, device_id, task_type, policy, connection, last_n, counted)
			SELECT ?, ?, value ->> 'd', ?, ?, ?, 0, 0 FROM @each WHERE TRUE ON CONFLICT DO NOTHING`,
			c.ProjectID, c.TaskID, c.TaskType, c.Policy, c.Connection, rows)
		if err != nil {
			return err
		}
		return each(ctx, tx, func(r *sql.Rows) error {
			var device string
			err := r.Scan(&device)
			given[device] = true
			return err
		}, `UPDATE targets SET closed_outcome = value ->> 'o', closed_n = counted, closed_at = ?, closed_detail = value ->> 'w',
				cause_code = value ->> 'c', cause_text = value ->> 'e', rule = value ->> 'r', class = value ->> 'k'`+
			eachTarget+` AND closed_n <> counted RETURNING device_id`, micros(tx.now), rows)
	})
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		if !given[end.DeviceID] {
			continue
		}
		closed = append(closed, end)
		tx.end(policy.Target{ProjectID: c.ProjectID, TaskID: c.TaskID, DeviceID: end.DeviceID}, end.Outcome, 1)
		tx.count(tx.now, c.Policy, c.Connection, end.Outcome, end.Attempts, 1) // with those of the whole task
	}
	return closed, forRows(c.rows(closed), func(rows string) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO notices (at, event, policy, connection, project_id, task_id, device_id, attempts, detail, code, text, rule, class)
			SELECT CAST(? AS BIGINT), value ->> 'o', ?, ?, ?, ?, value ->> 'd', CAST(value ->> 'n' AS BIGINT),
				value ->> 'w', value ->> 'c', value ->> 'e', value ->> 'r', value ->> 'k' FROM @each`,
			micros(tx.now), c.Policy, c.Connection, c.ProjectID, c.TaskID, rows)
		return err
	})
}
