package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// tx is a transaction that takes statements as they are written here.
type tx struct {
	*sql.Tx
	d    *dialect
	now  time.Time // later than that of each one that it waited for
	sums tally
	// whole is the context of a transaction that several share: none may be cut off, which would end it
	// for all. nil = a statement runs under its caller's.
	whole context.Context
}

// under gives the context that a statement runs under.
func (t *tx) under(ctx context.Context) context.Context {
	if t.whole != nil {
		return t.whole
	}
	return ctx
}

// within leaves it to the transaction how long it may take.
func (*tx) within(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }

// failed leaves the counting to whoever ends the transaction.
func (*tx) failed(err error) error { return explain(err) }

// ExecContext runs a statement.
func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.Tx.ExecContext(t.under(ctx), t.d.spell(query), cleaned(args)...)
}

// QueryContext runs a query.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.Tx.QueryContext(t.under(ctx), t.d.spell(query), cleaned(args)...)
}

// QueryRowContext runs a query that gives one row at most.
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) row {
	return t.Tx.QueryRowContext(t.under(ctx), t.d.spell(query), cleaned(args)...)
}

// tx runs f in one transaction that writes, while nobody else writes anything: SQLite has one
// writer anyway.
func (s *Store) tx(ctx context.Context, f func(*tx) error) error { return s.txIn(ctx, "", f) }

// txIn runs f in one transaction that writes, while nobody else writes in the same part of the
// ledger, which is a project or what else the callers agree on. What is written with tx waits
// for it, and keeps it waiting: so a pause is in force for every claim that follows it, and
// knows every claim before it. Where others write the same part at that moment, they share the
// transaction, one after the other.
func (s *Store) txIn(ctx context.Context, part string, f func(*tx) error) (err error) {
	start := time.Now()
	defer func() {
		s.health.note(err)
		if s.o.Observe != nil {
			s.o.Observe(time.Since(start), ended(err))
		}
	}()
	if s.write == nil {
		return errors.New("the ledger is open for reading only")
	}
	if !s.Shared() { // it has one writer
		part = ""
	}
	err = s.groups.of(groupKey{s.write, part}).join(&member{of: s, ctx: ctx, f: f}, part) //nolint:contextcheck // it is the member's
	if err == nil {
		s.copies.committed() //nolint:contextcheck // it goes on when the caller has ended
	}
	return err
}

// transact runs f in one transaction.
func (s *Store) transact(ctx context.Context, part string, f func(context.Context, *tx) error) error {
	if s.Shared() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	if err := s.inPlace(); err != nil {
		return err
	}
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to write the ledger: %w", explain(err))
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing; after an error that error counts
	w := &tx{Tx: t, d: s.write.d, now: s.Now()}
	if s.Shared() {
		if err := w.lock(ctx, part, s.o.Clock == nil); err != nil {
			return fmt.Errorf("begin to write the ledger: %w", explain(err))
		}
	}
	if err := f(ctx, w); err != nil {
		return err
	}
	if err := w.sum(ctx); err != nil {
		return fmt.Errorf("write the ledger: %w", explain(err))
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit to the ledger: %w", explain(err))
	}
	return nil
}

// longest is how long a transaction, or a read, on a database that is shared may take: longer than the
// session's own limits for a lock and a statement together. A server that is there and says nothing would
// else never be given up on.
const longest = 50 * time.Second

// lockSpace keeps retryd's locks apart from those of others in the same database: "rtry".
const lockSpace = 0x72747279

// lock takes the lock of a part of the ledger until the transaction ends; all of it where no
// part is named. The database's clock is read once the lock is there: what one transaction
// dates is then in the order in which they ran, whichever replica they are of.
func (t *tx) lock(ctx context.Context, part string, dated bool) error {
	query, args := `SELECT pg_advisory_xact_lock(?)::text, ''`, []any{lockSpace}
	if part != "" {
		query = `SELECT pg_advisory_xact_lock_shared(?)::text, pg_advisory_xact_lock(?, hashtext(?))::text`
		args = []any{lockSpace, lockSpace, part}
	}
	var micros int64
	var nothing string
	err := t.QueryRowContext(ctx, query+`, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`, args...).Scan(&nothing, &nothing, &micros)
	if dated && err == nil {
		t.now = fromMicros(micros)
	}
	return err
}
