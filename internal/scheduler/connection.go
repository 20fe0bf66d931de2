package scheduler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// connection is one instance of the platform with the policies that apply to it.
type connection struct {
	*Scheduler
	name, identity, hash string
	client               *iotdaclient.Client
	policies             atomic.Pointer[[]*policy.Policy] // in file order
	circuit              *circuit
	log                  *zap.Logger
	dry                  *overlay // nil = for real

	turn      *semaphore.Weighted // the sweeps take turns wave by wave, first come first served
	listings  *semaphore.Weighted // one at a time lists
	listed    *listing
	asking    atomic.Int64 // how often the tasks were begun to be listed
	apps      []iotda.App  // as read last
	appsRead  time.Time
	observing *semaphore.Weighted // one at a time observes, while others list
	observed  time.Time

	clockOff atomic.Bool // and said so

	mu        sync.Mutex
	posted    map[string]int       // retry calls by task, since the start
	elsewhere map[string]elsewhere // by task; only while observing
	vanished  bool                 // more tasks went at once than can be believed
	pending   map[string]*pending  // by policy

	asked        chan struct{}  // to look at requests
	performing   *worker        // of a request
	performingBy *policy.Policy // that it is done under

	workers map[*policy.Policy]*worker // nil key: the regular observation; requests: what people ask for
	drive   *drive
	term    context.Context // of the lease that they work under; nil = they do not
}

