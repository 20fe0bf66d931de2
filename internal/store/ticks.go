package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Tick is one sweep of one policy on one connection.
type Tick struct {
	Policy, Connection string
	Tick               time.Time // when it was due
	Started, Finished  time.Time
	Result             string         // complete, partial, failed or skipped
	Why                string         // it was skipped; ByHand = a person asked for it
	Missed             int            // earlier ticks that it stands for: they fell due while something else went on
	Counts             map[string]int // targets by reason
	States             map[string]int // tasks by what holds them back
	Limits             map[string]int // capped targets by limit
	Sent               map[string]int // attempts by answer
	Problems           []string       // why it is not complete
}

// ByHand is why a sweep took place that no tick is due to.
const ByHand = "by hand"

// Baseline gives the last finished tick, or the moment when the policy was first seen on
// the connection: a policy is due when its schedule has a tick after it.
func (s *Store) Baseline(ctx context.Context, policyName, connection string) (time.Time, error) {
	err := s.txIn(ctx, ticksOf(connection), func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO policies (policy, connection, first_seen) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			policyName, connection, micros(tx.now))
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	var baseline int64
	err = s.read.QueryRowContext(ctx, `SELECT @max(first_seen, coalesce(
			(SELECT max(tick) FROM ticks t WHERE t.policy = p.policy AND t.connection = p.connection AND finished_at > 0 AND why <> ?), 0))
		FROM policies p WHERE policy = ? AND connection = ?`, ByHand, policyName, connection).Scan(&baseline)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the last tick of policy %s: %w", policyName, err)
	}
	return fromMicros(baseline), nil
}

// StartTick writes that a sweep has begun. It tells whether that is the first time for the
// tick: after a crash it begins once more.
func (s *Store) StartTick(ctx context.Context, t Tick) (first bool, err error) {
	err = s.txIn(ctx, ticksOf(t.Connection), func(tx *tx) error {
		first, err = execOne(ctx, tx, `INSERT INTO ticks (policy, connection, tick, started_at, missed, why) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			t.Policy, t.Connection, micros(t.Tick), micros(t.Started), t.Missed, t.Why)
		if err != nil || first {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE ticks SET started_at = ?, missed = CASE WHEN finished_at = 0 THEN ? ELSE missed END
			WHERE policy = ? AND connection = ? AND tick = ?`, micros(t.Started), t.Missed, t.Policy, t.Connection, micros(t.Tick))
		return err
	})
	return first && err == nil, err
}

// SkipTick writes that a tick, with the earlier ones that it stands for, is left out. It may have
// begun before, and not ended.
func (s *Store) SkipTick(ctx context.Context, t Tick) error {
	return s.txIn(ctx, ticksOf(t.Connection), func(tx *tx) error {
		now := micros(tx.now)
		_, err := tx.ExecContext(ctx, `INSERT INTO ticks (policy, connection, tick, started_at, finished_at, result, why, missed)
			VALUES (?, ?, ?, ?, ?, 'skipped', ?, ?) ON CONFLICT (policy, connection, tick) DO UPDATE SET finished_at = excluded.finished_at,
				result = excluded.result, why = excluded.why, missed = excluded.missed WHERE ticks.finished_at = 0`, t.Policy, t.Connection, micros(t.Tick), now, now, t.Why, t.Missed)
		return err
	})
}

// Ticks lists the sweeps of a policy on a connection, the oldest first.
func (s *Store) Ticks(ctx context.Context, policyName, connection string) (ticks []Tick, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		t := Tick{Policy: policyName, Connection: connection}
		var tick, started, finished int64
		err := rows.Scan(&tick, &started, &finished, &t.Result, &t.Why, &t.Missed)
		t.Tick, t.Started, t.Finished = fromMicros(tick), fromMicros(started), fromMicros(finished)
		ticks = append(ticks, t)
		return err
	}, `SELECT tick, started_at, finished_at, result, why, missed FROM ticks WHERE policy = ? AND connection = ? ORDER BY tick`, policyName, connection)
	if err != nil {
		return nil, fmt.Errorf("read the sweeps of policy %s: %w", policyName, err)
	}
	return ticks, nil
}

// FirstSeen gives when the policy was first seen on the connection; the zero time if it
// never was.
func (s *Store) FirstSeen(ctx context.Context, policyName, connection string) (time.Time, error) {
	var at int64
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(first_seen), 0) FROM policies WHERE policy = ? AND connection = ?`, policyName, connection).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when policy %s was first seen: %w", policyName, err)
	}
	return fromMicros(at), nil
}

// FinishTick writes what a sweep came to.
func (s *Store) FinishTick(ctx context.Context, t Tick) error {
	var kept [5]string
	for i, part := range []any{t.Counts, t.States, t.Limits, t.Sent, t.Problems} {
		text, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("write down a sweep's counts: %w", err)
		}
		kept[i] = string(text)
	}
	return s.txIn(ctx, ticksOf(t.Connection), func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ticks SET finished_at = ?, result = ?, counts = ?, states = ?, limits = ?, sent = ?, problems = ?
			WHERE policy = ? AND connection = ? AND tick = ?`,
			micros(t.Finished), t.Result, kept[0], kept[1], kept[2], kept[3], kept[4], t.Policy, t.Connection, micros(t.Tick))
		return err
	})
}

// LastComplete gives the last sweep that read every task; ok is false if there was none.
func (s *Store) LastComplete(ctx context.Context, policyName, connection string) (t Tick, ok bool, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) (err error) {
		t, err = scanTick(rows)
		ok = err == nil
		return err
	}, `SELECT `+tickColumns+` FROM ticks WHERE policy = ? AND connection = ? AND result = 'complete' ORDER BY tick DESC LIMIT 1`, policyName, connection)
	if err != nil {
		return Tick{}, false, fmt.Errorf("read the last sweep of policy %s: %w", policyName, err)
	}
	return t, ok, nil
}

// ticksOf is the part of the ledger that the sweeps of a connection are.
func ticksOf(connection string) string { return "ticks of " + connection }
