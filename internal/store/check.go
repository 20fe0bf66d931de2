package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	driver "modernc.org/sqlite"

	"retryd/internal/policy"
)

// FindingKind names what can be wrong with a ledger.
type FindingKind string

// The kinds of findings. What each means and what to do is in docs/ledger.md.
const (
	FoundDamage  FindingKind = "damaged"   // the database itself
	FoundSchema  FindingKind = "schema"    // not as retryd makes it
	FoundLow     FindingKind = "count_low" // more attempts than are counted: max can be exceeded
	FoundHigh    FindingKind = "count_high"
	FoundNumbers FindingKind = "numbers" // of attempts
	FoundTwice   FindingKind = "open_twice"
	FoundOrphan  FindingKind = "no_target" // an open attempt without its target's record
	FoundClaim   FindingKind = "claim_left"
	FoundWord    FindingKind = "unknown_word"
	FoundSum     FindingKind = "sum" // of a task's targets by their end: it is only shown
)

// FindingKinds lists them.
func FindingKinds() []FindingKind {
	return []FindingKind{FoundDamage, FoundSchema, FoundLow, FoundHigh, FoundNumbers, FoundTwice, FoundOrphan, FoundClaim, FoundWord, FoundSum}
}

// Finding is something that is wrong with a ledger.
type Finding struct {
	Kind        FindingKind
	Where, What string
}

// Do says what is to be done about it.
func (f Finding) Do() string {
	switch f.Kind {
	case FoundDamage:
		return "stop retryd, keep the file, restore the last backup"
	case FoundSchema:
		return "undo what changed the schema, or restore the last backup"
	case FoundLow, FoundOrphan:
		return "pause the task (retryd pause --task), then set the record right: a target may be retried more often than its policy allows"
	case FoundHigh:
		return "nothing is in danger: the target may be retried less often than its policy allows"
	case FoundNumbers:
		return "pause the task (retryd pause --task), and find out who changed the ledger"
	case FoundTwice:
		return "pause both tasks, and look at the device: two upgrades at once end as Task Conflict"
	case FoundClaim:
		return "look into the daemon's log: it does not write down what comes of its calls"
	case FoundSum:
		return "nothing is in danger: what lists of tasks show is wrong, and no decision is made by it"
	case FoundWord:
	}
	return "another program, or a newer retryd, has written here: find out which, and restore the last backup"
}

// foundMost is how many findings of one kind are listed one by one.
const foundMost = 20

// check is one look at a whole ledger, as it was at one moment.
type check struct {
	*tx
	s     *Store
	found []Finding
	times map[FindingKind]int
}

// Check looks for what can only be there by a fault, of retryd, of a person or of a disk. It
// writes nothing, and goes on beside a daemon. deep has SQLite look at each index entry too.
func (s *Store) Check(ctx context.Context, deep bool) ([]Finding, error) {
	o := &sql.TxOptions{ReadOnly: true}
	if s.Shared() {
		o.Isolation = sql.LevelRepeatableRead
	}
	t, err := s.read.BeginTx(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("check the ledger: %w", explain(err))
	}
	defer t.Rollback() //nolint:errcheck // nothing was written
	c := &check{tx: &tx{Tx: t, d: s.read.d}, s: s, times: map[FindingKind]int{}}
	if s.Shared() { // it may take longer than a statement of the daemon should
		if _, err := c.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return nil, fmt.Errorf("check the ledger: %w", explain(err))
		}
	}
	for _, look := range []func(context.Context) error{
		func(ctx context.Context) error { return c.integrity(ctx, deep) }, c.schema, c.targets, c.twice, c.orphans, c.settled, c.claims, c.words, c.sums,
	} {
		err := look(ctx)
		if sick := (*driver.Error)(nil); Damaged(err) && errors.As(err, &sick) {
			c.find(FoundDamage, "the file", "%s", sick.Error())
			break // what else is found would be found in ruins
		}
		if err != nil {
			return nil, fmt.Errorf("check the ledger: %w", explain(err))
		}
	}
	for _, kind := range FindingKinds() {
		if more := c.times[kind] - foundMost; more > 0 {
			c.found = append(c.found, Finding{kind, "elsewhere", fmt.Sprintf("%d more of this kind", more)})
		}
	}
	return c.found, nil
}

func (c *check) find(kind FindingKind, where, format string, args ...any) {
	if c.times[kind]++; c.times[kind] <= foundMost {
		c.found = append(c.found, Finding{kind, where, fmt.Sprintf(format, args...)})
	}
}

