package scheduler

import (
	"context"
	"time"

	"go.uber.org/zap"

	"retryd/internal/metrics"
)

// housekeep watches the ledger and the clock, once a minute.
func (s *Scheduler) housekeep(ctx context.Context) {
	for ctx.Err() == nil {
		if !s.o.Store.Shared() {
			if err := s.renew(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Error("the ledger does not take that retryd is alive", zap.Error(err))
			} else if s.behind.Load() { // elsewhere followLeases does it
				s.catchUp(ctx)
			}
		}
		for _, c := range s.all() {
			if c.drives() { // else whoever does says so
				c.sayClock(ctx)
			}
		}
		if oldest, err := s.o.Store.OldestOpen(ctx); err == nil {
			s.o.Metrics.OldestOpen.Reset()
			for _, c := range s.all() {
				if at, ok := oldest[c.client.ProjectID()]; ok && c.drives() {
					s.o.Metrics.OldestOpen.WithLabelValues(c.name).Set(metrics.Seconds(at))
				}
			}
		}
		s.keeps.rest(ctx, time.Minute, nil)
	}
}

// catchUp takes the leases that a change of the configuration could not take.
func (s *Scheduler) catchUp(ctx context.Context) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.behind.Store(s.share(ctx) != nil)
}

// forgetEvery is how often history that is too old is deleted.
const forgetEvery = time.Hour

// forgetRegularly deletes old history, while nothing waits for it. A clock that nobody has
// confirmed yet, or that is off, deletes nothing.
func (s *Scheduler) forgetRegularly(ctx context.Context) {
	for sleep(ctx, time.Minute); ctx.Err() == nil; sleep(ctx, time.Minute) {
		keep := time.Duration(s.retention.Load())
		if keep <= 0 || !s.sureOfTheClock() {
			continue
		}
		if n, err := s.o.Store.Forget(ctx, keep); err != nil && ctx.Err() == nil {
			s.o.Log.Error("old history cannot be deleted", zap.Error(err))
		} else if n > 0 {
			s.o.Log.Info("deleted old history; counts are kept", zap.Int("attempts", n))
		}
		sleep(ctx, forgetEvery)
	}
}

// sureOfTheClock tells whether a platform that is driven here has confirmed the clock, and none
// contradicts it.
func (s *Scheduler) sureOfTheClock() (sure bool) {
	for _, c := range s.all() {
		if !c.drives() {
			continue
		}
		if c.clockTrouble() != "" {
			return false
		}
		_, at := c.client.Dated()
		sure = sure || !at.IsZero()
	}
	return sure
}
