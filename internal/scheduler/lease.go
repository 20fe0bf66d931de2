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
	// standIn is how long it is kept from that replica when it has not taken it by then.
	standIn = time.Minute
	// giveUp is how long giving leases back may take: they end by themselves.
	giveUp = 2 * time.Second
)

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

// renew is sayAlive in so short a time that there is another try before the leases end.
func (s *Scheduler) renew(ctx context.Context) error {
	if s.o.Store.Shared() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.LeaseTTL/3)
		defer cancel()
	}
	return s.sayAlive(ctx)
}

// sayAlive says that this replica is alive and goes on, and notices what it does not hold any more.
func (s *Scheduler) sayAlive(ctx context.Context) error {
	asked := time.Now()
	if err := s.renewing.Acquire(ctx, 1); err != nil { // else what an older configuration says could be written last
		return err
	}
	defer s.renewing.Release(1)
	if s.renewed.After(asked) { // by somebody who has waited beside: it does for both
		return nil
	}
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
	s.renewed = begun
	return nil
}

// share has budgets driven by the replicas that they are assigned to. The caller holds s.applying.
func (s *Scheduler) share(ctx context.Context) error {
	s.attend()
	me := s.replica()
	to := map[string]string{}
	held := map[string]store.Holding{}
	var replicas []store.Replica
	if s.o.Store.Shared() {
		var err error
		if held, replicas, err = s.o.Store.Leases(ctx, s.o.LeaseTTL); err != nil {
			return err
		}
		to = assign(replicas)
	}
	var errs []error
	for _, d := range s.allDrives() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h := held[d.budget]
		if err := s.shareOne(ctx, d, me, h, to[d.budget]); err != nil { // which is no reason to leave the others alone
			errs = append(errs, err)
			continue
		}
		s.sayWho(d, me.Budgets[d.budget], h, replicas)
	}
	return errors.Join(errs...)
}

// shareOne is share for one budget, which is held like that in the ledger and assigned to a replica.
func (s *Scheduler) shareOne(ctx context.Context, d *drive, me store.Replica, h store.Holding, to string) error {
	_, mine := d.holds()
	connections, wanted := me.Budgets[d.budget]
	away := wanted && to != "" && to != me.ID
	switch {
	case mine && (!wanted || away && time.Since(d.stoodIn) > standIn):
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+giveUp)
		defer cancel()
		for _, c := range s.giveBack(ctx, d) {
			s.o.Metrics.Standby(c.name)
		}
	case time.Since(d.refusedAt) < s.o.LeaseTTL/3: // to ask keeps everybody from writing
	case mine && !d.coversAll(connections):
		return s.widen(ctx, d, me)
	case mine:
	case h.Holder == me.ID && (!wanted || away): // it was to be given back, and the ledger did not answer
		return s.o.Store.Release(ctx, h.Lease)
	case !wanted:
	case !h.Free(s.o.Store.Now()) && h.Holder != me.ID:
		d.unheld = 0
	default:
		if d.unheld++; away && d.unheld <= patience {
			return nil
		}
		if away {
			d.stoodIn = time.Now()
		}
		return s.take(ctx, d, me)
	}
	return nil
}

// widen has the lease of a budget hold for connections that a reload has put there.
func (s *Scheduler) widen(ctx context.Context, d *drive, me store.Replica) error {
	taken, err := d.under().Widen(ctx, me)
	if err != nil {
		return err
	}
	if taken != "" {
		s.sayNotTaken(d, taken)
		return nil
	}
	d.widen(me.Budgets[d.budget])
	s.attend()
	return nil
}

func (s *Scheduler) sayNotTaken(d *drive, why string) {
	what, _, _ := strings.Cut(why, " until ") // which changes
	if d.said != what {
		s.o.Log.Info("the budget is not taken", zap.String("budget", d.budget), zap.String("why", why))
	}
	d.said, d.refused, d.refusedAt = what, why, time.Now()
}