// worker is a goroutine that can be stopped.
type worker struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newConnection(s *Scheduler, n Connection) *connection {
	budget := n.Budget
	if budget == "" {
		budget = n.Identity
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &connection{
		Scheduler: s, drive: s.driveOf(budget), name: n.Client.Name(), identity: n.Identity, hash: n.Hash, client: n.Client, circuit: s.circuitOf(n.Identity),
		log:  s.o.Log.With(zap.String("connection", n.Client.Name())),
		turn: semaphore.NewWeighted(wholeTurn), listings: semaphore.NewWeighted(1), observing: semaphore.NewWeighted(1),
		posted: map[string]int{}, elsewhere: map[string]elsewhere{}, workers: map[*policy.Policy]*worker{}, asked: make(chan struct{}, 1),
	}
	c.policies.Store(&[]*policy.Policy{})
	return c
}

// ledger gives the ledger under the lease of the connection's budget.
func (c *connection) ledger() *store.Store {
	if c.dry != nil { // what it writes, it would write without one too
		return c.o.Store
	}
	return c.drive.under()
}

// mayWork gives the context of what the connection may do under the lease; nil = nothing.
func (c *connection) mayWork() context.Context { return c.drive.termOf(c.identity) }

// drives tells whether this replica drives the connection.
func (c *connection) drives() bool { return c.mayWork() != nil }

// current gives the policies that apply now.
func (c *connection) current() []*policy.Policy { return *c.policies.Load() }

func (c *connection) setPolicies(policies []*policy.Policy) { c.policies.Store(&policies) }

// startMissing starts what does not run yet.
func (c *connection) startMissing(ctx context.Context) {
	before := c.asking.Load()
	c.start(ctx, nil, func(ctx context.Context) { c.observeRegularly(ctx, before) })
	c.start(ctx, requests, c.performRegularly)
	for _, p := range c.current() {
		if c.workers[p] == nil {
			c.o.Metrics.AddPolicy(c.name, p.Name, p.Schedule.Spec, labels(p.Tasks.Types), rules(p))
		}
		c.start(ctx, p, func(ctx context.Context) { c.follow(ctx, c, p) })
	}
}

// requests stands for no policy: it is the key of the worker that does what people ask for.
var requests = &policy.Policy{}

func (c *connection) start(ctx context.Context, p *policy.Policy, run func(context.Context)) {
	if c.workers[p] != nil {
		return
	}
	ctx, cancel := c.drive.during(ctx)
	w := &worker{cancel, make(chan struct{})}
	c.workers[p] = w
	c.Scheduler.workers.Go(func() {
		defer cancel()
		defer close(w.done)
		run(ctx)
	})
}

// stopOutdated tells workers of policies that do not apply any more to stop.
func (c *connection) stopOutdated() {
	for p, w := range c.workers {
		if c.isOutdated(p) {
			w.cancel()
		}
	}
	if w := c.outdated(); w != nil {
		w.cancel()
	}
}

// isOutdated tells whether a worker is that of a policy that does not apply any more.
func (c *connection) isOutdated(p *policy.Policy) bool {
	return p != nil && p != requests && !slices.Contains(c.current(), p)
}

// waitForOutdated waits for them, and takes their series away.
func (c *connection) waitForOutdated() {
	if w := c.outdated(); w != nil {
		<-w.done
	}
	for p, w := range c.workers {
		if !c.isOutdated(p) {
			continue
		}
		<-w.done
		delete(c.workers, p)
		c.o.Metrics.RemovePolicy(c.name, p.Name)
	}
}

// halt ends what the connection does, until it is started again.
func (c *connection) halt() {
	c.cancel()
	for _, w := range c.workers {
		<-w.done
	}
	clear(c.workers)
	c.term = nil
}

// cancel tells its workers to end.
func (c *connection) cancel() {
	for _, w := range c.workers {
		w.cancel()
	}
}

// stop ends a connection for good.
func (c *connection) stop() {
	c.halt()
	c.client.Close()
}

func labels(types []iotda.TaskType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

func rules(p *policy.Policy) []metrics.Cause {
	out := make([]metrics.Cause, len(p.Rules))
	for i, r := range p.Rules {
		out[i] = metrics.Cause{Rule: r.Name, Class: string(r.Class)}
	}
	return out
}

// refresh lists the tasks and observes the open attempts, unless that has been begun at
// since or later already. since is of this process's clock.
func (c *connection) refresh(ctx context.Context, since time.Time) (*listing, error) {
	if err := c.observing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.observing.Release(1)
	l, err := c.list(ctx, since)
	if err != nil {
		return nil, err
	}
	if !c.observed.Before(since) || c.clockTrouble() != "" {
		return l, nil
	}
	begun := time.Now()
	if err := c.observe(ctx, l); err != nil {
		return nil, err
	}
	c.observed = begun
	return l, nil
}

// firstLook is when a connection is read for the first time after a start. A sweep that is due then has begun
// to, and does for both, even where it failed: of two calls with credentials that are refused none is left.
const firstLook = 2 * time.Second

// observeRegularly observes where no sweep does: outcomes come in whether or not a policy still wants
// anything. It begins right after a start, so that a connection which cannot be read is known at once
// and not at its first tick. before is how often the tasks had been listed by then.
func (c *connection) observeRegularly(ctx context.Context, before int64) {
	for pause := firstLook; ; pause = observeEvery {
		since := time.Now()
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		if pause == firstLook && c.asking.Load() > before {
			continue
		}
		if _, err := c.refresh(ctx, since); err != nil && ctx.Err() == nil {
			c.log.Warn("open attempts could not be observed", zap.Error(err))
		}
	}
}

// causeOf names a failure by the rules of the policy that made the attempt, where that is
// still there.
func (c *connection) causeOf(policyName, code, text string) policy.Cause {
	for _, p := range c.current() {
		if p.Name == policyName {
			return p.Cause(code, text)
		}
	}
	return (&policy.Policy{}).Cause(code, text)
}

// foreign tells whether a task is that of another connection: a project can have several
// instances, each of which knows its own tasks only.
func (c *connection) foreign(identity string) bool {
	return identity != "" && identity != c.identity && slices.ContainsFunc(c.all(), func(o *connection) bool { return o.identity == identity })
}

// knownTasks gives what the ledger knows of the connection's own tasks.
func (c *connection) knownTasks(ctx context.Context) (map[string]store.KnownTask, error) {
	known, err := c.ledger().KnownTasks(ctx, c.client.ProjectID())
	maps.DeleteFunc(known, func(_ string, t store.KnownTask) bool { return c.foreign(t.Identity) })
	return known, err
}

// policyNow gives the name under which what an attempt came to is counted: that of the policy
// which made it, or, where that is gone, of the one that has the task now. So a policy that was
// renamed goes on in one series, and one that was removed does not come back.
func (c *connection) policyNow(name string, t iotda.Task) string {
	if slices.ContainsFunc(c.current(), func(p *policy.Policy) bool { return p.Name == name }) {
		return name
	}
	if owner := policy.Owner(c.current(), c.name, t); owner != nil {
		return owner.Name
	}
	return name
}

func (c *connection) countPost(taskID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posted[taskID]++
}

func (c *connection) posts(taskID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posted[taskID]
}

// wonder counts and logs a reply that contradicts what is known of the platform.
func (c *connection) wonder(kind, message string, fields ...zap.Field) {
	c.o.Metrics.Surprises.WithLabelValues(c.name, kind).Inc()
	c.log.Warn(message, append(fields, zap.String("surprise", kind))...)
}

func (c *connection) surprise(err error) {
	if errors.Is(err, iotdaclient.ErrMarker) {
		c.wonder(surpriseMarker, "a list cannot be read to its end", zap.Error(err))
	}
}
