package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// groups have writes that are ready at one moment share a transaction, and so one wait for the disk:
// whatever comes while one is being committed goes together into the next.
type groups struct {
	mu sync.Mutex
	m  map[groupKey]*group
}

type groupKey struct {
	by   *db // that writes
	part string
}

// group is the writes of one part of the ledger that wait for the one before them.
type group struct {
	turn chan struct{} // holds one token while a transaction is under way

	mu      sync.Mutex
	waiting []*member
}

// member is one write. done is written before the token of its group's turn is given back.
type member struct {
	of   *Store
	ctx  context.Context
	f    func(*tx) error
	done bool
	err  error
}

// maxGroup is how many writes share a transaction at most: a group keeps others waiting as long as
// it takes.
const maxGroup = 32

func newGroups() *groups { return &groups{m: map[groupKey]*group{}} }

func (g *groups) of(key groupKey) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m[key] == nil {
		g.m[key] = &group{turn: make(chan struct{}, 1)}
	}
	return g.m[key]
}

// join writes with those that are ready now. Whoever comes first writes for all.
func (g *group) join(m *member, part string) error {
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	g.mu.Unlock()
	select {
	case g.turn <- struct{}{}:
	case <-m.ctx.Done():
		if g.leave(m) {
			return m.ctx.Err()
		}
		g.turn <- struct{}{} // it is being written: what came of that has to be known
	}
	defer func() { <-g.turn }()
	if !m.done {
		m.of.writeAll(g.take(m), part)
	}
	return m.err
}

// leave takes a write back that nobody has begun.
func (g *group) leave(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, m)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// take gives the writes that share the next transaction, its leader's among them.
func (g *group) take(leader *member) []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), maxGroup)
	if i := slices.Index(g.waiting, leader); i >= n { // it leads, so it comes along
		g.waiting[i], g.waiting[n-1] = g.waiting[n-1], leader
	}
	members := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return members
}

// writeAll writes for some in one transaction: each wholly or not at all, and none where the
// transaction fails.
func (s *Store) writeAll(members []*member, part string) {
	ctx := members[0].ctx
	if len(members) > 1 { // what one of them gives up, the others do not
		ctx = context.WithoutCancel(ctx)
	}
	err := s.transact(ctx, part, func(ctx context.Context, t *tx) error {
		begun := t.now
		for i, m := range members {
			t.now = begun.Add(time.Duration(i) * time.Microsecond) // each is later than the one before
			if err := m.write(ctx, t, len(members) > 1); err != nil {
				return err
			}
		}
		return nil
	})
	for _, m := range members {
		if m.done = true; err != nil {
			m.err = err
		}
	}
}

// write writes one of them. An error is that of the transaction, which has failed for all.
func (m *member) write(ctx context.Context, t *tx, several bool) error {
	one := &tx{Tx: t.Tx, d: t.d, now: t.now}
	if several {
		one.whole = ctx
	}
	err := func() error {
		if !several {
			return m.run(ctx, one)
		}
		if m.err = m.ctx.Err(); m.err != nil {
			return nil //nolint:nilerr // the others go on
		}
		if _, err := t.ExecContext(ctx, `SAVEPOINT one`); err != nil {
			return err
		}
		if m.err = m.run(ctx, one); m.err != nil {
			if _, err := t.ExecContext(ctx, `ROLLBACK TO SAVEPOINT one`); err != nil { // the database has undone all of it
				return m.err
			}
		}
		_, err := t.ExecContext(ctx, `RELEASE SAVEPOINT one`)
		return err
	}()
	if err == nil && m.err == nil {
		t.sums.add(one.sums)
	}
	return err
}

func (m *member) run(ctx context.Context, t *tx) error {
	if err := m.of.fence(ctx, t); err != nil {
		return fmt.Errorf("begin to write the ledger: %w", explain(err))
	}
	if err := m.f(t); err != nil {
		return fmt.Errorf("write the ledger: %w", explain(err))
	}
	return nil
}
