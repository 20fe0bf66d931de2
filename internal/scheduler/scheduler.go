package scheduler

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/store"
)

const (
	// observeEvery is the longest that open attempts go unobserved.
	observeEvery = 15 * time.Minute
	// freshness is the oldest that a read may be when a retry that it led to is sent.
	freshness = 30 * time.Second
	// grace is what calls in flight get when the program stops.
	grace = 5 * time.Second
	// spreadMax keeps policies that are due at one moment from starting at once.
	spreadMax = 30 * time.Second
)

// Options are what a Scheduler works with. Watch may be nil.
type Options struct {
	Policies  []*policy.Policy
	Clients   []*iotdaclient.Client
	Store     *store.Store
	Metrics   *metrics.Metrics
	Log       *zap.Logger
	Retention time.Duration // of history in the ledger
	Watch     func(Event)   // called from several goroutines
}

// Scheduler runs the sweeps of all policies on all connections.
type Scheduler struct {
	o           Options
	connections []*connection
	unwritten   atomic.Int64 // answers that the ledger has not taken yet
}

// New makes a scheduler. It does not call anything.
func New(o Options) *Scheduler {
	if o.Watch == nil {
		o.Watch = func(Event) {}
	}
	s := &Scheduler{o: o}
	for _, client := range o.Clients {
		s.connections = append(s.connections, newConnection(s, client))
	}
	return s
}

// Ready tells why nothing is claimed now, nil if all is well.
func (s *Scheduler) Ready(ctx context.Context) error {
	if n := s.unwritten.Load(); n > 0 {
		return fmt.Errorf("%d answers of the platform wait to be written to the ledger", n)
	}
	return s.o.Store.Writable(ctx)
}

// Run sweeps whenever a policy is due, until the context ends. Calls in flight then get
// 5 seconds; what is not answered by then counts as unknown.
func (s *Scheduler) Run(ctx context.Context) error {
	g, work := errgroup.WithContext(ctx)
	for _, c := range s.connections {
		for _, p := range c.policies {
			g.Go(func() error { return s.follow(work, c, p) })
		}
		g.Go(func() error { return c.observeRegularly(work) })
	}
	g.Go(func() error { return s.housekeep(work) })
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// follow sweeps one policy on one connection at each of its ticks.
func (s *Scheduler) follow(ctx context.Context, c *connection, p *policy.Policy) error {
	log := s.o.Log.With(zap.String("policy", p.Name), zap.String("connection", c.name))
	if last, ok, err := s.o.Store.LastComplete(ctx, p.Name, c.name); err == nil && ok {
		s.o.Metrics.SetTargets(c.name, p.Name, last.Counts)
		s.o.Metrics.LastSuccess.WithLabelValues(c.name, p.Name).Set(metrics.Seconds(last.Finished))
	}
	for ctx.Err() == nil {
		baseline, err := s.o.Store.Baseline(ctx, p.Name, c.name)
		if err != nil {
			if ctx.Err() == nil {
				log.Error("the ledger cannot be read: no sweep before it can", zap.Error(err))
			}
			sleep(ctx, 10*time.Second)
			continue
		}
		if tick := p.Schedule.Latest(baseline, s.o.Store.Now()); !tick.IsZero() {
			s.tick(ctx, c, p, tick)
			continue
		}
		next := p.Schedule.Next(baseline)
		at := next.Add(spread(p, c.name, next))
		s.o.Metrics.NextSweep.WithLabelValues(c.name, p.Name).Set(metrics.Seconds(at))
		sleepUntil(ctx, at)
	}
	return ctx.Err()
}

// tick sweeps once, and what could not be read again after 1, 2, 4 … minutes until the
// next tick.
func (s *Scheduler) tick(ctx context.Context, c *connection, p *policy.Policy, tick time.Time) {
	w := newSweep(c, p, tick)
	for pause := time.Minute; ; pause *= 2 {
		r := w.run(ctx)
		if ctx.Err() != nil || r.Result == SweepComplete {
			return
		}
		if again := s.o.Store.Now().Add(pause); again.After(p.Schedule.Next(tick)) {
			sleep(ctx, time.Second) // a tick that could not even be written is due at once
			return
		}
		sleep(ctx, pause)
	}
}

// Sweep sweeps each named policy now, all where no name is given, on each of its
// connections, and waits for its calls.
func (s *Scheduler) Sweep(ctx context.Context, names []string) ([]Report, error) {
	return s.once(ctx, names, func(c *connection, p *policy.Policy) *sweep { return newSweep(c, p, s.o.Store.Now()) })
}

// Plan does what Sweep does up to the point where something would change: nothing is
// written and nothing is sent. What Sweep would do is told through Options.Watch.
func (s *Scheduler) Plan(ctx context.Context, names []string) ([]Report, error) {
	dry := map[*connection]*overlay{}
	for _, c := range s.connections {
		dry[c] = newOverlay()
		c.dry = dry[c]
	}
	return s.once(ctx, names, func(c *connection, p *policy.Policy) *sweep { return newSweep(c, p, s.o.Store.Now()) })
}

// once sweeps in file order, policy by policy, so that what plan says is what sweep does.
func (s *Scheduler) once(ctx context.Context, names []string, begin func(*connection, *policy.Policy) *sweep) ([]Report, error) {
	for _, name := range names {
		if !slices.ContainsFunc(s.o.Policies, func(p *policy.Policy) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no policy %q in the configuration", name)
		}
	}
	reports := make([][]Report, len(s.connections))
	g := errgroup.Group{}
	for i, c := range s.connections {
		g.Go(func() error {
			for _, p := range c.policies {
				if len(names) > 0 && !slices.Contains(names, p.Name) {
					continue
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
				reports[i] = append(reports[i], *begin(c, p).run(ctx))
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(reports...), err
}

// housekeep deletes old history and watches the ledger.
func (s *Scheduler) housekeep(ctx context.Context) error {
	for hour := 0; ctx.Err() == nil; hour++ {
		if hour%60 == 0 && s.o.Retention > 0 {
			if n, err := s.o.Store.Forget(ctx, s.o.Retention); err != nil && ctx.Err() == nil {
				s.o.Log.Error("old history cannot be deleted", zap.Error(err))
			} else if n > 0 {
				s.o.Log.Info("deleted old history; counts are kept", zap.Int("attempts", n))
			}
		}
		if oldest, err := s.o.Store.OldestOpen(ctx); err == nil {
			s.o.Metrics.OldestOpen.Reset()
			for connection, at := range oldest {
				s.o.Metrics.OldestOpen.WithLabelValues(connection).Set(metrics.Seconds(at))
			}
		}
		sleep(ctx, time.Minute)
	}
	return ctx.Err()
}

// spread gives a delay that is always the same for a policy and a connection: up to a
// tenth of the time between ticks.
func spread(p *policy.Policy, connection string, tick time.Time) time.Duration {
	most := min(p.Schedule.Next(tick).Sub(tick)/10, spreadMax)
	if most <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.Name + "\x00" + connection))
	return time.Duration(h.Sum64() % uint64(most))
}

// sleepUntil waits for a moment on the wall clock, which may be set meanwhile.
func sleepUntil(ctx context.Context, t time.Time) {
	for ctx.Err() == nil {
		left := time.Until(t.Round(0))
		if left <= 0 {
			return
		}
		sleep(ctx, min(left, time.Minute))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