func (c *check) integrity(ctx context.Context, deep bool) error {
	if c.s.Shared() {
		return nil // its own tools do that: pg_amcheck
	}
	query := `PRAGMA quick_check`
	if deep {
		query = `PRAGMA integrity_check`
	}
	return each(ctx, c, func(rows *sql.Rows) error {
		var line string
		err := rows.Scan(&line)
		if err == nil && line != "ok" {
			c.find(FoundDamage, "the file", "%s", line)
		}
		return err
	}, query)
}

// target is a target's record with what is left of its history.
type target struct {
	policy.Target
	lastN, counted, forgiven, closedN int
	rows, low, high                   int // attempts on record
	counting                          int // of them, that count
	openBefore                        int // of them, open ones that are not the last
}

func (c *check) targets(ctx context.Context) error {
	return each(ctx, c, func(rows *sql.Rows) error {
		var t target
		err := rows.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &t.lastN, &t.counted, &t.forgiven, &t.closedN, &t.rows, &t.low, &t.high, &t.counting, &t.openBefore)
		c.target(t)
		return err
	}, `SELECT t.project_id, t.task_id, t.device_id, last_n, counted, forgiven_n, closed_n, count(a.n), coalesce(min(a.n), 0), coalesce(max(a.n), 0),
			count(*) FILTER (WHERE a.n > forgiven_n AND a.state <> 'released'), count(*) FILTER (WHERE a.n <> last_n AND a.`+openWords+`)
		FROM targets t LEFT JOIN attempts a ON a.project_id = t.project_id AND a.task_id = t.task_id AND a.device_id = t.device_id
		GROUP BY t.project_id, t.task_id, t.device_id`)
}

// target holds the record to its history, of which retention deletes the oldest part.
func (c *check) target(t target) {
	where := place(t.Target)
	whole := t.rows > 0 && t.rows == t.high-t.low+1 && t.low <= t.forgiven+1
	switch {
	case t.counted < t.counting || t.counted < 0:
		c.find(FoundLow, where, "%d attempts are counted, and %d on record count", t.counted, t.counting)
	case whole && t.counted > t.counting:
		c.find(FoundHigh, where, "%d attempts are counted, and %d on record count", t.counted, t.counting)
	case t.counted > t.lastN-t.forgiven && t.forgiven <= t.lastN:
		c.find(FoundHigh, where, "%d attempts are counted, and %d were made since it was forgiven", t.counted, t.lastN-t.forgiven)
	}
	switch {
	case t.rows > 0 && t.high != t.lastN:
		c.find(FoundNumbers, where, "the last attempt is number %d, and the highest on record is %d", t.lastN, t.high)
	case t.rows > 0 && t.rows != t.high-t.low+1:
		c.find(FoundNumbers, where, "of the attempts %d to %d only %d are on record", t.low, t.high, t.rows)
	case t.openBefore > 0:
		c.find(FoundNumbers, where, "an attempt before the last is open")
	case t.forgiven > t.lastN || t.forgiven < 0:
		c.find(FoundNumbers, where, "attempts up to number %d are forgiven, and the last is %d", t.forgiven, t.lastN)
	case t.closedN > t.counted:
		c.find(FoundNumbers, where, "it was closed at %d attempts, and %d are counted", t.closedN, t.counted)
	}
}

func place(t policy.Target) string {
	return fmt.Sprintf("project %s, task %s, device %s", t.ProjectID, t.TaskID, t.DeviceID)
}

// twice looks for what the indices over open attempts keep out, as long as they are there.
func (c *check) twice(ctx context.Context) error {
	return each(ctx, c, func(rows *sql.Rows) error {
		var project, what string
		var n int
		err := rows.Scan(&project, &what, &n)
		c.find(FoundTwice, fmt.Sprintf("project %s, %s", project, what), "%d attempts are open at once", n)
		return err
	}, `SELECT project_id, 'device ' || device_id, count(*) FROM attempts WHERE `+openWords+` AND device_id <> '*' GROUP BY project_id, device_id HAVING count(*) > 1
		UNION ALL SELECT project_id, 'task ' || task_id || ' as a whole', count(*) FROM attempts WHERE `+openWords+` AND device_id = '*' GROUP BY project_id, task_id HAVING count(*) > 1`)
}

