package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// clock is the database's clock, carried on by this machine's monotonic one between two looks at
// it. It is right to within half the time that a look takes.
type clock struct {
	mu   sync.Mutex
	date time.Time // of the database
	at   time.Time // when it was that
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.date.Add(time.Since(c.at))
}

// readClock looks at the database's clock.
func (s *Store) readClock(ctx context.Context) error {
	if s.clock == nil {
		return nil
	}
	begun := time.Now()
	var micros int64
	if err := s.read.QueryRowContext(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`).Scan(&micros); err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	took := time.Since(begun)
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.date, s.clock.at = fromMicros(micros), begun.Add(took/2)
	return nil
}
