package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNoCopy is the error of copying a ledger that is not in a file.
var ErrNoCopy = errors.New("PostgreSQL is backed up by its own tools")

// CopyTo makes a file of the ledger as it is at one moment, beside a daemon that may write it. It
// overwrites none. When it returns the copy is on the disk.
func (s *Store) CopyTo(ctx context.Context, file string) error {
	if s.o.Path == "" {
		return ErrNoCopy
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return copyTo(ctx, s.read, file)
}

func copyTo(ctx context.Context, db *db, file string) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite would make it for all to read
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("copy the ledger: %s is there already, and is not overwritten", file)
	case err != nil:
		return fmt.Errorf("copy the ledger: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file) // half a copy would be taken for one
		}
	}()
	if err := handOver(f); err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, file)
	if err = errors.Join(explain(err), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("copy the ledger to %s: %w", file, err)
	}
	folder, err := os.Open(filepath.Dir(file))
	if err == nil {
		err = errors.Join(folder.Sync(), folder.Close())
	}
	if err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return nil
}
