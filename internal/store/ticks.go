package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Tick is one sweep of one policy on one connection.
type Tick struct {
	Policy, Connection string
	Tick               time.Time // when it was due
	Started, Finished  time.Time
	Result             string         // complete, partial or failed
	Counts             map[string]int // targets by reason
}

// Baseline gives the last finished tick, or the moment when the policy was first seen on
// the connection: a policy is due when its schedule has a tick after it.
func (s *Store) Baseline(ctx context.Context, policyName, connection string) (time.Time, error) {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO policies (policy, connection, first_seen) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			policyName, connection, micros(s.Now()))
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	var baseline int64
	err = s.read.QueryRowContext(ctx, `SELECT max(first_seen, coalesce(
			(SELECT max(tick) FROM ticks t WHERE t.policy = p.policy AND t.connection = p.connection AND finished_at > 0), 0))
		FROM policies p WHERE policy = ? AND connection = ?`, policyName, connection).Scan(&baseline)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the last tick of policy %s: %w", policyName, err)
	}
	return fromMicros(baseline), nil
}

// StartTick writes that a sweep has begun.
func (s *Store) StartTick(ctx context.Context, t Tick) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO ticks (policy, connection, tick, started_at) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET started_at = excluded.started_at`, t.Policy, t.Connection, micros(t.Tick), micros(t.Started))
		return err
	})
}

// FinishTick writes what a sweep came to.
func (s *Store) FinishTick(ctx context.Context, t Tick) error {
	counts, err := json.Marshal(t.Counts)
	if err != nil {
		return fmt.Errorf("write down a sweep's counts: %w", err)
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ticks SET finished_at = ?, result = ?, counts = ?
			WHERE policy = ? AND connection = ? AND tick = ?`,
			micros(t.Finished), t.Result, string(counts), t.Policy, t.Connection, micros(t.Tick))
		return err
	})
}

// LastComplete gives the last sweep that read every task; ok is false if there was none.
func (s *Store) LastComplete(ctx context.Context, policyName, connection string) (t Tick, ok bool, err error) {
	var tick, started, finished int64
	var counts string
	t = Tick{Policy: policyName, Connection: connection, Result: "complete"}
	err = s.read.QueryRowContext(ctx, `SELECT tick, started_at, finished_at, counts FROM ticks
		WHERE policy = ? AND connection = ? AND result = 'complete' ORDER BY tick DESC LIMIT 1`, policyName, connection).
		Scan(&tick, &started, &finished, &counts)
	if errors.Is(err, sql.ErrNoRows) {
		return Tick{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(counts), &t.Counts)
	}
	if err != nil {
		return Tick{}, false, fmt.Errorf("read the last sweep of policy %s: %w", policyName, err)
	}
	t.Tick, t.Started, t.Finished = fromMicros(tick), fromMicros(started), fromMicros(finished)
	return t, true, nil
}
