package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// ReadFrom has a ledger read from another handle of the same database, which it closes in the end.
func ReadFrom(s *Store, from *sql.DB) (err error) {
	if s.read.DB != s.write.DB { // as with SQLite
		err = s.read.Close()
	}
	s.read = wrap(from, s.read.d)
	return err
}

// Hold keeps what is written to a project waiting until release, and gives how much of it waits.
func Hold(s *Store, projectID string) (waiting func() int, release func()) {
	if !s.Shared() {
		projectID = ""
	}
	g := s.groups.of(groupKey{s.write, projectID})
	g.turn <- struct{}{}
	return func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.waiting)
	}, func() { <-g.turn }
}

// Broken writes a row, and then fails: by what the database says, or by what the caller does.
func Broken(ctx context.Context, s *Store, projectID, statement string, cause error) error {
	return s.txIn(ctx, projectID, func(tx *tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('broken', '')`); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
		return cause
	})
}

// WriteTo has a ledger written by another handle of the same database, which it closes in the end.
func WriteTo(s *Store, to *sql.DB) (err error) {
	if s.read.DB != s.write.DB {
		err = s.write.Close()
	}
	to.SetMaxOpenConns(1)
	s.write = wrap(to, s.write.d)
	return err
}

// Copied waits until the log has been copied, if it is being copied.
func Copied(s *Store) {
	s.copies.mu.Lock()
	defer s.copies.mu.Unlock()
}

// NextStep is how many rows retention deletes after a step.
var NextStep = nextStep

// Impatient has reads given up on after a time.
func Impatient(s *Store, after time.Duration) { s.read.wait = after }

// OpenPrepared opens SQLite as a ledger is opened.
var OpenPrepared = openPrepared

// MaxKept is how many statements a connection keeps.
const MaxKept = maxKept

// Preparing has the connections of a connector keep their statements; what it asks of them is in the other two.
func Preparing(c driver.Connector) driver.Connector { return preparing{c} }

type (
	SQLiteConn = sqliteConn
	SQLiteStmt = sqliteStmt
)
