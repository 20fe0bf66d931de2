package scheduler

import (
	"errors"
	"sync"
	"time"

	"retryd/internal/iotda"
)

// errCircuit is why nothing is sent although targets are due.
var errCircuit = errors.New("retry calls came back refused, or without proof of what they did: the next goes out alone, after a good read")

// circuitAfter is how many retry calls in a row may come back without proof.
const circuitAfter = 3

// circuit bounds what is sent after retry calls of which it is not known what they did: each
// target of such a call has used an attempt.
type circuit struct {
	mu     sync.Mutex
	fails  int       // in a row
	size   int       // targets of the next call; 0 = any number
	opened time.Time // by the last call without proof
}

// limit gives how many targets the next call may have, 0 for none before a newer read.
func (c *circuit) limit(readAt time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.size == 0:
		return iotda.MaxTargetsPerRetry
	case readAt.Before(c.opened):
		return 0
	}
	return c.size
}

// atOnce gives how many calls may be in flight together: no more than would open the circuit.
func (c *circuit) atOnce() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size > 0 {
		return 1
	}
	return circuitAfter - c.fails
}

// unknown opens the circuit; while it is open, one call is enough to begin anew.
func (c *circuit) unknown() {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	c.fails = 0
	if c.size *= 10; c.size > iotda.MaxTargetsPerRetry {
		c.size = 0
	}
}

// open tells whether calls without proof hold back others.
func (c *circuit) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size > 0
}
