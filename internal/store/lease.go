package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Lease is the right to drive a budget: to call the platform for its connections, and to write
// what comes of it. Whoever takes the budget over raises the token, and what is written under
// the one before is refused from then on.
type Lease struct {
	Budget string
	Token  int64
	Holder string // id of the replica
}

// ErrFenced is in the chain of the error of a write under a lease that is not held any more.
var ErrFenced = errors.New("another replica drives the budget now")

// Under gives the ledger for what is done under a lease: each write looks, in its transaction,
// whether the lease is still held, and is refused with ErrFenced where it is not.
func (s *Store) Under(l Lease) *Store {
	under := *s
	under.lease = &l
	return &under
}

// held is the lease that is written under; a zero one if it is none.
func (s *Store) held() Lease {
	if s.lease == nil {
		return Lease{}
	}
	return *s.lease
}

func (s *Store) fence(ctx context.Context, tx *tx) error {
	if s.lease == nil {
		return nil
	}
	var token int64
	err := tx.QueryRowContext(ctx, `SELECT token FROM leases WHERE budget = ? AND holder = ?`, s.lease.Budget, s.lease.Holder).Scan(&token)
	if errors.Is(err, sql.ErrNoRows) || err == nil && token != s.lease.Token {
		return fmt.Errorf("budget %s, lease %d: %w", s.lease.Budget, s.lease.Token, ErrFenced)
	}
	return err
}

// Replica is a process that drives budgets, or would.
type Replica struct {
	ID, Host, Version string

	ConfigHash string
	Budgets    map[string][]string // in its configuration: the identities of each one's connections
	Started    time.Time
	Seen       time.Time // when it last said that it is alive
}

// Holding is how a budget is driven.
type Holding struct {
	Lease
	Acquired time.Time // when it changed hands last
	Renewed  time.Time // when its holder last said so
	Expires  time.Time
}

// Free tells whether nobody drives the budget.
func (h Holding) Free(now time.Time) bool { return h.Holder == "" || !h.Expires.After(now) }

// Leases gives all leases, by budget, and the replicas that were alive within a time.
func (s *Store) Leases(ctx context.Context, alive time.Duration) (held map[string]Holding, replicas []Replica, err error) {
	s = s.apart()
	if held, err = leases(ctx, s.read); err != nil {
		return nil, nil, err
	}
	replicas, err = seenSince(ctx, s.read, s.Now().Add(-alive))
	return held, replicas, err
}

func seenSince(ctx context.Context, q queryer, since time.Time) (replicas []Replica, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var r Replica
		var budgets string
		var started, seen int64
		if err := rows.Scan(&r.ID, &r.Host, &r.Version, &r.ConfigHash, &budgets, &started, &seen); err != nil {
			return err
		}
		r.Started, r.Seen = fromMicros(started), fromMicros(seen)
		if err := json.Unmarshal([]byte(budgets), &r.Budgets); err != nil {
			return err
		}
		replicas = append(replicas, r)
		return nil
	}, `SELECT id, host, version, config_hash, budgets, started_at, seen_at FROM replicas WHERE seen_at > ? ORDER BY id`, micros(since))
	if err != nil {
		return nil, fmt.Errorf("read the replicas: %w", err)
	}
	return replicas, nil
}

func leases(ctx context.Context, q queryer) (map[string]Holding, error) {
	held := map[string]Holding{}
	err := each(ctx, q, func(rows *sql.Rows) error {
		var h Holding
		var acquired, renewed, expires int64
		if err := rows.Scan(&h.Budget, &h.Token, &h.Holder, &acquired, &renewed, &expires); err != nil {
			return err
		}
		h.Acquired, h.Renewed, h.Expires = fromMicros(acquired), fromMicros(renewed), fromMicros(expires)
		held[h.Budget] = h
		return nil
	}, `SELECT budget, token, holder, acquired_at, renewed_at, expires_at FROM leases`)
	if err != nil {
		return nil, fmt.Errorf("read the leases: %w", err)
	}
	return held, nil
}

// Acquired is what taking a budget came to.
type Acquired struct {
	Lease
	Before    Holding   // how it was driven before; a zero Renewed = it never was
	At        time.Time // on the ledger's clock
	Abandoned int       // claims of the one before, which are unknown attempts now
	Taken     string    // why it was not taken; empty = it was
}

// Acquire takes a budget for a time, unless another replica holds it, or holds under another
// name a budget with one of the same connections. On SQLite, where there is one process, what
// others held ended with them.
func (s *Store) Acquire(ctx context.Context, budget string, by Replica, ttl time.Duration) (a Acquired, err error) {
	s = s.apart()
	err = s.tx(ctx, func(tx *tx) error { // nobody else writes: what was claimed under the lease before is all there
		now := tx.now
		all, err := leases(ctx, tx)
		if err != nil {
			return err
		}
		var over []string
		if a.Taken, over, err = s.taken(ctx, tx, all, budget, by, now); err != nil || a.Taken != "" {
			return err
		}
		a.At, a.Before = now, all[budget]
		a.Lease = Lease{Budget: budget, Token: a.Before.Token + 1, Holder: by.ID}
		_, err = tx.ExecContext(ctx, `INSERT INTO leases (budget, token, holder, acquired_at, renewed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (budget) DO UPDATE SET token = excluded.token, holder = excluded.holder,
				acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at`,
			budget, a.Token, by.ID, micros(now), micros(now), micros(now.Add(ttl)))
		if err != nil {
			return err
		}
		a.Abandoned, err = abandonClaims(ctx, tx, `budget = ? AND token < ?`, budget, a.Token)
		for _, other := range over {
			if err == nil {
				err = end(ctx, tx, other, &a.Abandoned)
			}
		}
		return err
	})
	if err != nil {
		return Acquired{}, fmt.Errorf("take budget %s: %w", budget, err)
	}
	return a, nil
}

