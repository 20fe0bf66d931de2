package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gofrs/flock"
)

// Options say which ledger to open, and how.
type Options struct {
	// Path of the SQLite file. Empty, with no URL either, means a ledger in memory, which is
	// gone with Close.
	Path string
	// URL of a PostgreSQL database, which several processes can share.
	URL string
	// Create makes the ledger where there is none.
	Create bool
	// ReadOnly opens it without the right, or the lock, to write.
	ReadOnly bool
	// Join opens it to write beside the process that holds the lock: for what a person says,
	// and for refused credentials. Whoever joins claims nothing.
	Join bool
	// Clock is the ledger's clock; nil = the machine's, or the database's on PostgreSQL.
	Clock func() time.Time
	// Observe is told how long each write took and how it ended, with a *GateError or ErrFenced
	// in the chain where it was refused; nil = nobody.
	Observe func(time.Duration, error)
	// ObserveRead is told of each read that failed, but for those that their caller gave up; nil =
	// nobody.
	ObserveRead func(error)
}

// Store is an open ledger. Its methods may be called at the same time.
type Store struct {
	o       Options
	write   *db // on SQLite one connection: it has one writer
	read    *db
	leasing *db    // PostgreSQL's for the leases alone: they do not wait for claims that wait for each other
	clock   *clock // of PostgreSQL
	lock    *flock.Flock
	opened  fs.FileInfo // of SQLite's file as it was opened
	lease   *Lease      // that what is written is written under; nil = none
	groups  *groups
	copies  *checkpoints // of SQLite's log; nil = commits do it
	size    *size
	health  *health
	created bool
	backup  string // made before the schema was changed
}

// ErrNoLedger is in the chain of the error for a ledger that does not exist and that the
// caller may not create: an empty one would have forgotten every attempt.
var ErrNoLedger = errors.New("there is no ledger")

// ErrLocked is in the chain of the error for a ledger that another process writes.
var ErrLocked = errors.New("the ledger is in use by another retryd")

// ErrNewer is in the chain of the error for a ledger that a newer retryd has written.
var ErrNewer = errors.New("the ledger was written by a newer retryd")

// Open opens a ledger and brings its schema up to date. A writer of SQLite holds an operating
// system's lock on a file beside it, which ends with the process, and turns claims that a
// dead process left behind into unknown attempts; on PostgreSQL a lease does that.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, groups: newGroups(), size: &size{}, health: &health{}}
	open := s.openFile
	switch {
	case o.URL != "":
		open = s.openPostgres
	case o.Path == "":
		open = s.openMemory
	}
	if err := open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.read.note = s.noteRead
	return s, nil
}

// Close closes the ledger and lets the next process write it.
func (s *Store) Close() error {
	errs := []error{s.copies.close()}
	for _, db := range []*db{s.read, s.write, s.leasing} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Shared tells whether several processes can drive retries by this ledger, each under leases.
func (s *Store) Shared() bool { return s.o.URL != "" }

// Created tells whether the ledger was made anew, and nobody has said so yet with Announce.
func (s *Store) Created() bool { return s.created }

// Backup gives the file that Open copied the ledger to before it changed its schema, empty
// if it did not.
func (s *Store) Backup() string { return s.backup }

// Now is the ledger's clock, which every row and every decision is dated by: the database's
// where several processes share it.
func (s *Store) Now() time.Time {
	now := time.Now
	switch {
	case s.o.Clock != nil:
		now = s.o.Clock
	case s.clock != nil:
		now = s.clock.now
	}
	return now().UTC().Truncate(time.Microsecond)
}

// Writable tells whether the ledger takes a write now, and can be relied on: once it was found
// damaged it cannot, until it is opened anew.
func (s *Store) Writable(ctx context.Context) error {
	if err := s.health.damage(); err != nil {
		return err
	}
	return s.txIn(ctx, "probe", func(tx *tx) error {
		// Another value each time: SQLite does not write what is there already.
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('probe', 'tick')
			ON CONFLICT (key) DO UPDATE SET value = CASE meta.value WHEN 'tick' THEN 'tock' ELSE 'tick' END`)
		return err
	})
}

// CreatedAt gives when the ledger was made.
func (s *Store) CreatedAt(ctx context.Context) (time.Time, error) {
	var text string
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'created_at'`).Scan(&text); err != nil {
		return time.Time{}, fmt.Errorf("read the ledger's date: %w", explain(err))
	}
	return time.Parse(time.RFC3339, text)
}

// ID gives the name that the ledger has had since it was made, wherever it is: a copy has the same.
func (s *Store) ID(ctx context.Context) (id string, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'id'`).Scan(&id); err != nil {
		return "", fmt.Errorf("read the ledger's id: %w", explain(err))
	}
	return id, nil
}

// micros is how a time is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// wrap is a database with its dialect.
func wrap(raw *sql.DB, d *dialect) *db { return &db{DB: raw, d: d} }
