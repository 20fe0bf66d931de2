package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"retryd/internal/store"
)

const (
	// lookEvery is how often a replica looks which budgets it is to drive.
	lookEvery = time.Second
	// patience is how many looks a budget that nobody drives is left to the replica that it
	// is assigned to.
	patience = 3
)

// ErrDriven is in the chain of the error for a connection that another process drives.
var ErrDriven = errors.New("another retryd drives it")

// driveOf gives the drive of a budget. The caller holds s.mu.
func (s *Scheduler) driveOf(budget string) *drive {
	if s.drives[budget] == nil {
		s.drives[budget] = &drive{ledger: s.o.Store, shared: s.o.Store.Shared(), budget: budget, ttl: s.o.LeaseTTL}
	}
	return s.drives[budget]
}

// replica describes this process as it is configured now.
func (s *Scheduler) replica() store.Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.o.Replica
	r.ConfigHash, r.Budgets = s.configHash, map[string][]string{}
	for _, c := range s.connections {
		r.Budgets[c.drive.budget] = append(r.Budgets[c.drive.budget], c.identity)
	}
	return r
}

// renew says that this replica is alive and goes on, and notices what it does not hold any more.
func (s *Scheduler) renew(ctx context.Context) error {
	type holding struct {
		d     *drive
		lease store.Lease
	}
	var before []holding // what is taken meanwhile is not in the answer
	s.mu.Lock()
	for _, d := range s.drives {
		if lease, held := d.holds(); held {
			before = append(before, holding{d, lease})
		}
	}
	s.mu.Unlock()
	begun := time.Now()
	mine, err := s.o.Store.Renew(ctx, s.replica(), s.o.LeaseTTL)
	if err != nil {
		return err
	}
	now := s.o.Store.Now()
	for _, b := range before {
		if lease, held := b.d.holds(); !held || lease != b.lease {
			continue
		}
		h, held := mine[b.d.budget]
		if !held || h.Token != b.lease.Token {
			b.d.lose()
			for _, c := range s.all() {
				if c.drive == b.d {
					s.o.Metrics.Standby(c.name)
				}
			}
			s.o.Log.Warn("the budget is lost: another replica has taken it over", zap.String("budget", b.d.budget), zap.Int64("lease", b.lease.Token))
			continue
		}
		b.d.renewed(begun, h.Renewed, now)
	}
	return nil
}

