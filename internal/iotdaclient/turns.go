package iotdaclient

import (
	"context"
	"slices"
	"sync"
)

// turns are those who wait for something, in two queues: retries go before reads, as what was read and
// decided grows old.
type turns [2][]*waiter

// The queues of turns.
const (
	retriesFirst = iota
	readsAfter
)

type waiter struct{ ready chan struct{} }

// join adds one at the end of a queue. Its channel is closed when its turn comes.
func (t *turns) join(queue int) *waiter {
	w := &waiter{ready: make(chan struct{})}
	t[queue] = append(t[queue], w)
	return w
}

// leave takes one out; it tells whether its turn had not come yet.
func (t *turns) leave(queue int, w *waiter) bool {
	i := slices.Index(t[queue], w)
	if i < 0 {
		return false
	}
	t[queue] = slices.Delete(t[queue], i, i+1)
	return true
}

// next gives a turn; it tells whether anybody had waited for it.
func (t *turns) next() bool {
	for queue, q := range t {
		if len(q) > 0 {
			t[queue] = q[1:]
			close(q[0].ready)
			return true
		}
	}
	return false
}

func (t *turns) len() int { return len(t[retriesFirst]) + len(t[readsAfter]) }

// slots bound the calls in flight.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting turns
}

func (s *slots) acquire(ctx context.Context, queue int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.free > 0 { // nobody waits while one is
		s.free--
		s.mu.Unlock()
		return nil
	}
	w := s.waiting.join(queue)
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.leave(queue, w) {
		return ctx.Err()
	}
	return nil // its turn came at the same moment
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting.next() {
		s.free++
	}
}
