package iotdaclient

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// The platform locks an access key for 5 minutes after five consecutive failures [doc
// devg-apisign api-sign-0001]. Two leave room for whoever else uses the key.
const (
	guardWindow = 5 * time.Minute
	guardMax    = 2
)

// Guards keeps one guard per credential, shared by the connections that use it.
type Guards struct {
	mu sync.Mutex
	m  map[[sha256.Size]byte]*guard
}

// NewGuards makes an empty set.
func NewGuards() *Guards { return &Guards{m: map[[sha256.Size]byte]*guard{}} }

func (g *Guards) of(hash [sha256.Size]byte) *guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m[hash] == nil {
		g.m[hash] = &guard{probe: make(chan struct{}, 1)}
	}
	return g.m[hash]
}

// guard holds back calls with credentials that were refused. Until they are accepted
// for the first time, and after each refusal, one call at a time probes them.
type guard struct {
	probe chan struct{} // holds one token while a probe is under way

	mu       sync.Mutex
	accepted bool
	refusals []time.Time
}

// answer is what a call told about its credentials.
type answer int

const (
	answerNothing  answer = iota // no reply, or a gateway's
	answerAccepted               // whatever came back, they were accepted
	answerRefused
)

// enter waits until a call may be made. done must be called with what it told.
func (g *guard) enter(ctx context.Context) (done func(answer), until time.Time, err error) {
	if until := g.lockedUntil(time.Now()); !until.IsZero() {
		return nil, until, nil
	}
	if g.isAccepted() {
		return g.note, time.Time{}, nil
	}
	select {
	case g.probe <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	release := func() { <-g.probe }
	// The probe before this one may have settled it.
	if until := g.lockedUntil(time.Now()); !until.IsZero() {
		release()
		return nil, until, nil
	}
	if g.isAccepted() {
		release()
		return g.note, time.Time{}, nil
	}
	return func(a answer) { g.note(a); release() }, time.Time{}, nil
}

func (g *guard) isAccepted() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accepted
}

func (g *guard) note(a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch a {
	case answerAccepted:
		g.accepted = true
	case answerRefused:
		g.accepted = false
		g.refusals = append(g.refusals, time.Now())
	case answerNothing:
	}
}

// lockedUntil gives when calls may be made again, the zero time if they may now.
func (g *guard) lockedUntil(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.refusals) > 0 && now.Sub(g.refusals[0]) >= guardWindow {
		g.refusals = g.refusals[1:]
	}
	if len(g.refusals) < guardMax {
		return time.Time{}
	}
	return g.refusals[len(g.refusals)-guardMax].Add(guardWindow)
}
