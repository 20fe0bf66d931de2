package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Subscription is what a receiver is told of, and who tells it.
type Subscription struct {
	Name        string
	Events      []Event
	All         bool     // of every policy, and of every connection
	Policies    []string // else of these
	Connections []string // and of these connections' own events
	Batch       time.Duration
	Holder      string        // replica that sends
	Hold        time.Duration // for which no other one does
}

// Subscribe makes receivers known that are not yet: they are told of what is written from now on.
func (s *Store) Subscribe(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	return s.tx(ctx, func(tx *tx) error { // nobody else writes: no smaller id comes later
		for _, name := range names {
			_, err := tx.ExecContext(ctx, `INSERT INTO receivers (name, sent) SELECT ?, coalesce(max(id), 0) FROM notices WHERE TRUE ON CONFLICT DO NOTHING`, name)
			if err != nil {
				return fmt.Errorf("add receiver %q: %w", name, err)
			}
		}
		return nil
	})
}

// Unsubscribe forgets receivers: one of the same name would be a new one.
func (s *Store) Unsubscribe(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	rows, err := list(names)
	if err != nil {
		return err
	}
	return s.txIn(ctx, receivers, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM receivers WHERE name IN (@list)`, rows)
		return err
	})
}

// receivers is the part of the ledger that says how far each receiver has been told.
const receivers = "receivers"

// ErrNotSubscribed is in the chain of the error for a receiver that is not known.
var ErrNotSubscribed = errors.New("the receiver is not known to the ledger")

// cursor is how far a receiver has been told.
type cursor struct {
	sent, first, last int64
	tries             int
	next, heldUntil   time.Time
	holder            string
}

func (s *Store) cursor(ctx context.Context, q queryer, name string) (c cursor, err error) {
	var next, held int64
	err = q.QueryRowContext(ctx, `SELECT sent, first_id, last_id, tries, next_at, holder, held_until FROM receivers WHERE name = ?`, name).
		Scan(&c.sent, &c.first, &c.last, &c.tries, &next, &c.holder, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("receiver %q: %w", name, ErrNotSubscribed)
	}
	c.next, c.heldUntil = fromMicros(next), fromMicros(held)
	if !s.Shared() { // whoever held it is dead
		c.heldUntil = time.Time{}
	}
	return c, explain(err)
}

// farBehind is how many notices that a receiver is not told of may lie after its cursor, where
// each look passes them.
const farBehind = 1000

// atOnce is a moment that has passed.
var atOnce = time.UnixMicro(1)

// due gives when there is something to do for a receiver, the zero time where nothing is.
func (s *Store) due(ctx context.Context, q queryer, sub Subscription) (at time.Time, err error) {
	c, err := s.cursor(ctx, q, sub.Name)
	if err != nil {
		return at, err
	}
	where, args, err := sub.where()
	if err != nil {
		return at, err
	}
	var end, begun int64
	err = q.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(id), 0) FROM notices), coalesce((SELECT at FROM notices WHERE id > ? AND `+where+` ORDER BY id LIMIT 1), 0)`,
		append([]any{c.sent}, args...)...).Scan(&end, &begun)
	switch {
	case err != nil:
		return at, explain(err)
	case c.last > 0:
		at = later(c.next, atOnce)
	case begun > 0:
		at = later(fromMicros(begun).Add(sub.Batch), c.next)
	case end-c.sent > farBehind:
		at = atOnce
	default:
		return at, nil
	}
	if c.holder != sub.Holder {
		at = later(at, c.heldUntil)
	}
	return at, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// where gives the condition for the notices that the receiver is told of.
func (sub Subscription) where() (string, []any, error) {
	events := make([]string, len(sub.Events))
	for i, e := range sub.Events {
		events[i] = string(e)
	}
	lists := [][]string{events}
	where := `event IN (@list)`
	if !sub.All {
		where += ` AND (policy IN (@list) OR policy = '' AND connection IN (@list))`
		lists = append(lists, sub.Policies, sub.Connections)
	}
	var args []any
	for _, texts := range lists {
		rows, err := list(texts)
		if err != nil {
			return "", nil, err
		}
		args = append(args, rows)
	}
	return where, args, nil
}

// NextDigest gives what is to be sent to a receiver now; nil = nothing is, and something may be
// at next, where that is known. A digest is begun in the ledger before it is given: it is the same
// one, with the same id, until it is said to be sent, whoever asks. While a replica has it, no
// other one gets it. Notices that are older than a day are dropped, and dropped says how many.
func (s *Store) NextDigest(ctx context.Context, sub Subscription) (d *Digest, dropped int, next time.Time, err error) {
	due := func(q queryer, now time.Time) bool {
		next, err = s.due(ctx, q, sub)
		return err == nil && !next.IsZero() && !next.After(now)
	}
	if !due(s.read, s.Now()) {
		return nil, 0, next, err
	}
	// Nobody else writes: no notice with a smaller id than the last of the digest comes later.
	err = s.tx(ctx, func(tx *tx) error {
		if !due(tx, tx.now) { // another replica has it
			return err
		}
		d, dropped, err = s.beginDigest(ctx, tx, sub)
		return err
	})
	if err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("begin a digest for %q: %w", sub.Name, err)
	}
	return d, dropped, next, nil
}

