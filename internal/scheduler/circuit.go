package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"retryd/internal/iotda"
)

// errCircuit is why nothing is sent although targets are due.
var errCircuit = errors.New("retry calls came back refused, or without proof of what they did: the next goes out alone, after a good read")

const (
	// circuitAfter is how many retry calls in a row may come back without proof.
	circuitAfter = 3
	// trustFor is how long an answer to a retry call is taken as a sign that the next one
	// will be answered too.
	trustFor = time.Minute
	// probeEvery is the longest pause between probes that fail.
	probeEvery = 14 * time.Minute
)

// circuit bounds what is sent after retry calls of which it is not known what they did: each
// target of such a call has used an attempt. So the first call after a while is for one target,
// the next for ten, and only then for a hundred; and the same after calls without proof, which
// open it until then.
type circuit struct {
	mu     sync.Mutex
	answer time.Time // the last
	fails  int       // in a row
	size   int       // targets of the next call; 0 = any number
	opened time.Time // by the last call without proof; zero = it is not open
	probes int       // failed ones in a row

	inFlight int           // calls
	left     chan struct{} // closed when one of them ends; nil = nobody waits for that
	window   int           // calls that may be in flight
	answers  int           // since the window grew
}

// limit gives how many targets the next call may have, 0 for none before a newer read, or so
// soon after a probe that failed.
func (c *circuit) limit(readAt time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allows(readAt)
}

func (c *circuit) allows(readAt time.Time) int {
	c.doubt()
	switch {
	case c.size == 0:
		return iotda.MaxTargetsPerRetry
	case readAt.Before(c.opened), c.probes > 0 && time.Since(c.opened) < min(time.Minute<<min(c.probes-1, 4), probeEvery):
		return 0
	}
	return c.size
}

// enter waits until one more call may be in flight, and gives how many targets it may have: 0 for none
// now. alone is set where it is to be the only one, and most is how many there may be at any rate. Whoever
// entered leaves.
func (c *circuit) enter(ctx context.Context, readAt time.Time, most int) (size int, alone bool, err error) {
	for {
		c.mu.Lock()
		size = c.allows(readAt)
		atOnce := min(c.atOnce(), most)
		if size == 0 || c.inFlight < atOnce {
			if size > 0 {
				c.inFlight++
			}
			c.mu.Unlock()
			return size, atOnce == 1, nil
		}
		if c.left == nil {
			c.left = make(chan struct{})
		}
		left := c.left
		c.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
	}
}

// leave ends what enter began.
func (c *circuit) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
	if c.left != nil {
		close(c.left)
		c.left = nil
	}
}

// suspect has one call without proof open it, if there was no answer for a while.
func (c *circuit) suspect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt()
}

// doubt has the first call after a while be a small one.
func (c *circuit) doubt() {
	if c.size == 0 && time.Since(c.answer) > trustFor {
		c.size = 1
	}
}

// atOnce gives how many calls may be in flight together: no more than would open the circuit, and twice
// as many each time that all of those were answered. The connection's concurrency is above it all.
func (c *circuit) atOnce() int {
	if c.size > 0 {
		return 1
	}
	return max(circuitAfter, c.window) - c.fails
}

// unknown opens the circuit; where the call was a small one, that one is enough.
func (c *circuit) unknown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window, c.answers = 0, 0
	if !c.opened.IsZero() {
		c.probes++
	}
	if c.fails++; c.fails >= circuitAfter || c.size > 0 {
		c.size, c.opened = 1, time.Now()
	}
}

// refused opens it as well: a claim that is taken back leaves a row in the ledger.
func (c *circuit) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size, c.opened = 1, time.Now()
}

// answered lets ten times as many through, until it is any number again.
func (c *circuit) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer, c.fails, c.probes = time.Now(), 0, 0
	if c.size > 0 {
		if c.size *= 10; c.size > iotda.MaxTargetsPerRetry {
			c.size, c.opened, c.window, c.answers = 0, time.Time{}, circuitAfter, 0
		}
		return
	}
	if c.answers++; c.answers >= c.window && c.window < 1<<20 {
		c.window, c.answers = 2*max(c.window, circuitAfter), 0
	}
}

// open tells whether calls without proof hold back others.
func (c *circuit) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.opened.IsZero()
}
