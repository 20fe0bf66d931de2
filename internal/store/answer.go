package store

import (
	"context"
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
	ok, err := execOne(ctx, tx, `UPDATE attempts SET state = ?, answered_at = ?, settled_at = ?, code = ?, text = ?, request_id = ?, rule = ?, class = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ? AND n = ? AND state = 'claimed'`,
		a.State, micros(a.AnsweredAt), micros(settledAt), a.Code, a.Text, a.RequestID, a.Cause.Name, a.Cause.Class,
		projectID, taskID, a.DeviceID, a.N)
	if err != nil || !ok {
		return false, err
	}
	if a.State == policy.Released { // it did not happen: the record is as it was, but for the number
		return execOne(ctx, tx, `UPDATE targets SET counted = counted - 1, first_at = CASE WHEN counted = 1 THEN 0 ELSE first_at END
			WHERE project_id = ? AND task_id = ? AND device_id = ?`, projectID, taskID, a.DeviceID)
	}
	rejected := a
	if a.State != policy.Rejected {
		rejected.Code, rejected.Text = "", ""
	}
	return execOne(ctx, tx, `UPDATE targets SET state = ?, seen_at = ?, reject_code = ?, reject_text = ?, refused = ?
		WHERE project_id = ? AND task_id = ? AND device_id = ?`,
		a.State, micros(a.AnsweredAt), rejected.Code, rejected.Text, a.Refused, projectID, taskID, a.DeviceID)
}
