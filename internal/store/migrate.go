package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// A file is one statement to goose: to find where each ends it takes 4 MB a line.
//
//go:embed migrations/*/*.sql
var migrations embed.FS

func (s *Store) migrate(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	if version, err := s.version(ctx); err != nil || version < schemaVersion {
		if err := errors.Join(err, s.backUp(ctx), s.upgrade(ctx)); err != nil {
			return err
		}
	}
	_, err := s.write.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('created_at', ?) ON CONFLICT (key) DO NOTHING`,
		s.Now().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("date the ledger: %w", explain(err))
	}
	err = s.write.QueryRowContext(ctx, `SELECT count(*) = 0 FROM meta WHERE key = 'announced'`).Scan(&s.created)
	if err != nil {
		return fmt.Errorf("read whether the ledger is new: %w", explain(err))
	}
	return nil
}

// Announce writes down that the ledger is new, after everything that has to be done with a new
// one: until then each Open says so, also where the process that made it came to no end.
func (s *Store) Announce(ctx context.Context, a Action) error {
	return s.tx(ctx, func(tx *tx) error {
		first, err := execOne(ctx, tx, `INSERT INTO meta (key, value) VALUES ('announced', '') ON CONFLICT (key) DO NOTHING`)
		if err != nil || !first { // another replica has
			return err
		}
		return act(ctx, tx, a, nil)
	})
}

// upgrade brings the schema up to date.
func (s *Store) upgrade(ctx context.Context) error {
	folder, err := fs.Sub(migrations, s.write.d.migrations)
	if err != nil {
		return fmt.Errorf("find the migrations: %w", err)
	}
	var options []goose.ProviderOption
	if s.Shared() { // several processes may start at once
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockSpace+1), lock.WithLockTimeout(1, 120)) // seconds
		if err != nil {
			return fmt.Errorf("prepare the ledger's schema: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(s.write.d.goose, s.write.DB, folder, options...)
	if err != nil {
		return fmt.Errorf("prepare the ledger's schema: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the ledger's schema up to date: %w", explain(err))
	}
	return nil
}

// schemaVersion is the number of the last migration that this program knows.
const schemaVersion = 5

// checkVersion refuses a schema that this program does not know: an older retryd that
// writes a newer ledger would miss checks that the newer one relies on.
func (s *Store) checkVersion(ctx context.Context) error {
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	switch {
	case version == 0 && !s.o.Create && s.o.Path != "":
		return fmt.Errorf("ledger %s has nothing in it: %w; put the ledger back that was there, if there was one", s.Where(), ErrNoLedger)
	case version > schemaVersion:
		return fmt.Errorf("ledger %s has schema %d, this program knows %d: %w", s.Where(), version, schemaVersion, ErrNewer)
	case version < schemaVersion && (s.o.ReadOnly || s.o.Join):
		return fmt.Errorf("ledger %s has schema %d, this program reads %d: start `retryd run` once to bring it up to date", s.Where(), version, schemaVersion)
	}
	return nil
}

func (s *Store) version(ctx context.Context) (version int, err error) {
	var there bool
	query := `SELECT count(*) > 0 FROM sqlite_master WHERE name = 'goose_db_version'`
	if s.Shared() {
		query = `SELECT to_regclass('goose_db_version') IS NOT NULL`
	}
	q := s.read
	if s.write != nil { // who may only read cannot undo what a killed process left half done
		q = s.write
	}
	if err := q.QueryRowContext(ctx, query).Scan(&there); err != nil {
		return 0, fmt.Errorf("read ledger %s: %w", s.Where(), explain(err))
	}
	if there {
		if err := q.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
			return 0, fmt.Errorf("read the ledger's schema version: %w", explain(err))
		}
	}
	return version, nil
}

// backUp copies a ledger whose schema is about to be changed to a file beside it.
func (s *Store) backUp(ctx context.Context) error {
	version, err := s.version(ctx)
	if err != nil || version == 0 || version == schemaVersion || s.Shared() { // PostgreSQL is backed up by its own means
		return err
	}
	file := fmt.Sprintf("%s.schema-%d.bak", s.o.Path, version)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that did not come to its end
		return fmt.Errorf("back up the ledger: %w", err)
	}
	if err := copyTo(ctx, s.write, file); err != nil {
		return fmt.Errorf("back up the ledger before its schema is changed: %w", err)
	}
	s.backup = file
	return nil
}
