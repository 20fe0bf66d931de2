package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// authMax is how many refused calls there may be with one credential within a time that the
	// caller names.
	authMax = 2
	// authKept is how long one is remembered, which is longer than any such time.
	authKept = 2 * time.Hour
	// credentials is the part of the ledger that the refusals are.
	credentials = "credentials"
)

// BeginAuth writes that a call with credentials that are not proven is about to be made,
// which counts as a failure until EndAuth says otherwise. Where there are two within that time
// already it writes nothing and gives the moment when the next may be made. hash names the
// credentials without showing them.
func (s *Store) BeginAuth(ctx context.Context, hash string, within time.Duration) (id int64, until time.Time, err error) {
	err = s.txIn(ctx, credentials, func(tx *tx) error {
		now := tx.now
		if _, err := tx.ExecContext(ctx, `DELETE FROM auth_failures WHERE at <= ? OR at > ?`,
			micros(now.Add(-authKept)), micros(now.Add(within))); err != nil { // the latter were written before a clock was put back
			return err
		}
		var n int
		var first int64
		err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(min(at), 0) FROM (SELECT at FROM auth_failures WHERE hash = ? AND at > ? ORDER BY at DESC LIMIT ?) AS latest`,
			hash, micros(now.Add(-within)), authMax).Scan(&n, &first)
		if err != nil {
			return err
		}
		if n >= authMax {
			until = fromMicros(first).Add(within)
			return nil
		}
		return tx.QueryRowContext(ctx, `INSERT INTO auth_failures (hash, at, open) VALUES (?, ?, TRUE) RETURNING id`, hash, micros(now)).Scan(&id)
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("write down a use of the credentials: %w", err)
	}
	return id, until, nil
}

// EndAuth writes what came of the call: a refusal stays on record, as of now.
func (s *Store) EndAuth(ctx context.Context, id int64, refused bool) error {
	return s.txIn(ctx, credentials, func(tx *tx) error {
		query, args := `DELETE FROM auth_failures WHERE id = ?`, []any{id}
		if refused {
			query, args = `UPDATE auth_failures SET open = FALSE, at = ? WHERE id = ?`, []any{micros(tx.now), id}
		}
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// AdoptAuth takes over what another ledger remembers of refused credentials.
func (s *Store) AdoptAuth(ctx context.Context, from *Store) error {
	type row struct {
		hash string
		at   int64
	}
	var all []row
	err := each(ctx, from.read, func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.hash, &r.at)
		all = append(all, r)
		return err
	}, `SELECT hash, at FROM auth_failures`)
	if err != nil {
		return fmt.Errorf("read refused credentials: %w", err)
	}
	return s.txIn(ctx, credentials, func(tx *tx) error {
		for _, r := range all {
			if _, err := tx.ExecContext(ctx, `INSERT INTO auth_failures (hash, at, open) VALUES (?, ?, FALSE)`, r.hash, r.at); err != nil {
				return err
			}
		}
		return nil
	})
}

// RefusedAuth writes that credentials that had been accepted were refused.
func (s *Store) RefusedAuth(ctx context.Context, hash string) error {
	return s.txIn(ctx, credentials, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO auth_failures (hash, at, open) VALUES (?, ?, FALSE)`, hash, micros(tx.now))
		return err
	})
}