// share has budgets driven by the replicas that they are assigned to. The caller holds s.applying.
func (s *Scheduler) share(ctx context.Context) error {
	s.attend()
	me := s.replica()
	to := map[string]string{}
	held := map[string]store.Holding{}
	if s.o.Store.Shared() {
		var replicas []store.Replica
		var err error
		if held, replicas, err = s.o.Store.Leases(ctx, s.o.LeaseTTL); err != nil {
			return err
		}
		to = assign(replicas)
	}
	for _, d := range s.allDrives() {
		_, mine := d.holds()
		_, wanted := me.Budgets[d.budget]
		away := wanted && s.o.Store.Shared() && to[d.budget] != "" && to[d.budget] != me.ID
		switch {
		case mine && (!wanted || away):
			for _, c := range s.giveBack(d) {
				s.o.Metrics.Standby(c.name)
			}
		case mine || !wanted:
		case s.o.Store.Shared() && !held[d.budget].Free(s.o.Store.Now()):
			d.unheld = 0
		default:
			if d.unheld++; !away || d.unheld > patience {
				if err := s.take(ctx, d, me); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Scheduler) allDrives() []*drive {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*drive, 0, len(s.drives))
	for _, d := range s.drives {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *drive) int { return strings.Compare(a.budget, b.budget) })
	return all
}

// take takes a budget, unless somebody else has been faster, and starts its connections where the
// scheduler runs.
func (s *Scheduler) take(ctx context.Context, d *drive, me store.Replica) error {
	begun := time.Now()
	a, err := s.o.Store.Acquire(ctx, d.budget, me, s.o.LeaseTTL)
	if err != nil {
		return err
	}
	log := s.o.Log.With(zap.String("budget", d.budget))
	if a.Taken != "" {
		if d.refused != a.Taken {
			d.refused = a.Taken
			log.Info("the budget is not taken", zap.String("why", a.Taken))
		}
		return nil
	}
	d.take(a, begun)
	fields := []zap.Field{zap.Int64("lease", a.Token)}
	if a.Before.Holder != "" && a.Before.Holder != me.ID { // it did not give it back
		fields = append(fields, zap.String("instead_of", a.Before.Holder), zap.Time("last_seen", a.Before.Renewed), zap.Int("claims_without_answer", a.Abandoned))
	}
	log.Info("drives the budget", fields...)
	for _, c := range s.all() {
		if c.drive == d && !a.Before.Renewed.IsZero() {
			c.client.Budget().Drain() // the one before may have used it up a moment ago
		}
	}
	s.attend()
	return nil
}

// attend has exactly the connections at work whose budgets are driven. The caller holds s.applying.
func (s *Scheduler) attend() {
	for _, c := range s.all() {
		term := c.drive.term()
		if c.term != nil && c.term != term {
			c.halt()
			s.o.Metrics.Standby(c.name)
		}
		s.o.Metrics.SetLease(c.name, term != nil)
		if s.running != nil && term != nil {
			c.term = term
			c.startMissing(s.running)
		}
	}
}

// giveBack stops the connections of a budget, which it gives, and lets another replica have it.
func (s *Scheduler) giveBack(d *drive) (stopped []*connection) {
	for _, c := range s.all() {
		if c.drive == d {
			c.halt()
			stopped = append(stopped, c)
		}
	}
	lease, held := d.holds()
	if !held {
		return stopped
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.o.Store.Release(ctx, lease); err != nil {
		s.o.Log.Warn("the lease could not be given back: others wait until it ends", zap.String("budget", d.budget), zap.Error(err))
	}
	d.lose()
	s.o.Log.Info("does not drive the budget any more", zap.String("budget", d.budget), zap.Int64("lease", lease.Token))
	return stopped
}

// leave gives everything back when the program ends. The caller holds s.applying.
func (s *Scheduler) leave() {
	for _, d := range s.allDrives() {
		s.giveBack(d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.o.Store.Leave(ctx, s.o.Replica.ID); err != nil {
		s.o.Log.Warn("the ledger does not take that this replica has left", zap.Error(err))
	}
}

// keepLeases renews what this replica holds, where several share a ledger. It fails where a newer
// program has changed that.
func (s *Scheduler) keepLeases(ctx context.Context, fail func(error)) {
	failed := false
	for {
		sleep(ctx, s.o.LeaseTTL/3)
		if ctx.Err() != nil {
			return
		}
		tryFor, cancel := context.WithTimeout(ctx, s.o.LeaseTTL/3)
		err := s.renew(tryFor)
		cancel()
		if errors.Is(err, store.ErrNewer) { // it would miss checks that the newer one relies on
			fail(err)
			return
		}
		if err != nil && ctx.Err() == nil && !failed {
			s.o.Log.Error("the leases cannot be renewed: nothing is sent without them", zap.Error(err))
		}
		if err == nil && failed {
			s.o.Log.Info("the leases are renewed again")
		}
		failed = err != nil
	}
}

// followLeases takes and gives back budgets as replicas come and go.
func (s *Scheduler) followLeases(ctx context.Context) {
	for {
		sleep(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
		s.applying.Lock()
		err := s.share(ctx)
		s.applying.Unlock()
		if err != nil && ctx.Err() == nil {
			s.o.Log.Debug("the leases cannot be read", zap.Error(err))
		}
	}
}

// hold takes the budgets of some connections for as long as one sweep takes, until the function
// that it gives is called.
func (s *Scheduler) hold(ctx context.Context, connections []*connection) (release func(), err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	me := s.replica()
	for _, c := range connections {
		if _, held := c.drive.holds(); held {
			continue
		}
		if err := s.take(ctx, c.drive, me); err != nil {
			s.leave()
			return nil, err
		}
		if _, held := c.drive.holds(); !held {
			why := c.drive.refused
			s.leave()
			return nil, fmt.Errorf("connection %s: %w: %s", c.name, ErrDriven, why)
		}
	}
	renewing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.o.Store.Shared() {
			s.keepLeases(renewing, func(error) {})
		}
	}()
	return func() {
		stop()
		<-done
		s.applying.Lock()
		defer s.applying.Unlock()
		s.leave()
	}, nil
}

// Drives lists the connections that this replica drives, and those that it does not.
func (s *Scheduler) Drives() (driven, others []string) {
	for _, c := range s.all() {
		if _, held := c.drive.holds(); held {
			driven = append(driven, c.name)
		} else {
			others = append(others, c.name)
		}
	}
	return driven, others
}
