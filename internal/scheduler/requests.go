package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// How often a replica looks for what people have asked for. Where one process has the ledger, that
// is most often the process which they ask, and it is woken.
const (
	requestsEvery      = 2 * time.Second
	requestsEveryAlone = 10 * time.Second
)

// Wake has requests be looked for now.
func (s *Scheduler) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// followRequests has the connections that are driven here perform what people ask for.
func (s *Scheduler) followRequests(ctx context.Context) {
	every := requestsEveryAlone
	if s.o.Store.Shared() {
		every = requestsEvery
	}
	failed := false
	for ctx.Err() == nil {
		identities, err := s.o.Store.OpenRequests(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			s.o.Log.Error("what people ask for cannot be read", zap.Error(err))
		}
		failed = err != nil
		for _, c := range s.all() {
			if c.drives() && slices.Contains(identities, c.identity) {
				c.attendTo()
			}
		}
		s.serves.rest(ctx, every, s.woken)
	}
}

// attendTo has the connection look at what is asked of it.
func (c *connection) attendTo() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// performRegularly performs what is asked of the connection, one after the other.
func (c *connection) performRegularly(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
		}
		if err := c.performAll(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFenced) {
			c.log.Error("what people ask for cannot be begun", zap.Error(err))
		}
	}
}

func (c *connection) performAll(ctx context.Context) error {
	for ctx.Err() == nil {
		r, lapsed, err := c.ledger().TakeRequest(ctx, c.identity)
		for _, l := range lapsed {
			c.countRequest(l.Kind, l.State)
		}
		if err != nil || r == nil {
			return err
		}
		c.perform(ctx, *r)
	}
	return ctx.Err()
}

// perform does what a person asks for, and writes down what came of it.
func (c *connection) perform(ctx context.Context, r store.Request) {
	log := c.log.With(zap.Int64("request", r.ID), zap.String("who", r.Who), zap.String("why", r.Why))
	what := "sweep asked for by hand"
	do := c.sweepByHand
	if r.Kind == store.RetryRequest {
		what, do = "retries asked for by hand", c.retryByHand
		log = log.With(zap.String("task", r.TaskID), zap.Any("past", r.Order.Past))
	}
	if r.Policy != "" {
		log = log.With(zap.String("policy", r.Policy))
	}
	log.Info(what, zap.Int("named", len(r.Order.Devices)))
	o, err := do(ctx, r)
	state := store.RequestDone
	if err != nil {
		if ctx.Err() != nil {
			err = errStopped
		}
		state, o.Problems = store.RequestFailed, append(o.Problems, iotda.Clip(err.Error(), 500))
	}
	log.Info(what+": "+string(state), zap.Any("targets", o.Targets), zap.Any("sent", o.Sent), zap.Int("left", len(o.Left)), zap.Strings("problems", o.Problems))
	if err := c.endRequest(ctx, r.ID, state, o); err != nil {
		log.Error("what a request came to cannot be written", zap.Error(err))
		return // whoever clears it away counts it
	}
	c.countRequest(r.Kind, state)
}

func (c *connection) countRequest(kind store.RequestKind, end store.RequestState) {
	c.o.Metrics.Asked.WithLabelValues(c.name, string(kind), string(end)).Inc()
}

// endRequest writes it, again where the ledger does not take it: else the request would count as cut off.
func (c *connection) endRequest(ctx context.Context, id int64, state store.RequestState, o store.Outcome) error {
	inTime, cancel := stopping(ctx)
	defer cancel()
	for pause := time.Second; ; pause = min(2*pause, 10*time.Second) {
		err := c.ledger().EndRequest(inTime, id, state, o)
		if err == nil || errors.Is(err, store.ErrFenced) || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pause)
	}
}

// underPolicy gives a context of what is done for a person under a policy, which ends when that is
// replaced. done is to be called at its end.
func (c *connection) underPolicy(ctx context.Context, p *policy.Policy) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{cancel, make(chan struct{})}
	c.mu.Lock()
	c.performing, c.performingBy = w, p
	c.mu.Unlock()
	if !slices.Contains(c.current(), p) { // it has been, meanwhile
		cancel()
	}
	return ctx, func() {
		cancel()
		c.mu.Lock()
		c.performing, c.performingBy = nil, nil
		c.mu.Unlock()
		close(w.done)
	}
}

// outdated gives what is done for a person under a policy that does not apply any more, nil if nothing is.
func (c *connection) outdated() *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.performing == nil || slices.Contains(c.current(), c.performingBy) {
		return nil
	}
	return c.performing
}

// PerformNow performs requests that are on record, and whatever else waits for their connections,
// where no daemon does. ErrDriven is in the chain of the error where another process drives one of
// them: that will perform them.
func (s *Scheduler) PerformNow(ctx context.Context, requests ...store.Request) ([]store.Request, error) {
	s.mu.Lock()
	running := s.running != nil
	s.mu.Unlock()
	if running {
		return nil, errors.New("this process performs requests by itself")
	}
	var connections []*connection
	for _, r := range requests {
		c, err := s.connectionOf(r)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(connections, c) {
			connections = append(connections, c)
		}
	}
	release, err := s.hold(ctx, connections)
	if err != nil {
		return nil, err
	}
	defer release()
	g := errgroup.Group{}
	for _, c := range connections {
		g.Go(func() error { return c.performAll(ctx) })
	}
	err = g.Wait()
	var ended []store.Request
	for _, r := range requests {
		now, e := s.o.Store.GetRequest(context.WithoutCancel(ctx), r.ID)
		err = errors.Join(err, e)
		ended = append(ended, now)
	}
	return ended, err
}

func (s *Scheduler) connectionOf(r store.Request) (*connection, error) {
	for _, c := range s.all() {
		if c.identity == r.Identity {
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no connection %s in the configuration", r.Connection)
}

// Observing tells whether nothing is sent, for people either.
func (s *Scheduler) Observing() bool { return s.o.Observe }

// PlanRetry says what a request to retry would come to now: nothing is written, and nothing is sent.
// It needs no lease, nor that the request is on record.
func (s *Scheduler) PlanRetry(ctx context.Context, r store.Request) (would store.Outcome, err error) {
	c, err := s.connectionOf(r)
	if err != nil {
		return would, err
	}
	return c.beside().retryByHand(ctx, r)
}

// beside gives the connection for a dry run, whatever goes on on it.
func (c *connection) beside() *connection {
	dry := &connection{
		Scheduler: c.Scheduler, drive: c.drive, name: c.name, identity: c.identity, hash: c.hash, client: c.client, circuit: c.circuit, log: zap.NewNop(),
		turn: semaphore.NewWeighted(wholeTurn), listings: semaphore.NewWeighted(1), observing: semaphore.NewWeighted(1),
		posted: map[string]int{}, elsewhere: map[string]elsewhere{}, vanished: c.hasVanished(), dry: newOverlay(),
	}
	dry.setPolicies(c.current())
	return dry
}
