package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

func (s *Store) migrate(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("find the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, folder)
	if err != nil {
		return fmt.Errorf("prepare the ledger's schema: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the ledger's schema up to date: %w", err)
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('created_at', ?) ON CONFLICT (key) DO NOTHING`,
		s.Now().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("date the ledger: %w", err)
	}
	return nil
}

// schemaVersion is the number of the last migration that this program knows.
const schemaVersion = 1

// checkVersion refuses a schema that this program does not know: an older retryd that
// writes a newer ledger would miss checks that the newer one relies on.
func (s *Store) checkVersion(ctx context.Context) error {
	var tables int
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'`).Scan(&tables)
	if err != nil {
		return fmt.Errorf("read ledger %s: %w", s.o.Path, err)
	}
	version := 0
	if tables > 0 {
		if err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
			return fmt.Errorf("read the ledger's schema version: %w", err)
		}
	}
	switch {
	case version > schemaVersion:
		return fmt.Errorf("ledger %s has schema %d, this program knows %d: %w", s.o.Path, version, schemaVersion, ErrNewer)
	case version < schemaVersion && s.o.ReadOnly:
		return fmt.Errorf("ledger %s has schema %d, this program reads %d: start `retryd run` once to bring it up to date", s.o.Path, version, schemaVersion)
	}
	return nil
}

// CreatedAt gives when the ledger was made.
func (s *Store) CreatedAt(ctx context.Context) (time.Time, error) {
	var text string
	if err := s.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'created_at'`).Scan(&text); err != nil {
		return time.Time{}, fmt.Errorf("read the ledger's date: %w", err)
	}
	return time.Parse(time.RFC3339, text)
}
