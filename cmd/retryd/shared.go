package main

import (
	"context"
	"sync"
	"time"
)

const (
	sharedFor     = time.Second
	sharedTimeout = 5 * time.Second
)

// shared is a check whose result is for all who ask while it runs, and for a second after:
// asking often does not make it run often.
type shared struct {
	check func(context.Context) error

	mu   sync.Mutex
	last *outcome
}

// outcome is one run of a check. Its other fields are written before done is closed.
type outcome struct {
	done  chan struct{}
	ended time.Time
	err   error
}

func (s *shared) ask(ctx context.Context) error {
	s.mu.Lock()
	if s.last == nil || s.last.stale() {
		s.last = &outcome{done: make(chan struct{})}
		go s.run(context.WithoutCancel(ctx), s.last) // whoever asked first may leave
	}
	o := s.last
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shared) run(ctx context.Context, o *outcome) {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	defer close(o.done)
	o.err = s.check(ctx)
	o.ended = time.Now()
}

func (o *outcome) stale() bool {
	select {
	case <-o.done:
		return time.Since(o.ended) >= sharedFor
	default:
		return false
	}
}
