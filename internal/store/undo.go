package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Undo writes that targets which had succeeded, by a retry or otherwise, read Fail at that time, and
// returns those for which that is news. Their attempts count as before: a policy goes on with what is left
// of them.
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

// undo takes the end back too: the target comes to another, at the same number of attempts if there can be
// no more. The sums by the hour stay as they are: they count what happened in an hour, as the metrics do,
// and an attempt that recovered is on record as that.
func undo(ctx context.Context, tx *tx, t policy.Target, at time.Time) (bool, error) {
	var ended string
	err := tx.QueryRowContext(ctx, `SELECT ended FROM targets WHERE project_id = ? AND task_id = ? AND device_id = ?
		AND (state = 'recovered' OR ended = 'resolved_elsewhere' AND closed_at < ?)`,
		t.ProjectID, t.TaskID, t.DeviceID, micros(at)).Scan(&ended)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tx.end(t, ended, -1)
	// Of one that was never retried no attempt has failed. What a rejection said is of a time before the success.
	return execOne(ctx, tx, `UPDATE targets SET state = CASE WHEN state = '' THEN '' ELSE 'failed' END, seen_at = ?,
			reject_code = '', reject_text = '', refused = ?, closed_outcome = '', closed_n = -1
		WHERE project_id = ? AND task_id = ? AND device_id = ?`, micros(at), false, t.ProjectID, t.TaskID, t.DeviceID)
}

// Reopened gives the record of a target as Undo leaves it.
func (r Record) Reopened(at time.Time) policy.Record {
	after := r.Record
	if after.State != "" {
		after.State = policy.Failed
	}
	after.SeenAt, after.RejectCode, after.RejectText, after.Refused = at, "", "", false
	return after
}
