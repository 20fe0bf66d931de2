package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"retryd/internal/policy"
)

const (
	// forgetFirst is how many rows are deleted at first, and forgetMost how many at once at most.
	forgetFirst, forgetMost = 50, 200
	// forgetLeast is how many it is on a disk on which nothing is quick.
	forgetLeast = 25
	// forgetGoal is how long a step may take; after one that took longer the next deletes fewer rows.
	forgetGoal = 20 * time.Millisecond
	// forgetRest is the least time between two steps, in which others write.
	forgetRest = 5 * time.Millisecond
)

// Forget deletes history that is older than keep: attempts that have come to their
// outcome, and sweeps but the last of each policy. Counts are kept, they are the targets', for
// as long as their task is there and for keep after it has gone.
// It returns how many attempts it deleted.
//
// It does so in small steps, each a transaction of its own, and claims go on in between. What it
// frees in SQLite's file is used by later writes: the file does not shrink, and grows only while
// more is written than is deleted. A VACUUM would keep every claim waiting while it copies the
// ledger.
func (s *Store) Forget(ctx context.Context, keep time.Duration) (attempts int, err error) {
	before := micros(s.Now().Add(-keep))
	attempts, err = s.forget(ctx, retention, "attempts", `settled_at > 0 AND settled_at < ? ORDER BY settled_at`, before)
	if err != nil {
		return attempts, err
	}
	if err := s.forgetTicks(ctx, before); err != nil {
		return attempts, err
	}
	const ended = `CASE WHEN ended_at > 0 THEN ended_at ELSE until END BETWEEN 1 AND ?`
	for _, d := range []struct{ part, table, where string }{
		{retention, "pauses", ended}, {retention, "approvals", `until < ?`}, {retention, "halts", ended},
		{requesting, "requests", ended}, // whoever takes one ends those that nobody has begun
	} {
		if _, err := s.forget(ctx, d.part, d.table, d.where, before); err != nil {
			return attempts, err
		}
	}
	if err := s.forgetSums(ctx, before); err != nil {
		return attempts, err
	}
	if err := s.forgetGone(ctx, before); err != nil { // of whose progress one row is left by then
		return attempts, err
	}
	return attempts, s.forgetNotices(ctx)
}

// keepSums is how long outcomes by the hour are kept, or as long as all else where that is longer:
// they are few, and show what became of a fleet over the years.
const keepSums = 2 * 365 * 24 * time.Hour

// forgetSums keeps of each task's progress what held at that moment, and holds until the next row.
func (s *Store) forgetSums(ctx context.Context, before int64) error {
	_, err := s.forget(ctx, retention, "progress", `at < ? AND EXISTS (SELECT 1 FROM progress p WHERE p.project_id = progress.project_id
		AND p.task_id = progress.task_id AND p.at > progress.at AND p.at <= ?)`, before, before)
	if err != nil {
		return err
	}
	_, err = s.forget(ctx, retention, "hours", `hour < ?`, min(before, micros(s.Now().Add(-keepSums))))
	return err
}

// retention is the part of the ledger that nobody else writes: what has come to its end.
const retention = "retention"

// forgetTicks keeps the last sweep with each result: they are what a policy is due by, and what
// gauges are restored from.
func (s *Store) forgetTicks(ctx context.Context, before int64) error {
	for last := (pair{}); ; {
		// From one to the next: whose sweeps there are is a small part of how many.
		err := s.read.QueryRowContext(ctx, `SELECT policy, connection FROM ticks WHERE (policy, connection) > (?, ?) ORDER BY policy, connection LIMIT 1`,
			last.policy, last.connection).Scan(&last.policy, &last.connection)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read whose sweeps there are: %w", explain(err))
		}
		// A sweep does not start before its tick: older ticks are found by the key.
		_, err = s.forget(ctx, ticksOf(last.connection), "ticks", `policy = ? AND connection = ? AND tick < ? AND started_at < ? AND tick NOT IN (
			SELECT max(tick) FROM ticks WHERE policy = ? AND connection = ? AND finished_at > 0 GROUP BY result, why)`,
			last.policy, last.connection, before, before, last.policy, last.connection)
		if err != nil {
			return err
		}
	}
}

