package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

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
	// grace is what calls in flight get when the program stops, or a policy does.
	grace = 5 * time.Second
)

// Options are what a Scheduler works with. Watch may be nil.
type Options struct {
	Setup
	Store   *store.Store
	Metrics *metrics.Metrics
	Log     *zap.Logger
	Watch   func(Event) // called from several goroutines
	// Replica is this process to others with the same ledger; one without an id is given one.
	Replica store.Replica
	// Observe has nothing sent for a person either: the policies observe already.
	Observe bool
	// LeaseTTL is how long a replica that is dead keeps a budget; 0 = 15 s.
	LeaseTTL time.Duration
}

// Setup is what a configuration says: it can be replaced while the scheduler runs.
type Setup struct {
	Policies    []*policy.Policy // in file order
	Connections []Connection
	Retention   time.Duration // of history in the ledger
	Hash        string        // of the configuration
}

// Connection is an instance of the platform.
type Connection struct {
	Client   *iotdaclient.Client
	Identity string // of the instance and project, whatever the connection is called
	Budget   string // that it shares, and is leased with; empty = one of its own
	Hash     string // of its configuration: a connection is replaced when this changes
}

// Scheduler runs the sweeps of all policies on all connections.
type Scheduler struct {
	o         Options
	unwritten atomic.Int64 // answers that the ledger has not taken yet

	applying  sync.Mutex          // one change at a time
	renewing  *semaphore.Weighted // one at a time says what it holds
	renewed   time.Time           // when the last that succeeded began; with renewing
	behind    atomic.Bool         // the leases of the last change are not taken yet
	retention atomic.Int64

	mu          sync.Mutex
	connections []*connection
	policies    []*policy.Policy
	configHash  string
	circuits    map[string]*circuit // by identity of the connection: they outlive reloads
	drives      map[string]*drive   // by budget
	running     context.Context     // of Run; nil = it does not run
	shared      bool                // it has taken what it drives
	workers     sync.WaitGroup
	woken       chan struct{} // to look for requests

	keeps, serves loop // that keep house, and look for requests
}

// New makes a scheduler. It does not call anything.
func New(o Options) *Scheduler {
	if o.Watch == nil {
		o.Watch = func(Event) {}
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 15 * time.Second
	}
	if o.Replica.ID == "" {
		o.Replica.ID = rand.Text()
	}
	if o.Replica.Started.IsZero() {
		o.Replica.Started = o.Store.Now()
	}
	s := &Scheduler{o: o, renewing: semaphore.NewWeighted(1), circuits: map[string]*circuit{}, drives: map[string]*drive{}, woken: make(chan struct{}, 1)}
	s.keeps, s.serves = newLoop("that watches the ledger and the clock"), newLoop("that looks for what people ask for")
	s.Apply(o.Setup)
	return s
}

// Apply puts a setup in the place of the one before. Policies and connections that are the
// same go on undisturbed; those that have changed or gone claim nothing more, their calls in
// flight get 5 seconds, and their successors start after that.
func (s *Scheduler) Apply(setup Setup) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	before, running := s.connections, s.running
	s.mu.Unlock()
	after := s.arrange(before, setup)
	for _, c := range before {
		if !slices.Contains(after, c) {
			c.setPolicies(nil)
		}
	}
	s.mu.Lock()
	s.connections, s.policies, s.configHash = after, setup.Policies, setup.Hash
	s.retention.Store(int64(setup.Retention))
	s.mu.Unlock()
	for _, c := range before {
		c.stopOutdated()
	}
	for _, c := range before {
		c.waitForOutdated()
		if !slices.Contains(after, c) {
			c.stop()
			if !slices.ContainsFunc(after, func(next *connection) bool { return next.name == c.name }) { // else it goes on under the name
				s.o.Metrics.RemoveConnection(c.name)
			}
		}
	}
	for _, c := range after {
		s.o.Metrics.AddConnection(c.name, c.client.Budget().PerSecond(), c.client.LogsIn())
		if running != nil && !c.drives() {
			s.o.Metrics.Standby(c.name)
		}
	}
	if running == nil {
		return
	}
	s.attend()
	ctx, cancel := context.WithTimeout(running, s.o.LeaseTTL)
	defer cancel()
	err := s.renew(ctx) // nothing is taken before the others know what it is for
	if err == nil {
		err = s.share(ctx)
	}
	s.behind.Store(err != nil)
	if err != nil && running.Err() == nil {
		s.o.Log.Error("the leases of the new configuration are not taken yet", zap.Error(err))
	}
}

// arrange gives the connections of a setup, each with its policies: those of before where
// nothing about them has changed.
func (s *Scheduler) arrange(before []*connection, setup Setup) []*connection {
	after := make([]*connection, len(setup.Connections))
	for i, n := range setup.Connections {
		for _, c := range before {
			if n.Hash != "" && c.name == n.Client.Name() && c.hash == n.Hash {
				after[i] = c
				n.Client.Close()
			}
		}
		if after[i] == nil {
			after[i] = newConnection(s, n)
		}
		after[i].setPolicies(after[i].keep(setup.Policies))
	}
	return after
}

