package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Options say which ledger to open, and how.
type Options struct {
	// Path of the SQLite file. Empty means a ledger in memory, which is gone with Close.
	Path string
	// Create makes the file where there is none.
	Create bool
	// ReadOnly opens it without the right, or the lock, to write.
	ReadOnly bool
	// Join opens it to write beside the process that holds the lock: for what a person says,
	// and for refused credentials. Whoever joins claims nothing.
	Join bool
	// Clock is the ledger's clock; nil = the machine's.
	Clock func() time.Time
	// Observe is told how long each write took and how it ended; nil = nobody.
	Observe func(time.Duration, error)
}

// Store is an open ledger. Its methods may be called at the same time.
type Store struct {
	o       Options
	write   *sql.DB // one connection: SQLite has one writer
	read    *sql.DB
	lock    *flock.Flock
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

// Open opens a ledger and brings its schema up to date. A writer holds an operating
// system's lock on a file beside it, which ends with the process, and turns claims that a
// dead process left behind into unknown attempts.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if s.o.Path == "" {
		return s.openMemory(ctx)
	}
	if err := s.file(); err != nil {
		return err
	}
	var err error
	if s.read, err = openFile(s.o.Path, "ro"); err != nil {
		return err
	}
	if s.o.ReadOnly {
		return s.checkVersion(ctx)
	}
	if s.write, err = openFile(s.o.Path, "rw"); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.o.Join {
		return s.checkVersion(ctx)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	return s.adopt(ctx)
}

func (s *Store) openMemory(ctx context.Context) (err error) {
	if s.write, err = sql.Open("sqlite", "file::memory:?"+pragmas); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1) // each further connection would be another, empty database
	s.read, s.created = s.write, true
	return s.migrate(ctx)
}

// file sees that the file is there and, for a writer, that nobody else writes it.
func (s *Store) file() error {
	path := s.o.Path
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("ledger %s: its folder does not exist: create it, or set store.url", path)
	}
	_, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && (!s.o.Create || s.o.Join) {
		return fmt.Errorf("ledger %s: %w", path, ErrNoLedger)
	}
	if s.o.ReadOnly || s.o.Join {
		return nil
	}
	s.lock = flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := s.lock.TryLock()
	if err != nil {
		return fmt.Errorf("ledger %s: its lock cannot be taken: %w; retryd runs as uid %d, which needs to write in that folder", path, err, os.Getuid())
	}
	if !locked {
		return fmt.Errorf("ledger %s: %w", path, ErrLocked)
	}
	if !missing {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	s.created = true
	return f.Close()
}

// synchronous(2) is FULL: a commit is on the disk before the request that it is for.
const pragmas = "_pragma=busy_timeout(10000)&_pragma=synchronous(2)&_txlock=immediate"

func openFile(path, mode string) (*sql.DB, error) {
	query := pragmas + "&mode=" + mode
	if mode == "rw" {
		query += "&_pragma=journal_mode(WAL)"
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: absolute, RawQuery: query}).String())
}

// Close closes the ledger and lets the next process write it.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Created tells whether Open made the ledger anew.
func (s *Store) Created() bool { return s.created }

// Backup gives the file that Open copied the ledger to before it changed its schema, empty
// if it did not.
func (s *Store) Backup() string { return s.backup }

// Now is the ledger's clock, which every row and every decision is dated by.
func (s *Store) Now() time.Time {
	now := time.Now
	if s.o.Clock != nil {
		now = s.o.Clock
	}
	return now().UTC().Truncate(time.Microsecond)
}

// Sizes gives the bytes of the ledger's file and of its write-ahead log.
func (s *Store) Sizes() (ledger, wal int64) {
	for name, size := range map[string]*int64{s.o.Path: &ledger, s.o.Path + "-wal": &wal} {
		if info, err := os.Stat(name); err == nil {
			*size = info.Size()
		}
	}
	return ledger, wal
}

// Writable tells whether the ledger takes a write now.
func (s *Store) Writable(ctx context.Context) error {
	return s.tx(ctx, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('probe', '') ON CONFLICT (key) DO UPDATE SET value = ''`)
		return err
	})
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