// end ends a lease that has expired, which is not to be renewed, and counts its claims.
func end(ctx context.Context, tx *tx, budget string, abandoned *int) error {
	_, err := tx.ExecContext(ctx, `UPDATE leases SET token = token + 1, holder = '' WHERE budget = ?`, budget)
	if err != nil {
		return err
	}
	n, err := abandonClaims(ctx, tx, `budget = ?`, budget)
	*abandoned += n
	return err
}

// taken says who keeps a budget from being taken, empty if nobody does; and which budgets with
// one of the same connections others have held for longer than their leases.
func (s *Store) taken(ctx context.Context, tx *tx, all map[string]Holding, budget string, by Replica, now time.Time) (why string, over []string, err error) {
	if !s.Shared() {
		return "", nil, nil
	}
	replicas, err := seenSince(ctx, tx, time.Time{})
	if err != nil {
		return "", nil, err
	}
	hosts := map[string]string{}
	for _, r := range replicas {
		hosts[r.ID] = " on " + r.Host
		for other, identities := range r.Budgets {
			if r.ID != by.ID && all[other].Holder == r.ID && other != budget && overlap(identities, by.Budgets[budget]) {
				over = append(over, other)
			}
		}
	}
	for _, other := range append([]string{budget}, over...) {
		if h := all[other]; h.Holder != by.ID && !h.Free(now) {
			return fmt.Sprintf("budget %s is driven by %s%s until %s, unless that renews it", other, h.Holder, hosts[h.Holder], stamp(h.Expires)), nil, nil
		}
	}
	return "", over, nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(one string) bool { return slices.Contains(b, one) })
}

// apart gives the ledger through connections of its own.
func (s *Store) apart() *Store {
	if s.leasing == nil {
		return s
	}
	own := *s
	own.read, own.write = s.leasing, s.leasing
	return &own
}

// leasing is the part of the ledger that signs of life are.
const leasing = "leases"

// Renew says that the replica is alive, and holds what it holds for a further time. It gives
// the leases that it still holds, each with when it was renewed before.
func (s *Store) Renew(ctx context.Context, r Replica, ttl time.Duration) (mine map[string]Holding, err error) {
	s = s.apart()
	if s.Shared() { // a newer program may have changed the schema
		if err := errors.Join(s.readClock(ctx), s.checkVersion(ctx)); err != nil {
			return nil, err
		}
	}
	err = s.txIn(ctx, leasing, func(tx *tx) error {
		now := tx.now
		all, err := leases(ctx, tx)
		if err != nil {
			return err
		}
		mine = map[string]Holding{}
		for budget, h := range all {
			if h.Holder == r.ID {
				mine[budget] = h
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE leases SET renewed_at = ?, expires_at = ? WHERE holder = ?`, micros(now), micros(now.Add(ttl)), r.ID); err != nil {
			return err
		}
		if err := r.see(ctx, tx); err != nil {
			return err
		}
		// Others that are long dead, and on SQLite all others.
		dead := micros(now.Add(-time.Hour))
		if !s.Shared() {
			dead = micros(now) + 1
		}
		// One that may wake up and go on under its lease is remembered with what that is for.
		_, err = tx.ExecContext(ctx, `DELETE FROM replicas WHERE seen_at < ? AND id <> ? AND id NOT IN (SELECT holder FROM leases)`, dead, r.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("renew the leases: %w", err)
	}
	return mine, nil
}

// see writes that the replica is alive now, and what it is.
func (r Replica) see(ctx context.Context, tx *tx) error {
	budgets, err := json.Marshal(r.Budgets)
	if err != nil {
		return fmt.Errorf("name the budgets: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO replicas (id, host, version, config_hash, budgets, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET config_hash = excluded.config_hash, budgets = excluded.budgets, seen_at = excluded.seen_at`,
		r.ID, r.Host, r.Version, r.ConfigHash, string(budgets), micros(r.Started), micros(tx.now))
	return err
}

// Widen says that a budget which the replica drives has further connections now, unless another
// replica drives one of them under another name: then it says so in taken. It is written under
// the budget's lease.
func (s *Store) Widen(ctx context.Context, by Replica) (taken string, err error) {
	budget := s.held().Budget
	err = s.tx(ctx, func(tx *tx) error {
		all, err := leases(ctx, tx)
		if err != nil {
			return err
		}
		var over []string
		if taken, over, err = s.taken(ctx, tx, all, budget, by, tx.now); err != nil || taken != "" {
			return err
		}
		for _, other := range over {
			if err := end(ctx, tx, other, new(int)); err != nil {
				return err
			}
		}
		return by.see(ctx, tx)
	})
	if err != nil {
		return "", fmt.Errorf("widen budget %s: %w", budget, err)
	}
	return taken, nil
}

// Release gives a budget back, so that another replica need not wait for the lease to end.
func (s *Store) Release(ctx context.Context, l Lease) error {
	s = s.apart()
	return s.txIn(ctx, leasing, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE leases SET holder = '', expires_at = 0, renewed_at = ? WHERE budget = ? AND holder = ? AND token = ?`,
			micros(tx.now), l.Budget, l.Holder, l.Token)
		return err
	})
}

// Leave says that a replica will drive nothing any more.
func (s *Store) Leave(ctx context.Context, id string) error {
	s = s.apart()
	return s.txIn(ctx, leasing, func(tx *tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM replicas WHERE id = ?`, id)
		return err
	})
}