func (c *check) orphans(ctx context.Context) error {
	return each(ctx, c, func(rows *sql.Rows) error {
		var t policy.Target
		var n int
		err := rows.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &n)
		c.find(FoundOrphan, place(t), "attempt %d is open, and the target has no record", n)
		return err
	}, `SELECT project_id, task_id, device_id, n FROM attempts a WHERE `+openWords+` AND NOT EXISTS (
			SELECT 1 FROM targets t WHERE t.project_id = a.project_id AND t.task_id = a.task_id AND t.device_id = a.device_id)`)
}

// claims looks for claims that a daemon which is alive should have given up long ago; those of
// one that is not are given up when the next one starts.
func (c *check) claims(ctx context.Context) error {
	now := c.s.Now()
	return each(ctx, c, func(rows *sql.Rows) error {
		var t policy.Target
		var n int
		var sendBy int64
		err := rows.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &n, &sendBy)
		c.find(FoundClaim, place(t), "attempt %d is claimed, and its call was over at %s", n, stamp(fromMicros(sendBy)))
		return err
	}, `SELECT project_id, task_id, device_id, n, send_by FROM attempts JOIN leases ON leases.budget = attempts.budget
		WHERE state = 'claimed' AND send_by < ? AND holder <> '' AND expires_at > ?`, micros(now.Add(-time.Hour)), micros(now))
}

// openWords is openStates by what an attempt is called, which the indices do not go by.
const openWords = `state IN ('claimed', 'accepted', 'unknown')`

// settled looks for attempts that are open by their state and not by when they were settled, or the other way.
func (c *check) settled(ctx context.Context) error {
	return each(ctx, c, func(rows *sql.Rows) error {
		var t policy.Target
		var n int
		var state string
		var at int64
		err := rows.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &n, &state, &at)
		what := "was never settled"
		if at > 0 {
			what = "was settled at " + stamp(fromMicros(at))
		}
		c.find(FoundNumbers, place(t), "attempt %d is %s, and %s", n, state, what)
		return err
	}, `SELECT project_id, task_id, device_id, n, state, settled_at FROM attempts WHERE (`+openWords+`) <> (`+openStates+`)`)
}

// words are all that retryd writes into a column.
var words = []struct {
	table, column string
	known         []string
}{
	{"attempts", "state", []string{"claimed", "accepted", "rejected", "unknown", "released", "recovered", "failed", "gone"}},
	{"targets", "state", []string{"", "accepted", "rejected", "unknown", "recovered", "failed", "gone"}},
	{"targets", "closed_outcome", []string{"", "recovered", "gone", "exhausted", "permanent", "expired", "resolved_elsewhere"}},
	{"pauses", "scope", []string{"all", "connection", "policy", "task", "device"}},
	{"halts", "scope", []string{"task", "policy"}},
	{"notices", "event", []string{"exhausted", "permanent", "expired", "halted", "connection_down", "connection_up", "awaiting_approval"}},
	{"ticks", "result", []string{"", "complete", "partial", "failed", "skipped"}},
}

func (c *check) words(ctx context.Context) error {
	for _, w := range words {
		known, err := list(w.known)
		if err != nil {
			return err
		}
		err = each(ctx, c, func(rows *sql.Rows) error {
			var word string
			var n int
			err := rows.Scan(&word, &n)
			c.find(FoundWord, "table "+w.table+", column "+w.column, "%q, in %d rows", word, n)
			return err
		}, `SELECT `+w.column+`, count(*) FROM `+w.table+` WHERE `+w.column+` NOT IN (@list) GROUP BY `+w.column, known)
		if err != nil {
			return err
		}
	}
	return nil
}

// sums holds the sums of ends to the targets.
func (c *check) sums(ctx context.Context) error {
	return each(ctx, c, func(rows *sql.Rows) error {
		var project, task, outcome string
		var sum, count int
		err := rows.Scan(&project, &task, &outcome, &sum, &count)
		c.find(FoundSum, fmt.Sprintf("project %s, task %s", project, task), "%d targets are summed up as %s, and %d are that", sum, outcome, count)
		return err
	}, `SELECT project_id, task_id, outcome, sum(summed), sum(counted) FROM (
			SELECT project_id, task_id, outcome, count AS summed, 0 AS counted FROM ends
			UNION ALL SELECT project_id, task_id, ended, 0, count(*) FROM targets WHERE ended <> '' AND device_id <> '*' GROUP BY project_id, task_id, ended
		) AS sides GROUP BY project_id, task_id, outcome HAVING sum(summed) <> sum(counted)`)
}
