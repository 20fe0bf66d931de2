package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

func (s *Store) openFile(ctx context.Context) error {
	if err := s.file(ctx); err != nil {
		return err
	}
	var err error
	if s.opened, err = os.Stat(s.o.Path); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	if s.read, err = openSQLite(s.o.Path, "ro"); err != nil {
		return err
	}
	if s.o.ReadOnly {
		return s.checkVersion(ctx)
	}
	if s.write, err = openSQLite(s.o.Path, "rw"); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.o.Join {
		return s.checkVersion(ctx)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	copier, err := openSQLite(s.o.Path, "rw")
	if err != nil {
		return err
	}
	s.copies = newCheckpoints(copier, s.groups.of(groupKey{s.write, ""}))
	return s.adopt(ctx)
}

func (s *Store) openMemory(ctx context.Context) error {
	raw, err := openPrepared("file::memory:?" + pragmas)
	if err != nil {
		return err
	}
	s.write = wrap(raw, sqlite)
	s.write.SetMaxOpenConns(1) // each further connection would be another, empty database
	s.read = s.write
	return s.migrate(ctx)
}

// tryLock tries for a moment, as those who look whether the lock is held hold it while they look.
func (s *Store) tryLock(ctx context.Context) (bool, error) {
	brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	locked, err := s.lock.TryLockContext(brief, 10*time.Millisecond)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return locked, err
}

// Driven tells whether a process that may sweep has the ledger open, where that can be known: the
// system takes the lock away from a process that has ended, however it did.
func (s *Store) Driven() (driven, known bool) {
	switch {
	case s.Shared() || s.o.Path == "":
		return false, false
	case s.lock != nil:
		return true, true
	}
	look := flock.New(s.o.Path+".lock", flock.SetFlag(os.O_RDONLY))
	free, err := look.TryRLock()
	if free {
		err = look.Unlock()
	}
	return !free, err == nil
}

// file sees that the file is there and, for a writer, that nobody else writes it.
func (s *Store) file(ctx context.Context) error {
	path := s.o.Path
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("ledger %s: %w: create it, or set store.url", path, ErrNoFolder)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && (!s.o.Create || s.o.Join) {
		return fmt.Errorf("ledger %s: %w", path, ErrNoLedger)
	}
	if s.o.Create && !s.o.ReadOnly && !s.o.Join { // a volume that is nobody's yet
		if err := tryFolder(filepath.Dir(path)); err != nil {
			return fmt.Errorf("ledger %s: %w", path, err)
		}
	}
	if err := mayOpen(path, !s.o.ReadOnly); err != nil {
		return fmt.Errorf("ledger %w", err)
	}
	if s.o.ReadOnly || s.o.Join {
		return nil
	}
	if err := tryFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	if err := makeLock(path + ".lock"); err != nil {
		return fmt.Errorf("ledger %s: its lock cannot be made: %w", path, err)
	}
	s.lock = flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := s.tryLock(ctx)
	if err != nil {
		return fmt.Errorf("ledger %s: its lock cannot be taken: %w; retryd runs as uid %d, which needs to write in that folder", path, err, os.Getuid())
	}
	if !locked {
		return fmt.Errorf("ledger %s: %w", path, ErrLocked)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) { // looked again: who had the lock may have made it
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := errors.Join(handOver(f), f.Close()); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return nil
}

// inPlace tells whether the file that is open is the one that the next start will open: what is
// written into one that was deleted, or moved away, is forgotten with the process.
func (s *Store) inPlace() error {
	if s.opened == nil {
		return nil
	}
	if info, err := os.Stat(s.o.Path); err != nil || !os.SameFile(info, s.opened) {
		return fmt.Errorf("ledger %s was deleted, or another file was put in its place: put it back, or a backup of it, and restart retryd", s.o.Path)
	}
	return nil
}

// synchronous(2) is FULL: a commit is on the disk before the request that it is for. The write-ahead log
// is copied into the ledger beside the commits, by checkpoints; a commit does so only where it finds
// 16,000 pages of 4 KB. The log is cut back to 16 MB once it has been larger. The cache is in KB; what is not in
// it is read again for each claim.
const pragmas = "_pragma=busy_timeout(10000)&_pragma=synchronous(2)&_pragma=wal_autocheckpoint(16000)&_pragma=journal_size_limit(16777216)&_pragma=cache_size(-8000)&_txlock=immediate"

func openSQLite(path, mode string) (*db, error) {
	query := pragmas + "&mode=" + mode
	if mode == "rw" {
		query += "&_pragma=journal_mode(WAL)"
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	raw, err := openPrepared((&url.URL{Scheme: "file", Path: absolute, RawQuery: query}).String())
	if err != nil {
		return nil, err
	}
	return wrap(raw, sqlite), nil
}

// Sizes gives the bytes of the ledger and of its write-ahead log; those of PostgreSQL's, which
// is not the ledger's alone, are 0.
func (s *Store) Sizes() (ledger, wal int64) {
	if s.Shared() {
		return s.postgresSize(), 0
	}
	for name, size := range map[string]*int64{s.o.Path: &ledger, s.o.Path + "-wal": &wal} {
		if info, err := os.Stat(name); err == nil {
			*size = info.Size()
		}
	}
	return ledger, wal
}