func (s *Store) beginDigest(ctx context.Context, tx *tx, sub Subscription) (*Digest, int, error) {
	c, err := s.cursor(ctx, tx, sub.Name)
	if err != nil {
		return nil, 0, err
	}
	where, args, err := sub.where()
	if err != nil {
		return nil, 0, err
	}
	// count tells how many of the receiver's notices there are after the cursor, and which.
	count := func(and string, more ...any) (n int, first, last int64, err error) {
		err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM notices WHERE id > ? AND `+where+and,
			append(append([]any{c.sent}, args...), more...)...).Scan(&n, &first, &last)
		return n, first, last, err
	}
	// Only what lies before all that is younger is dropped: a clock that was wrong for a moment has
	// dated a few in between.
	fresh, old, _, err := count(` AND at >= ?`, micros(tx.now.Add(-noticeLife)))
	if old--; err == nil && fresh == 0 {
		_, _, old, err = count(``)
	}
	if err != nil {
		return nil, 0, err
	}
	dropped, _, _, err := count(` AND id <= ?`, old)
	if err != nil {
		return nil, 0, err
	}
	if dropped > 0 { // what is left of the digest is another one
		c.sent, c.first, c.last = old, 0, 0
	}
	_, first, last, err := count(` AND id <= ?`, c.last)
	if err == nil && (c.last == 0 || first != c.first || last != c.last) { // or it is told of other things by now
		_, c.first, c.last, err = count(``)
	}
	if err != nil {
		return nil, 0, err
	}
	if c.last == 0 { // it is told of nothing that there is
		if err := tx.QueryRowContext(ctx, `SELECT @max(?, coalesce(max(id), 0)) FROM notices`, c.sent).Scan(&c.sent); err != nil {
			return nil, 0, err
		}
		_, err := tx.ExecContext(ctx, `UPDATE receivers SET sent = ?, first_id = 0, last_id = 0, tries = 0, next_at = 0, error = '' WHERE name = ?`, c.sent, sub.Name)
		return nil, dropped, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE receivers SET sent = ?, first_id = ?, last_id = ?, holder = ?, held_until = ? WHERE name = ?`,
		c.sent, c.first, c.last, sub.Holder, micros(tx.now.Add(sub.Hold)), sub.Name)
	if err != nil {
		return nil, 0, err
	}
	d, err := readDigest(ctx, tx, c, where, args)
	return d, dropped, err
}

// DigestSent writes that a digest was sent. Nothing is written where another replica has it.
func (s *Store) DigestSent(ctx context.Context, sub Subscription, d *Digest) error {
	return s.txIn(ctx, receivers, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE receivers SET sent = last_id, first_id = 0, last_id = 0, tries = 0, next_at = 0, error = '', held_until = 0
			WHERE name = ? AND holder = ? AND first_id = ? AND last_id = ?`, sub.Name, sub.Holder, d.First, d.Last)
		return err
	})
}

// DigestFailed writes that a digest could not be sent, and how long it rests before the next try.
func (s *Store) DigestFailed(ctx context.Context, sub Subscription, d *Digest, why string, rest time.Duration) error {
	return s.txIn(ctx, receivers, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE receivers SET tries = tries + 1, next_at = ?, error = ?, held_until = 0
			WHERE name = ? AND holder = ? AND first_id = ? AND last_id = ?`, micros(tx.now.Add(rest)), why, sub.Name, sub.Holder, d.First, d.Last)
		return err
	})
}