// sayWho says which other replica drives a budget, once for each, and which connections nobody drives:
// the replica that drives their budget has another configuration, with a budget of the same name.
func (s *Scheduler) sayWho(d *drive, connections []string, h store.Holding, replicas []store.Replica) {
	i := slices.IndexFunc(replicas, func(r store.Replica) bool { return r.ID == h.Holder })
	if len(connections) == 0 || i < 0 || h.Holder == s.o.Replica.ID {
		d.setBy("")
		return
	}
	if d.setBy(h.Holder) {
		s.o.Log.Info("another replica drives the budget", zap.String("budget", d.budget), zap.Int64("lease", h.Token), zap.String("replica", h.Holder),
			zap.String("host", replicas[i].Host), zap.String("version", replicas[i].Version), zap.String("config_hash", replicas[i].ConfigHash))
	}
	left := slices.DeleteFunc(slices.Clone(connections), func(one string) bool { return slices.Contains(replicas[i].Budgets[d.budget], one) })
	if len(left) > 0 {
		why := fmt.Sprintf("%s drives the budget, and does not have them in its configuration", h.Holder)
		if d.said != why {
			s.o.Log.Warn("nobody drives some connections of the budget", zap.String("budget", d.budget), zap.Strings("connections", left), zap.String("why", why))
		}
		d.said = why
	}
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
		s.sayNotTaken(d, a.Taken)
		return nil
	}
	d.take(a, me.Budgets[d.budget], begun)
	fields := []zap.Field{zap.Int64("lease", a.Token)}
	if a.Before.Holder != "" && a.Before.Holder != me.ID { // it did not give it back
		fields = append(fields, zap.String("instead_of", a.Before.Holder), zap.Time("last_seen", a.Before.Renewed), zap.Int("claims_without_answer", a.Abandoned))
	}
	log.Info("drives the budget", fields...)
	for _, c := range s.all() {
		if c.drive == d && !a.Before.Renewed.IsZero() {
			c.client.Budget().Drain() // the one before may have used it up a moment ago
			c.client.Doubt()
		}
	}
	s.attend()
	return nil
}

// attend has exactly the connections at work whose budgets are driven. The caller holds s.applying.
func (s *Scheduler) attend() {
	for _, c := range s.all() { // said before the calls in flight are waited for, which takes as long as the ledger is away
		if c.term != nil && c.term != c.mayWork() {
			c.cancel()
			s.o.Metrics.Standby(c.name)
		}
	}
	for _, c := range s.all() {
		if c.term != nil && c.term != c.mayWork() {
			c.halt()
			s.o.Metrics.Standby(c.name)
		}
		term := c.mayWork()
		s.o.Metrics.SetLease(c.name, term != nil)
		if s.running != nil && term != nil {
			c.term = term
			c.startMissing(s.running)
		}
	}
}

// giveBack stops the connections of a budget, which it gives, and lets another replica have it.
func (s *Scheduler) giveBack(ctx context.Context, d *drive) (stopped []*connection) {
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
	d.lose() // first: that it is gone is no news to who renews the others
	if err := s.o.Store.Release(ctx, lease); err != nil {
		s.o.Log.Warn("the lease could not be given back: others wait until it ends", zap.String("budget", d.budget), zap.Error(err))
	}
	s.o.Log.Info("does not drive the budget any more", zap.String("budget", d.budget), zap.Int64("lease", lease.Token))
	return stopped
}

// halt ends what all connections do. The caller holds s.applying.
func (s *Scheduler) halt() {
	for _, c := range s.all() {
		c.halt()
	}
}

// leave gives everything back when the program ends. The caller holds s.applying.
func (s *Scheduler) leave() {
	s.halt()
	ctx, cancel := context.WithTimeout(context.Background(), giveUp) // for all of them together
	defer cancel()
	for _, d := range s.allDrives() {
		s.giveBack(ctx, d)
	}
	if err := s.o.Store.Leave(ctx, s.o.Replica.ID); err != nil {
		s.o.Log.Warn("the ledger does not take that this replica has left", zap.Error(err))
	}
}

// keepLeases renews what this replica holds, where several share a ledger. It fails where a newer
// program has changed that.
func (s *Scheduler) keepLeases(ctx context.Context, fail func(error)) {
	failed := false
	for {
		pause := s.o.LeaseTTL / 3
		if failed { // another try has to come to its end before the lease does
			pause = min(pause, lookEvery)
		}
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		err := s.renew(ctx)
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
	failed := false
	for {
		sleep(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
		s.applying.Lock()
		looking, cancel := context.WithTimeout(ctx, s.o.LeaseTTL)
		err := s.share(looking)
		cancel()
		s.applying.Unlock()
		if err != nil && ctx.Err() == nil && !failed {
			s.o.Log.Error("budgets cannot be taken or given back", zap.Error(err))
		}
		if err == nil && failed {
			s.o.Log.Info("budgets can be taken and given back again")
		}
		failed = err != nil
	}
}

// Drives lists the connections that this replica drives, and those that it does not, with who does.
func (s *Scheduler) Drives() (driven, others []string) {
	for _, c := range s.all() {
		if c.drives() {
			driven = append(driven, c.name)
		} else {
			text := c.name
			if by := c.drive.drivenBy(); by != "" {
				text += " (" + by + " does)"
			}
			others = append(others, text)
		}
	}
	return driven, others
}
