package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Answer is what came of a claimed attempt's request.
type Answer struct {
	Claimed
	State      policy.State // Accepted, Rejected, Unknown or Released
	AnsweredAt time.Time    // when it came, or when the wait for it ended
	Code, Text string
	Refused    bool         // of Rejected: the whole call was refused for this target alone
	Cause      policy.Cause // of Rejected
	RequestID  string
}

// Answered writes the answers to the requests for claimed attempts of one task. It
// returns those that it changed: one whose claim was given up in between is not.
func (s *Store) Answered(ctx context.Context, projectID, taskID string, answers []Answer) (changed []Answer, err error) {
	err = s.txIn(ctx, projectID, func(tx *tx) error {
		for _, a := range answers {
			if !policy.Claimed.CanBecome(a.State) {
				return fmt.Errorf("%s: a claimed attempt cannot become %s", a.DeviceID, a.State)
			}
			ok, err := answer(ctx, tx, projectID, taskID, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.DeviceID, err)
			}
			if ok {
				changed = append(changed, a)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

func answer(ctx context.Context, tx *tx, projectID, taskID string, a Answer) (bool, error) {
	settledAt := time.Time{}
	if !a.State.Open() {
		settledAt = a.AnsweredAt
	}
	var policyName, connection string
	var weight int
	err := tx.QueryRowContext(ctx, `UPDATE attempts SET state = ?, answered_at = ?, settled_at = ?, code = ?, text = ?, request_id = ?, rule = ?, class = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ? AND n = ? AND state = 'claimed' RETURNING policy, connection, weight`,
		a.State, micros(a.AnsweredAt), micros(settledAt), a.Code, a.Text, a.RequestID, a.Cause.Name, a.Cause.Class,
		projectID, taskID, a.DeviceID, a.N).Scan(&policyName, &connection, &weight)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key := []any{projectID, taskID, a.DeviceID}
	switch a.State {
	case policy.Released:
		return release(ctx, tx, policy.Target{ProjectID: projectID, TaskID: taskID, DeviceID: a.DeviceID})
	case policy.Rejected:
		var counted int
		err := tx.QueryRowContext(ctx, `UPDATE targets SET state = ?, seen_at = ?, reject_code = ?, reject_text = ?, refused = ?,
				cause_code = ?, cause_text = ?, rule = ?, class = ? WHERE project_id = ? AND task_id = ? AND device_id = ? RETURNING counted`,
			append([]any{a.State, micros(a.AnsweredAt), a.Code, a.Text, a.Refused, a.Code, a.Text, a.Cause.Name, a.Cause.Class}, key...)...).Scan(&counted)
		tx.count(a.AnsweredAt, policyName, connection, string(a.State), counted, weight)
		return err == nil, err
	}
	return execOne(ctx, tx, `UPDATE targets SET state = ?, seen_at = ?, reject_code = '', reject_text = '', refused = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ?`, append([]any{a.State, micros(a.AnsweredAt), a.Refused}, key...)...)
}

// release takes an attempt back that did not happen: the record is as it was, but for the number.
// A target that had come to its end before is there again.
func release(ctx context.Context, tx *tx, t policy.Target) (bool, error) {
	var before, after string
	key := []any{t.ProjectID, t.TaskID, t.DeviceID}
	err := tx.QueryRowContext(ctx, `SELECT ended FROM targets WHERE project_id = ? AND task_id = ? AND device_id = ?`, key...).Scan(&before)
	if err != nil {
		return false, err
	}
	err = tx.QueryRowContext(ctx, `UPDATE targets SET counted = counted - 1, first_at = CASE WHEN counted = 1 THEN 0 ELSE first_at END
		WHERE project_id = ? AND task_id = ? AND device_id = ? RETURNING ended`, key...).Scan(&after)
	tx.end(t, before, -1)
	tx.end(t, after, 1)
	return err == nil, err
}
