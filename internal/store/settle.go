package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
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

// Settle writes what was observed of open attempts of one project. It returns those that have come to
// their outcome by it; an attempt that has one already keeps it. However many there are, it takes a few
// statements: other writers wait.
func (s *Store) Settle(ctx context.Context, settlements []policy.Settlement) (settled []Settled, err error) {
	if len(settlements) == 0 {
		return nil, nil
	}
	project := settlements[0].ProjectID
	for _, o := range settlements {
		if o.ProjectID != project {
			return nil, fmt.Errorf("settle %s: it is of project %s, and others are of project %s", o.DeviceID, o.ProjectID, project)
		}
	}
	err = s.txIn(ctx, project, func(tx *tx) error {
		settled, err = settle(ctx, tx, project, settlements)
		if err != nil {
			return fmt.Errorf("settle attempts of project %s: %w", project, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return settled, nil
}

// attemptKey tells an attempt from the others of its project.
type attemptKey struct {
	task, device string
	n            int
}

// settlementRow is a settlement as a statement takes it for @each.
type settlementRow struct {
	Project string `json:"p"`
	Task    string `json:"t"`
	Device  string `json:"d"`
	N       int    `json:"n"`
	State   string `json:"s"`
	At      int64  `json:"a"`
	Fail    int64  `json:"f"`
	Motion  bool   `json:"m"`
	Detail  string `json:"w"`
	Code    string `json:"c"`
	Text    string `json:"e"`
	Rule    string `json:"r"`
	Class   string `json:"k"`
}

func (r settlementRow) key() attemptKey { return attemptKey{r.Task, r.Device, r.N} }

func rowOf(o policy.Settlement) settlementRow {
	return settlementRow{
		clean(o.ProjectID), clean(o.TaskID), clean(o.DeviceID), o.N, string(o.State), micros(o.At), micros(o.FailSeenAt), o.MotionSeen,
		clean(o.Detail), clean(o.Code), clean(o.Text), clean(o.Cause.Name), clean(string(o.Cause.Class)),
	}
}

func (r settlementRow) target() attemptKey { return attemptKey{r.Task, r.Device, 0} }

// What rows of targets, or of attempts that wait for their outcome, settlements are of. The project is among
// what is joined by, so that no database begins with all that it has of the project.
const (
	eachTarget  = ` FROM @each WHERE project_id = value ->> 'p' AND task_id = value ->> 't' AND device_id = value ->> 'd'`
	eachAttempt = eachTarget + ` AND n = CAST(value ->> 'n' AS BIGINT) AND state IN ('accepted', 'unknown')`
)

// settle writes what was seen of those that stay open, and then the outcomes of the others.
func settle(ctx context.Context, tx *tx, project string, settlements []policy.Settlement) ([]Settled, error) {
	var open, ended []settlementRow
	outcome := map[attemptKey]policy.Settlement{} // the first that is said of an attempt
	for _, o := range settlements {
		row := rowOf(o)
		switch _, twice := outcome[row.key()]; {
		case o.State.Open():
			open = append(open, row)
		case policy.Accepted.CanBecome(o.State) && !twice:
			ended, outcome[row.key()] = append(ended, row), o
		}
	}
	err := forRows(open, func(rows string) error {
		_, err := tx.ExecContext(ctx, `UPDATE attempts SET fail_seen_at = CAST(value ->> 'f' AS BIGINT), motion_seen = CAST(value ->> 'm' AS BOOLEAN)`+eachAttempt, rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	of := map[attemptKey]attemptOf{}
	err = forRows(ended, func(rows string) error {
		return each(ctx, tx, func(r *sql.Rows) error {
			var k attemptKey
			var by attemptOf
			err := r.Scan(&k.task, &k.device, &k.n, &by.policy, &by.connection, &by.weight)
			of[k] = by
			return err
		}, `UPDATE attempts SET state = value ->> 's', settled_at = CAST(value ->> 'a' AS BIGINT), detail = value ->> 'w',
				code = value ->> 'c', text = value ->> 'e', rule = value ->> 'r', class = value ->> 'k'`+eachAttempt+`
			RETURNING task_id, device_id, n, policy, connection, weight`, rows)
	})
	if err != nil {
		return nil, err
	}
	ended = slices.DeleteFunc(ended, func(r settlementRow) bool { _, ok := of[r.key()]; return !ok })
	after, err := settleTargets(ctx, tx, project, ended)
	if err != nil {
		return nil, err
	}
	stuck, err := stuckOf(ctx, tx, ended)
	if err != nil {
		return nil, err
	}
	var settled []Settled
	for _, row := range ended {
		result, by := after[row.target()], of[row.key()]
		result.Settlement, result.Stuck = outcome[row.key()], stuck[row.target()]
		settled = append(settled, result)
		tx.count(result.At, by.policy, by.connection, row.State, result.Counted, by.weight)
	}
	return settled, nil
}

// settleTargets writes outcomes to the targets, closes those that they are the end of, and gives what is
// known of each by then.
func settleTargets(ctx context.Context, tx *tx, project string, ended []settlementRow) (map[attemptKey]Settled, error) {
	after := map[attemptKey]Settled{}
	err := forRows(ended, func(rows string) error {
		// The last failure stays, whatever comes after it.
		return each(ctx, tx, func(r *sql.Rows) error {
			var k attemptKey
			var s Settled
			var firstAt int64
			err := r.Scan(&k.task, &k.device, &s.Counted, &firstAt)
			s.FirstAt = fromMicros(firstAt)
			after[k] = s
			return err
		}, `UPDATE targets SET state = value ->> 's', seen_at = CAST(value ->> 'a' AS BIGINT),
				cause_code = CASE value ->> 's' WHEN 'failed' THEN value ->> 'c' ELSE cause_code END,
				cause_text = CASE value ->> 's' WHEN 'failed' THEN value ->> 'e' ELSE cause_text END,
				rule = CASE value ->> 's' WHEN 'failed' THEN value ->> 'r' ELSE rule END,
				class = CASE value ->> 's' WHEN 'failed' THEN value ->> 'k' ELSE class END`+eachTarget+`
			RETURNING task_id, device_id, counted, first_at`, rows)
	})
	if err != nil {
		return nil, err
	}
	over := slices.DeleteFunc(slices.Clone(ended), func(r settlementRow) bool { return r.State == string(policy.Failed) })
	return after, forRows(over, func(rows string) error {
		return each(ctx, tx, func(r *sql.Rows) error {
			var k attemptKey
			var outcome string
			err := r.Scan(&k.task, &k.device, &outcome)
			s := after[k]
			s.Closed = true
			after[k] = s
			tx.end(policy.Target{ProjectID: project, TaskID: k.task, DeviceID: k.device}, outcome, 1)
			return err
		}, `UPDATE targets SET closed_outcome = value ->> 's', closed_n = counted, closed_at = CAST(value ->> 'a' AS BIGINT), closed_detail = value ->> 'w'`+
			eachTarget+` AND closed_n <> counted RETURNING task_id, device_id, closed_outcome`, rows)
	})
}

// stuckOf gives, of targets that have failed, the attempts in a row that were never seen in motion; nothing
// of a task in which any was, or has recovered.
func stuckOf(ctx context.Context, tx *tx, ended []settlementRow) (map[attemptKey]int, error) {
	moves, stuck := map[string]bool{}, map[attemptKey]int{}
	var still []settlementRow
	for _, row := range ended {
		if row.State != string(policy.Failed) || row.Motion {
			continue
		}
		moved, asked := moves[row.Task]
		if !asked {
			err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts @by_moved WHERE project_id = ? AND task_id = ? AND (motion_seen OR state = 'recovered'))`,
				row.Project, row.Task).Scan(&moved)
			if err != nil {
				return nil, err
			}
			moves[row.Task] = moved
		}
		if !moved {
			still = append(still, row)
		}
	}
	return stuck, forRows(still, func(rows string) error {
		return each(ctx, tx, func(r *sql.Rows) error {
			var k attemptKey
			var n int
			err := r.Scan(&k.task, &k.device, &n)
			stuck[k] = n
			return err
		}, `SELECT task_id, device_id, count(*) FROM @each CROSS JOIN attempts a
			WHERE project_id = value ->> 'p' AND task_id = value ->> 't' AND device_id = value ->> 'd' AND state = 'failed' AND NOT motion_seen
				AND n > (SELECT coalesce(max(b.n), 0) FROM attempts b WHERE b.project_id = a.project_id AND b.task_id = a.task_id AND b.device_id = a.device_id
					AND (b.state NOT IN ('failed', 'released') OR b.motion_seen))
			GROUP BY task_id, device_id`, rows)
	})
}

// forRows calls f with rows as a statement takes them for @each; not at all where there are none.
func forRows[T any](rows []T, f func(rows string) error) error {
	if len(rows) == 0 {
		return nil
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("name the rows: %w", err)
	}
	return f(string(text))
}
