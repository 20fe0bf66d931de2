package scheduler

import (
	"context"
	"fmt"
	"time"
)

// loop is one of those that the scheduler runs by, which shows on request that it goes round.
type loop struct {
	does  string
	asked chan struct{} // taken by the loop itself, where it rests
}

func newLoop(does string) loop { return loop{does, make(chan struct{})} }

// rest waits until it is time for the next round, or woken, and answers whoever asks meanwhile.
func (l loop) rest(ctx context.Context, d time.Duration, woken <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-woken:
			return
		case <-l.asked:
		}
	}
}

// Turn returns once each loop of a scheduler that runs has shown that it goes round: it is at rest
// between two rounds. Sweeps may wait for a platform as long as they must: these loops never do, and
// what they ask of the ledger ends, however that goes. The error of a context that ends before
// names the loop.
func (s *Scheduler) Turn(ctx context.Context) error {
	for _, l := range []loop{s.keeps, s.serves} {
		select {
		case l.asked <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("the loop %s is stuck: %w", l.does, ctx.Err())
		}
	}
	return nil
}
