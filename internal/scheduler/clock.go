package scheduler

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// clockMax is how far this machine's clock may be off before nothing is claimed, given up or
// deleted by it.
const clockMax = 5 * time.Minute

// clockTrouble says what is wrong with the clock, empty if nothing is. The last reply's date is
// carried on by the monotonic clock, so that a clock that is set is noticed before the next.
func (c *connection) clockTrouble() string {
	date, at := c.client.Dated()
	if at.IsZero() {
		return ""
	}
	ahead := c.o.Store.Now().Sub(date.Add(time.Since(at)))
	c.o.Metrics.ClockOffset.WithLabelValues(c.name).Set(ahead.Seconds())
	switch {
	case ahead > clockMax:
		return fmt.Sprintf("clock: this machine's is %s ahead of the platform's: set it", ahead.Round(time.Second))
	case ahead < -clockMax:
		return fmt.Sprintf("clock: this machine's is %s behind the platform's: set it", (-ahead).Round(time.Second))
	}
	return ""
}

// sayClock is clockTrouble, and logs it where it begins and ends.
func (c *connection) sayClock() string {
	text := c.clockTrouble()
	if before := c.clockOff.Swap(text != ""); before == (text != "") {
		return text
	}
	c.o.Metrics.SetConnection(c.name, c.troubleReason())
	if text == "" {
		c.log.Info("the clock is right again")
		return text
	}
	c.log.Error("nothing is claimed, given up or deleted while the clock is off", zap.String("why", text))
	return text
}

// when gives a moment of this process's clock on the ledger's.
func (c *connection) when(t time.Time) time.Time {
	return c.o.Store.Now().Add(-time.Since(t))
}

// stale tells whether a read is too old to retry by. A machine that was suspended shows it
// on its wall clock only.
func stale(readAt time.Time) bool {
	return max(time.Since(readAt), time.Now().Round(0).Sub(readAt.Round(0))) > freshness
}

// gap is a time in which nobody drove the ledger: retryd was down, or the machine slept.
type gap struct{ from, to time.Time }

// since gives how much of the gap is after t.
func (g gap) since(t time.Time) time.Duration {
	if g.from.After(t) {
		t = g.from
	}
	return max(g.to.Sub(t), 0)
}

// gapAtLeast is the shortest gap between two signs of life, which come every minute.
const gapAtLeast = 3 * time.Minute

// beat writes a sign of life, and notes how long there was none.
func (s *Scheduler) beat(ctx context.Context) error {
	before, err := s.o.Store.Beat(ctx)
	if err != nil {
		return err
	}
	now := s.o.Store.Now()  // not sooner: the machine may have slept before the sign was written
	if now.Before(before) { // the clock was put back: what looked like a gap may have been none
		s.mu.Lock()
		s.down = gap{}
		s.mu.Unlock()
	}
	if !before.IsZero() && now.Sub(before) >= gapAtLeast {
		s.mu.Lock()
		s.down = gap{before, now}
		s.mu.Unlock()
	}
	return nil
}

func (s *Scheduler) lastGap() gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}
