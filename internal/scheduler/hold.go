package scheduler

import (
	"context"
	"errors"
	"fmt"
)

// ErrDriven is in the chain of the error for a connection that another process drives.
var ErrDriven = errors.New("another retryd drives it")

// hold takes the budgets of some connections for as long as one sweep takes, until the function
// that it gives is called.
func (s *Scheduler) hold(ctx context.Context, connections []*connection) (release func(), err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	me := s.replica()
	for _, c := range connections {
		if _, held := c.drive.holds(); held {
			continue
		}
		if err := s.take(ctx, c.drive, me); err != nil {
			s.leave()
			return nil, err
		}
		if _, held := c.drive.holds(); !held {
			why := c.drive.refused
			s.leave()
			return nil, fmt.Errorf("connection %s: %w: %s", c.name, ErrDriven, why)
		}
	}
	if err := s.sayAlive(ctx); err != nil { // not before: others would make room for a replica that may leave at once
		s.leave()
		return nil, err
	}
	renewing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.o.Store.Shared() {
			s.keepLeases(renewing, func(error) {})
		}
	}()
	return func() {
		stop()
		<-done
		s.applying.Lock()
		defer s.applying.Unlock()
		s.leave()
	}, nil
}
