package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// HourRow is how many outcomes an hour had. A recovery stays one where its target read Fail again later.
type HourRow struct {
	Hour               time.Time // its start
	Policy, Connection string
	Outcome            string // of an attempt (recovered, failed, gone, rejected), or another end of a target
	N                  int    // counted attempts of the target by then, at most 20
	Count              int
}

// Hours gives outcomes by the hour since a moment, the oldest first. The first hour is the one that
// the moment is in.
func (s *Store) Hours(ctx context.Context, since time.Time) (hours []HourRow, err error) {
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var h HourRow
		var hour int64
		err := r.Scan(&hour, &h.Policy, &h.Connection, &h.Outcome, &h.N, &h.Count)
		h.Hour = fromMicros(hour)
		hours = append(hours, h)
		return err
	}, `SELECT hour, policy, connection, outcome, n, count FROM hours WHERE hour >= ? ORDER BY hour, policy, connection, outcome, n`, micros(since.Truncate(time.Hour)))
	if err != nil {
		return nil, fmt.Errorf("read outcomes by the hour: %w", err)
	}
	return hours, nil
}
