package scheduler

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// ClockMax is how far the ledger's clock may be off before nothing is claimed, given up or
// deleted by it.
const ClockMax = 5 * time.Minute

// clockTrouble says what is wrong with the clock, empty if nothing is. The last reply's date is
// carried on by the monotonic clock, so that a clock that is set is noticed before the next.
func (c *connection) clockTrouble() string {
	date, at := c.client.Dated()
	if at.IsZero() {
		return ""
	}
	ahead := c.o.Store.Now().Sub(date.Add(time.Since(at)))
	c.o.Metrics.ClockOffset.WithLabelValues(c.name).Set(ahead.Seconds())
	whose := "this machine's"
	if c.o.Store.Shared() {
		whose = "the database's"
	}
	switch {
	case ahead > ClockMax:
		return fmt.Sprintf("clock: %s is %s ahead of the platform's: set it", whose, ahead.Round(time.Second))
	case ahead < -ClockMax:
		return fmt.Sprintf("clock: %s is %s behind the platform's: set it", whose, (-ahead).Round(time.Second))
	}
	return ""
}

// sayClock is clockTrouble, and logs it where it begins and ends.
func (c *connection) sayClock(ctx context.Context) string {
	text := c.clockTrouble()
	if before := c.clockOff.Swap(text != ""); before == (text != "") {
		return text
	}
	c.stands(ctx, c.troubleReason(), nil)
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
