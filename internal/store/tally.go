package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"retryd/internal/policy"
)

// tally is what a transaction adds to the sums that are kept beside the rows: one statement for
// each sum, however many rows it is of.
type tally struct {
	hours map[hourKey]int
	ends  map[endKey]int
}

// add adds the sums of a part of the transaction.
func (t *tally) add(part tally) {
	if t.hours == nil {
		t.hours, t.ends = map[hourKey]int{}, map[endKey]int{}
	}
	for k, n := range part.hours {
		t.hours[k] += n
	}
	for k, n := range part.ends {
		t.ends[k] += n
	}
}

type hourKey struct {
	hour                        int64
	policy, connection, outcome string
	n                           int
}

type endKey struct{ project, task, outcome string }

// maxHourN is the highest number of attempts that outcomes are told apart by.
const maxHourN = 20

// count adds outcomes to an hour: of an attempt, or the end of a target without one. counted is how
// many attempts the target had by then, weight how many targets it is.
func (t *tx) count(at time.Time, policyName, connection, outcome string, counted, weight int) {
	if t.sums.hours == nil {
		t.sums.hours = map[hourKey]int{}
	}
	t.sums.hours[hourKey{micros(at.Truncate(time.Hour)), clean(policyName), clean(connection), clean(outcome), min(counted, maxHourN)}] += weight
}

// end adds that a target has come to an end, or with -1 that it has not come to it after all. What
// changes a target's counted, closed_n or closed_outcome has to say so.
func (t *tx) end(target policy.Target, outcome string, n int) {
	if outcome == "" || target.DeviceID == policy.WholeTask {
		return
	}
	if t.sums.ends == nil {
		t.sums.ends = map[endKey]int{}
	}
	t.sums.ends[endKey{clean(target.ProjectID), clean(target.TaskID), clean(outcome)}] += n
}

// sum writes the sums. They are in one order in all transactions, so that none waits for another
// that waits for it.
func (t *tx) sum(ctx context.Context) error {
	ends := slices.SortedFunc(maps.Keys(t.sums.ends), func(a, b endKey) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.task, b.task), cmp.Compare(a.outcome, b.outcome))
	})
	for _, k := range ends {
		if t.sums.ends[k] == 0 {
			continue
		}
		_, err := t.ExecContext(ctx, `INSERT INTO ends (project_id, task_id, outcome, count) VALUES (?, ?, ?, ?)
			ON CONFLICT (project_id, task_id, outcome) DO UPDATE SET count = ends.count + excluded.count`, k.project, k.task, k.outcome, t.sums.ends[k])
		if err != nil {
			return fmt.Errorf("count the ends of targets: %w", err)
		}
	}
	hours := slices.SortedFunc(maps.Keys(t.sums.hours), func(a, b hourKey) int {
		return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.policy, b.policy), cmp.Compare(a.connection, b.connection),
			cmp.Compare(a.outcome, b.outcome), cmp.Compare(a.n, b.n))
	})
	for _, k := range hours {
		_, err := t.ExecContext(ctx, `INSERT INTO hours (hour, policy, connection, outcome, n, count) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (hour, policy, connection, outcome, n) DO UPDATE SET count = hours.count + excluded.count`,
			k.hour, k.policy, k.connection, k.outcome, k.n, t.sums.hours[k])
		if err != nil {
			return fmt.Errorf("count outcomes by the hour: %w", err)
		}
	}
	return nil
}
