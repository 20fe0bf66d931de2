package scheduler

import (
	"context"
	"hash/fnv"
	"time"

	"go.uber.org/zap"

	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// spreadMax keeps policies that are due at one moment from starting at once.
const spreadMax = 30 * time.Second

// follow sweeps one policy on one connection at each of its ticks.
func (s *Scheduler) follow(ctx context.Context, c *connection, p *policy.Policy) {
	log := s.o.Log.With(zap.String("policy", p.Name), zap.String("connection", c.name))
	if last, ok, err := c.ledger().LastComplete(ctx, p.Name, c.name); err == nil && ok {
		s.o.Metrics.SetTargets(c.name, p.Name, last.Counts)
		s.o.Metrics.SetTasks(c.name, p.Name, last.States)
		s.o.Metrics.LastSuccess.WithLabelValues(c.name, p.Name).Set(metrics.Seconds(last.Finished))
	}
	for ctx.Err() == nil {
		baseline, err := c.ledger().Baseline(ctx, p.Name, c.name)
		if err != nil {
			if ctx.Err() == nil {
				log.Error("the ledger cannot be read: no sweep before it can", zap.Error(err))
			}
			sleep(ctx, 10*time.Second)
			continue
		}
		now := s.o.Store.Now()
		if baseline.After(now.Add(ClockMax)) { // written by a clock that was ahead
			baseline = now
		}
		if tick := p.Schedule.Latest(baseline, now); !tick.IsZero() {
			s.tick(ctx, c, p, tick, p.Schedule.Count(baseline, tick)-1)
			continue
		}
		s.sleepUntil(ctx, c.sayNext(p, baseline))
	}
}

// sayNext says when the policy is due after a tick or its baseline, and gives it.
func (c *connection) sayNext(p *policy.Policy, after time.Time) time.Time {
	next := p.Schedule.Next(after)
	at := next.Add(spread(p, c.name, next))
	c.o.Metrics.NextSweep.WithLabelValues(c.name, p.Name).Set(metrics.Seconds(at))
	return at
}

// tick sweeps once, and what could not be read again after 1, 2, 4 … minutes until the
// next tick. missed earlier ticks fell due meanwhile, and are made up for by this one.
func (s *Scheduler) tick(ctx context.Context, c *connection, p *policy.Policy, tick time.Time, missed int) {
	if s.skip(ctx, c, p, tick, missed) {
		return
	}
	c.sayNext(p, tick) // this one is not to come any more, however long it takes
	w := newSweep(c, p, tick)
	w.missed = missed
	for pause := time.Minute; ; pause *= 2 {
		r := w.run(ctx)
		if ctx.Err() != nil || r.Result == SweepComplete {
			return
		}
		if c.clockTrouble() != "" || tick.After(s.o.Store.Now()) { // which tick it is is not sure
			sleep(ctx, time.Minute)
			return
		}
		if again := s.o.Store.Now().Add(pause); again.After(p.Schedule.Next(tick)) {
			sleep(ctx, time.Second) // a tick that could not even be written is due at once
			return
		}
		sleep(ctx, pause)
	}
}

// skip leaves out a tick that was missed while retryd was down for longer than catch_up. A
// tick that only waits its turn is never skipped.
func (s *Scheduler) skip(ctx context.Context, c *connection, p *policy.Policy, tick time.Time, missed int) bool {
	if err := s.renew(ctx); err != nil { // a machine that slept notices it here first
		if ctx.Err() == nil {
			s.o.Log.Error("the ledger does not take that retryd is alive", zap.Error(err))
			sleep(ctx, 10*time.Second)
		}
		return true // it comes up again
	}
	down := c.drive.lastGap().since(tick)
	if down <= p.CatchUp {
		return false
	}
	if _, at := c.client.Dated(); at.IsZero() || c.clockTrouble() != "" { // a clock that was put forward looks like a gap: a reply tells
		if _, err := c.list(ctx, time.Now()); err != nil {
			if ctx.Err() == nil {
				s.o.Log.Warn("the platform's clock could not be read: a tick that may have to be skipped stays due", zap.String("connection", c.name), zap.Error(err))
				sleep(ctx, time.Minute)
			}
			return true // it comes up again
		}
	}
	if c.clockTrouble() != "" {
		return false
	}
	err := c.ledger().SkipTick(ctx, store.Tick{Policy: p.Name, Connection: c.name, Tick: tick, Why: SkippedDowntime, Missed: missed})
	log := s.o.Log.With(zap.String("policy", p.Name), zap.String("connection", c.name), zap.Time("tick", tick), zap.Int("earlier_ticks", missed))
	if err != nil {
		if ctx.Err() == nil {
			log.Error("a tick that is skipped cannot be written down", zap.Error(err))
			sleep(ctx, 10*time.Second)
		}
		return true // it comes up again
	}
	s.o.Metrics.TicksSkipped.WithLabelValues(c.name, p.Name, SkippedDowntime).Add(float64(missed + 1))
	log.Warn("tick skipped: retryd was down for longer than catch_up", zap.Duration("down", down), zap.Duration("catch_up", p.CatchUp))
	return true
}

// Why ticks are not swept by themselves.
const (
	SkippedDowntime  = "downtime"  // retryd was down for longer than catch_up
	SkippedCollapsed = "collapsed" // a later tick was due already: one sweep does for both
)

// Skips lists why ticks are not swept by themselves.
func Skips() []string { return []string{SkippedDowntime, SkippedCollapsed} }

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