// forgetGone deletes the counts of tasks that are gone for good: what cannot be retried again
// needs none. Each step looks whether that still holds.
func (s *Store) forgetGone(ctx context.Context, before int64) error {
	type key struct{ project, task string }
	var gone []key
	err := each(ctx, s.read, func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.project, &k.task)
		gone = append(gone, k)
		return err
	}, `SELECT project_id, task_id FROM tasks WHERE gone_at > 0 AND gone_at < ?`, before)
	if err != nil {
		return fmt.Errorf("read which tasks are gone: %w", err)
	}
	const of = `project_id = ? AND task_id = ?`
	for _, k := range gone {
		_, err := s.forgetBy(ctx, deleteTargets, k.project, "targets", of+` AND EXISTS (SELECT 1 FROM tasks WHERE `+of+` AND gone_at > 0 AND gone_at < ?)
			AND NOT EXISTS (SELECT 1 FROM attempts WHERE `+of+` AND `+openStates+`)`, k.project, k.task, k.project, k.task, before, k.project, k.task)
		if err != nil {
			return err
		}
		_, err = s.forgetBy(ctx, deleteTasks, k.project, "tasks", of+` AND gone_at > 0 AND gone_at < ? AND NOT EXISTS (SELECT 1 FROM targets WHERE `+of+`)`,
			k.project, k.task, before, k.project, k.task)
		if err != nil {
			return err
		}
	}
	return nil
}

// forget deletes rows in steps, and rests after each for as long as it took.
func (s *Store) forget(ctx context.Context, part, table, where string, args ...any) (deleted int, err error) {
	return s.forgetBy(ctx, execCount, part, table, where, args...)
}

// forgetBy does it with a function that deletes what a statement names.
func (s *Store) forgetBy(ctx context.Context, remove func(context.Context, *tx, string, ...any) (int, error), part, table, where string, args ...any) (deleted int, err error) {
	var more bool // most often there is nothing to be done, and then nobody waits
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+table+` WHERE `+where+`)`, args...).Scan(&more); err != nil {
		return 0, fmt.Errorf("look for old %s: %w", table, explain(err))
	}
	for rows := forgetFirst; more; {
		var begun time.Time // its turn
		var n int
		err := s.txIn(ctx, part, func(tx *tx) (err error) {
			begun = time.Now()
			n, err = remove(ctx, tx, `DELETE FROM `+table+` WHERE @row IN (SELECT @row FROM `+table+` WHERE `+where+` LIMIT ?)`, append(slices.Clone(args), rows)...)
			return err
		})
		if err != nil {
			return deleted, fmt.Errorf("delete old %s: %w", table, err)
		}
		deleted += n
		more = n == rows
		took := time.Since(begun)
		rows = nextStep(rows, took)
		select {
		case <-ctx.Done():
			return deleted, ctx.Err()
		case <-time.After(max(forgetRest, took)):
		}
	}
	return deleted, nil
}

// nextStep gives how many rows to delete after a step of so many that took so long.
func nextStep(rows int, took time.Duration) int {
	switch {
	case took > forgetGoal:
		rows /= 2
	case took < forgetGoal/2:
		rows += rows / 2
	}
	return min(max(rows, forgetLeast), forgetMost)
}

// deleteTargets takes what it deletes out of the sums of ends too: the task may come back meanwhile.
func deleteTargets(ctx context.Context, tx *tx, query string, args ...any) (n int, err error) {
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var t policy.Target
		var ended string
		err := rows.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &ended)
		tx.end(t, ended, -1)
		n++
		return err
	}, query+` RETURNING project_id, task_id, device_id, ended`, args...)
	return n, err
}

// deleteTasks deletes what is summed up of them in the same transaction: nobody would look for it later.
func deleteTasks(ctx context.Context, tx *tx, query string, args ...any) (int, error) {
	var gone []policy.Target
	err := each(ctx, tx, func(rows *sql.Rows) error {
		var t policy.Target
		err := rows.Scan(&t.ProjectID, &t.TaskID)
		gone = append(gone, t)
		return err
	}, query+` RETURNING project_id, task_id`, args...)
	for _, t := range gone {
		for _, table := range []string{"ends", "progress"} {
			if err == nil {
				_, err = tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE project_id = ? AND task_id = ?`, t.ProjectID, t.TaskID)
			}
		}
	}
	return len(gone), err
}
