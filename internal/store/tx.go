package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// tx is a transaction that prepares each statement once, however many rows it is run for.
type tx struct {
	*sql.Tx
	prepared map[string]*sql.Stmt
}

func (t *tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := t.prepared[query]; s != nil {
		return s, nil
	}
	s, err := t.PrepareContext(ctx, query) // closed with the transaction
	if err == nil {
		t.prepared[query] = s
	}
	return s, err
}

// ExecContext runs a statement.
func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := t.prepare(ctx, query) //nolint:sqlclosecheck // it is closed with the transaction
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs a query.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := t.prepare(ctx, query) //nolint:sqlclosecheck // it is closed with the transaction
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// QueryRowContext runs a query that gives one row at most.
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := t.prepare(ctx, query) //nolint:sqlclosecheck // it is closed with the transaction
	if err != nil {
		return t.Tx.QueryRowContext(ctx, query, args...) // it says the same
	}
	return s.QueryRowContext(ctx, args...)
}

// tx runs f in one transaction that writes.
func (s *Store) tx(ctx context.Context, f func(*tx) error) (err error) {
	start := time.Now()
	if s.o.Observe != nil {
		defer func() { s.o.Observe(time.Since(start), err) }()
	}
	if s.write == nil {
		return errors.New("the ledger is open for reading only")
	}
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to write the ledger: %w", err)
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing; after an error that error counts
	if err := f(&tx{t, map[string]*sql.Stmt{}}); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit to the ledger: %w", err)
	}
	return nil
}