// keep gives the policies that apply to the connection, the same ones as now where they say the
// same.
func (c *connection) keep(policies []*policy.Policy) (own []*policy.Policy) {
	for _, p := range policies {
		if !slices.Contains(p.Connections, c.name) {
			continue
		}
		for _, now := range c.current() {
			if now.Name == p.Name && now.Hash == p.Hash && p.Hash != "" {
				p = now
			}
		}
		own = append(own, p)
	}
	return own
}

// circuitOf gives the circuit of a connection. The caller holds s.mu.
func (s *Scheduler) circuitOf(identity string) *circuit {
	if s.circuits[identity] == nil {
		s.circuits[identity] = &circuit{}
	}
	return s.circuits[identity]
}

func (s *Scheduler) all() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.connections)
}

// Ready tells why nothing is claimed now, nil if all is well.
func (s *Scheduler) Ready(ctx context.Context) error {
	if n := s.unwritten.Load(); n > 0 {
		return fmt.Errorf("%d answers of the platform wait to be written to the ledger", n)
	}
	s.mu.Lock()
	shared := s.shared
	s.mu.Unlock()
	if shared && !s.o.Store.Shared() {
		if _, others := s.Drives(); len(others) > 0 {
			return fmt.Errorf("another process drives %s by this ledger, although only one may: is it on a network file system?", strings.Join(others, ", "))
		}
	}
	return s.o.Store.Writable(ctx)
}

// Close drops the idle connections to the platform of a scheduler that does not run.
func (s *Scheduler) Close() {
	for _, c := range s.all() {
		c.client.Close()
	}
}

// Run sweeps whenever a policy is due, until the context ends. Calls in flight then get
// 5 seconds; what is not answered by then counts as unknown.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := s.sayAlive(ctx); err != nil { // however slow the ledger is
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.applying.Lock()
	s.mu.Lock()
	s.running = ctx
	s.mu.Unlock()
	err := s.share(ctx)
	if err != nil && s.o.Store.Shared() { // it tries again
		s.o.Log.Error("budgets cannot be taken", zap.Error(err))
		err = nil
	}
	s.applying.Unlock()
	s.mu.Lock()
	s.shared = err == nil
	s.mu.Unlock()
	keep, stop := context.WithCancel(context.WithoutCancel(ctx)) // until calls in flight have ended
	defer stop()
	keeping, beside := sync.WaitGroup{}, sync.WaitGroup{}
	if err == nil {
		if s.o.Store.Shared() {
			keeping.Go(func() { s.keepLeases(keep, fail) })
			beside.Go(func() { s.followLeases(ctx) })
		}
		beside.Go(func() { s.forgetRegularly(ctx) })
		beside.Go(func() { s.followRequests(ctx) })
		s.housekeep(ctx)
	}
	s.applying.Lock() // a change that is under way ends first
	s.halt()
	stop()
	keeping.Wait() // else it would say that this replica is alive when it has left
	s.leave()
	s.workers.Wait()
	s.mu.Lock()
	s.running, s.shared = nil, false
	s.mu.Unlock()
	s.applying.Unlock()
	beside.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, store.ErrNewer) {
		return cause
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Sweep sweeps each named policy now, all where no name is given, on each of its
// connections, and waits for its calls.
func (s *Scheduler) Sweep(ctx context.Context, names []string) ([]Report, error) {
	return s.once(ctx, names)
}

// Plan does what Sweep does up to the point where something would change: nothing is
// written and nothing is sent. What Sweep would do is told through Options.Watch.
func (s *Scheduler) Plan(ctx context.Context, names []string) ([]Report, error) {
	for _, c := range s.all() {
		c.dry = newOverlay()
	}
	reports, err := s.once(ctx, names)
	if err != nil {
		return reports, err
	}
	return reports, s.tellOpen(ctx, names)
}

// once sweeps in file order, policy by policy, so that what plan says is what sweep does.
func (s *Scheduler) once(ctx context.Context, names []string) ([]Report, error) {
	for _, name := range names {
		if !slices.ContainsFunc(s.policies, func(p *policy.Policy) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no policy %q in the configuration", name)
		}
	}
	connections := slices.DeleteFunc(s.all(), func(c *connection) bool {
		return len(names) > 0 && !slices.ContainsFunc(c.current(), func(p *policy.Policy) bool { return slices.Contains(names, p.Name) })
	})
	if len(connections) > 0 && connections[0].dry == nil {
		release, err := s.hold(ctx, connections)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	reports := make([][]Report, len(connections))
	g := errgroup.Group{}
	for i, c := range connections {
		g.Go(func() error {
			for _, p := range c.current() {
				if len(names) > 0 && !slices.Contains(names, p.Name) {
					continue
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if c.dry == nil { // the policy has been seen from now on
					if _, err := c.ledger().Baseline(ctx, p.Name, c.name); err != nil {
						return err
					}
				}
				reports[i] = append(reports[i], *newSweep(c, p, s.o.Store.Now()).run(ctx))
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(reports...), err
}

// sleepUntil waits for a moment on the ledger's clock, which may be set meanwhile.
func (s *Scheduler) sleepUntil(ctx context.Context, t time.Time) {
	for ctx.Err() == nil {
		left := t.Sub(s.o.Store.Now())
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

// errStopped is why the tasks that are left when the program ends are not finished.
var errStopped = errors.New("stopped before it was finished")
