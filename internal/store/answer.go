package store

import (
	"context"
	"database/sql"
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
	for _, a := range answers {
		if !policy.Claimed.CanBecome(a.State) {
			return nil, fmt.Errorf("%s: a claimed attempt cannot become %s", a.DeviceID, a.State)
		}
	}
	err = s.txIn(ctx, projectID, func(tx *tx) error {
		for _, same := range alike(answers) {
			written, err := answer(ctx, tx, projectID, taskID, same)
			if err != nil {
				return fmt.Errorf("answers in task %s: %w", taskID, err)
			}
			changed = append(changed, written...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// alike divides answers into those that say the same, each of which is written at once: of the
// targets of a call most are accepted.
func alike(answers []Answer) (groups [][]Answer) {
	type words struct {
		state                            policy.State
		at                               int64
		code, text, rule, class, request string
		refused                          bool
	}
	at := map[words]int{}
	for _, a := range answers {
		what := words{a.State, micros(a.AnsweredAt), a.Code, a.Text, a.Cause.Name, string(a.Cause.Class), a.RequestID, a.Refused}
		i, ok := at[what]
		if !ok {
			i = len(groups)
			at[what], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], a)
	}
	return groups
}

// answer writes answers that say the same.
func answer(ctx context.Context, tx *tx, projectID, taskID string, answers []Answer) (changed []Answer, err error) {
	keys := make([]claimRow, len(answers))
	for i, a := range answers {
		keys[i] = rowOfClaim(a.Claimed)
	}
	a := answers[0]
	set, args := `state = ?, answered_at = ?, code = ?, text = ?, request_id = ?`, []any{a.State, micros(a.AnsweredAt), a.Code, a.Text, a.RequestID}
	if !a.State.Open() { // else the indices by when it was settled are left alone
		set, args = set+`, settled_at = ?, rule = ?, class = ?`, append(args, micros(a.AnsweredAt), a.Cause.Name, a.Cause.Class)
	}
	of := map[Claimed]attemptOf{}
	err = forRows(keys, func(rows string) error {
		return each(ctx, tx, func(r *sql.Rows) error {
			var c Claimed
			var by attemptOf
			err := r.Scan(&c.DeviceID, &c.N, &by.policy, &by.connection, &by.weight)
			of[c] = by
			return err
		}, `UPDATE attempts SET `+set+` WHERE (project_id, task_id, device_id, n) IN
				(SELECT CAST(? AS TEXT), CAST(? AS TEXT), value ->> 'd', CAST(value ->> 'n' AS BIGINT) FROM @each) AND state = 'claimed'
			RETURNING device_id, n, policy, connection, weight`, append(args, projectID, taskID, rows)...)
	})
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if _, ok := of[a.Claimed]; ok {
			changed = append(changed, a)
		}
	}
	if a.State == policy.Released {
		return changed, release(ctx, tx, projectID, taskID, changed)
	}
	return changed, answerTargets(ctx, tx, projectID, taskID, changed, of)
}

// attemptOf is whose an attempt is, and of how many targets.
type attemptOf struct {
	policy, connection string
	weight             int
}

// ofDevices selects targets of one task, by what devicesOf gives.
const ofDevices = ` WHERE project_id = ? AND task_id = ? AND device_id IN (@list)`

func devicesOf(answers []Answer) (string, error) {
	devices := make([]string, len(answers))
	for i, a := range answers {
		devices[i] = a.DeviceID
	}
	return list(devices)
}

// answerTargets writes to the targets what came of their attempts: answers that say the same.
func answerTargets(ctx context.Context, tx *tx, projectID, taskID string, answers []Answer, of map[Claimed]attemptOf) error {
	if len(answers) == 0 {
		return nil
	}
	a := answers[0]
	wanted, err := devicesOf(answers)
	if err != nil {
		return err
	}
	if a.State != policy.Rejected {
		_, err := tx.ExecContext(ctx, `UPDATE targets SET state = ?, seen_at = ?, reject_code = '', reject_text = '', refused = ?`+ofDevices,
			a.State, micros(a.AnsweredAt), a.Refused, projectID, taskID, wanted)
		return err
	}
	counted := map[string]int{}
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var device string
		var n int
		err := rows.Scan(&device, &n)
		counted[device] = n
		return err
	}, `UPDATE targets SET state = ?, seen_at = ?, reject_code = ?, reject_text = ?, refused = ?,
			cause_code = ?, cause_text = ?, rule = ?, class = ?`+ofDevices+` RETURNING device_id, counted`,
		a.State, micros(a.AnsweredAt), a.Code, a.Text, a.Refused, a.Code, a.Text, a.Cause.Name, a.Cause.Class, projectID, taskID, wanted)
	for _, one := range answers {
		by := of[one.Claimed]
		tx.count(a.AnsweredAt, by.policy, by.connection, string(a.State), counted[one.DeviceID], by.weight)
	}
	return err
}

// release takes attempts back that did not happen: the records are as they were, but for the number.
// A target that had come to its end before is there again.
func release(ctx context.Context, tx *tx, projectID, taskID string, answers []Answer) error {
	wanted, err := devicesOf(answers)
	if err != nil {
		return err
	}
	ends := func(n int) func(*sql.Rows) error {
		return func(rows *sql.Rows) error {
			t := policy.Target{ProjectID: projectID, TaskID: taskID}
			var ended string
			err := rows.Scan(&t.DeviceID, &ended)
			tx.end(t, ended, n)
			return err
		}
	}
	err = each(ctx, tx, ends(-1), `SELECT device_id, ended FROM targets`+ofDevices, projectID, taskID, wanted)
	if err != nil {
		return err
	}
	return each(ctx, tx, ends(1), `UPDATE targets SET counted = counted - 1, first_at = CASE WHEN counted = 1 THEN 0 ELSE first_at END`+ofDevices+
		` RETURNING device_id, ended`, projectID, taskID, wanted)
}
