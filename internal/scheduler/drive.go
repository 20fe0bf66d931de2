package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"retryd/internal/store"
)

// errLease is why nothing is sent although the process runs: the ledger has not renewed its lease.
var errLease = errors.New("the lease of the connection's budget is about to end: the ledger has not renewed it, and another replica may take over")

// drive is a budget as far as this replica drives it: calls the platform for its connections, and
// writes what comes of it. It outlives reloads.
type drive struct {
	ledger *store.Store
	shared bool // with other replicas: leases end
	budget string
	ttl    time.Duration

	// Of the replica that looks who is to drive what; it does so with Scheduler.applying.
	unheld    int       // looks in a row at which nobody held it
	said      string    // why it was not taken, as said last
	refused   string    // why it was not taken the last time
	refusedAt time.Time // when that was; zero = it has been taken since
	stoodIn   time.Time // when it was taken although it is another replica's to drive

	mu     sync.Mutex
	lease  store.Lease
	held   bool
	ends   time.Time       // of this machine's clocks; zero = with the process
	live   context.Context // ends with the lease
	end    context.CancelFunc
	timer  *time.Timer
	down   gap      // the last time in which nobody drove it
	covers []string // identities of the connections that it is held for
	by     string   // the other replica that drives it
}

// under gives the ledger under the lease: without one, each write is refused.
func (d *drive) under() *store.Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.held {
		return d.ledger.Under(store.Lease{Budget: d.budget})
	}
	return d.ledger.Under(d.lease)
}

// take begins to drive some connections under a lease that was asked for at begun.
func (d *drive) take(a store.Acquired, covers []string, begun time.Time) {
	d.unheld, d.said, d.refusedAt = 0, "", time.Time{}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lease, d.held, d.covers = a.Lease, true, covers
	d.note(a.Before.Renewed, a.At)
	d.prolong(begun)
}

// renewed goes on under a lease that was asked for at begun.
func (d *drive) renewed(begun, before, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held {
		d.note(before, now)
		d.prolong(begun)
	}
}

// prolong dates the lease from before it was asked for: what the database says is not sooner.
func (d *drive) prolong(begun time.Time) {
	if d.live == nil || d.live.Err() != nil {
		d.live, d.end = context.WithCancel(context.Background())
	}
	if !d.shared {
		return
	}
	d.ends = begun.Add(d.ttl)
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer = time.AfterFunc(time.Until(d.ends), d.end)
}

// lose ends driving at once.
func (d *drive) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = false
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.end != nil {
		d.end()
	}
	d.live = nil
}

// setBy notes which other replica drives it, and tells whether that is news.
func (d *drive) setBy(replica string) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	news = d.by != replica
	d.by = replica
	return news
}

// drivenBy gives the other replica that drives it.
func (d *drive) drivenBy() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by
}

// holds gives the lease, if there is one.
func (d *drive) holds() (store.Lease, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lease, d.held
}

// term gives the context of what may go on under the lease; nil = it is not held, or has ended
// for want of being renewed.
func (d *drive) term() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live == nil || d.live.Err() != nil {
		return nil
	}
	return d.live
}

// termOf is term for one of the budget's connections: one that a reload has put there is driven
// once no other replica drives it under another budget.
func (d *drive) termOf(identity string) context.Context {
	if !d.coversAll([]string{identity}) {
		return nil
	}
	return d.term()
}

func (d *drive) coversAll(identities []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.shared || !slices.ContainsFunc(identities, func(one string) bool { return !slices.Contains(d.covers, one) })
}

func (d *drive) widen(covers []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.covers, d.said, d.refusedAt = covers, "", time.Time{}
}

// mayPost tells whether enough of the lease is left to send something. A machine that was
// suspended shows it on its wall clock only.
func (d *drive) mayPost() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.held {
		return false
	}
	now := time.Now()
	return d.ends.IsZero() || min(d.ends.Sub(now), d.ends.Round(0).Sub(now.Round(0))) > d.ttl/3
}

// during gives a context that ends with the lease too.
func (d *drive) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	term := d.term()
	if term == nil {
		cancel()
		return ctx, cancel
	}
	stop := context.AfterFunc(term, cancel)
	return ctx, func() { stop(); cancel() }
}

// note notes between two signs of life how long there was none. The caller holds d.mu.
func (d *drive) note(before, now time.Time) {
	switch {
	case before.IsZero():
	case now.Before(before): // the clock was put back: what looked like a gap may have been none
		d.down = gap{}
	case now.Sub(before) >= gapAtLeast:
		d.down = gap{before, now}
	}
}

func (d *drive) lastGap() gap {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// gap is a time in which nobody drove the budget: retryd was down, or the machine slept.
type gap struct{ from, to time.Time }

// since gives how much of the gap is after t.
func (g gap) since(t time.Time) time.Duration {
	if g.from.After(t) {
		t = g.from
	}
	return max(g.to.Sub(t), 0)
}

// gapAtLeast is the shortest gap between two signs of life, which come every minute at least.
const gapAtLeast = 3 * time.Minute
