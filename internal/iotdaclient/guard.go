package iotdaclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// AuthLog remembers, beyond this process, which credentials were refused when.
type AuthLog interface {
	// BeginAuth notes a call with credentials that are not proven: it counts as refused until
	// EndAuth says otherwise. Where two were refused within that time already, until says when
	// the next call may be made, and nothing is noted.
	BeginAuth(ctx context.Context, hash string, within time.Duration) (id int64, until time.Time, err error)
	EndAuth(ctx context.Context, id int64, refused bool) error
	// RefusedAuth notes that credentials which had been accepted were refused.
	RefusedAuth(ctx context.Context, hash string) error
}

const (
	// The platform locks an access key for 5 minutes after five consecutive failures
	// [doc devg-apisign api-sign-0001]. Two leave room for whoever else uses the key.
	guardMax    = 2
	guardWindow = 5 * time.Minute
	// IAM locks a user after as few as three failed logins in as long as an hour, as the account
	// has it set [doc iam_17_0005].
	loginWindow = 61 * time.Minute
)

// Guards keeps one guard per credential, shared by the connections that use it.
type Guards struct {
	mu  sync.Mutex
	log AuthLog
	m   map[string]*guard
}

// NewGuards makes an empty set that forgets with the process, until Keep.
func NewGuards() *Guards { return &Guards{m: map[string]*guard{}, log: &memoryLog{}} }

// Keep has refusals remembered in log from now on.
func (g *Guards) Keep(log AuthLog) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = log
}

// enter waits until a call may be made of which two may be refused within some time, counted
// under name. done must be called with what it told. with is the token that it carries, hashed,
// zero for a key.
func (g *Guards) enter(ctx context.Context, name [sha256.Size]byte, within time.Duration, with [sha256.Size]byte) (done func(answer) error, e *Error) {
	one := g.of(name, within)
	done, until, err := one.enter(ctx, with)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &Error{Class: classStopped, err: err}
	case err != nil:
		return nil, &Error{Class: classLocked, err: err} // what cannot be noted is not risked
	case done == nil:
		return nil, &Error{Class: classLocked, Message: "no call before " + until.UTC().Format(time.RFC3339) + one.lastWords(), until: until}
	}
	return done, nil
}

// RefusedWith stands in the error of a call that is held back before what the platform said when it refused
// the last one.
const RefusedWith = "; the last call was refused with: "

// heard keeps what the platform says as it refuses a call: once calls are held back nobody would hear it again.
func (g *Guards) heard(name [sha256.Size]byte, within time.Duration, e *Error) {
	one := g.of(name, within)
	one.mu.Lock()
	defer one.mu.Unlock()
	one.words = strings.TrimPrefix(e.What(), e.Op+": ")
}

func (g *Guards) of(hash [sha256.Size]byte, within time.Duration) *guard {
	name := hex.EncodeToString(hash[:])
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m[name] == nil {
		g.m[name] = &guard{hash: name, within: within, all: g, probe: make(chan struct{}, 1)}
	}
	return g.m[name]
}

// Doubt has the next call with any credentials be a probe, which looks at the log: meanwhile they
// may have been refused to another process.
func (g *Guards) Doubt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.m {
		one.mu.Lock()
		one.accepted = false
		one.mu.Unlock()
	}
}

func (g *Guards) authLog() AuthLog {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log
}

// guard holds back calls with credentials that were refused. Until they are accepted
// for the first time, and after each refusal, one call at a time probes them.
type guard struct {
	hash   string
	within time.Duration
	all    *Guards
	probe  chan struct{} // holds one token while a probe is under way

	mu       sync.Mutex
	accepted bool
	epoch    int               // refusals so far
	refused  [sha256.Size]byte // the token that was refused last, until the next is accepted
	words    string            // of the platform, with the last refusal in this process
}

func (g *guard) lastWords() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.words == "" {
		return ""
	}
	return RefusedWith + g.words
}

// answer is what a call told about its credentials.
type answer int

const (
	answerNothing  answer = iota // no reply, or a gateway's
	answerAccepted               // whatever came back, they were accepted
	answerRefused
)

// enter waits until a call may be made. done must be called with what it told. Where no
// call may be made before a moment, done is nil and until that moment.
func (g *guard) enter(ctx context.Context, with [sha256.Size]byte) (done func(answer) error, until time.Time, err error) {
	if epoch, ok := g.isAccepted(); ok {
		return g.later(ctx, with, epoch), time.Time{}, nil
	}
	select {
	case g.probe <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	release := func() { <-g.probe }
	if epoch, ok := g.isAccepted(); ok { // the probe before this one settled it
		release()
		return g.later(ctx, with, epoch), time.Time{}, nil
	}
	log := g.all.authLog()
	id, until, err := log.BeginAuth(ctx, g.hash, g.within)
	if err != nil || !until.IsZero() {
		release()
		return nil, until, err
	}
	return func(a answer) error {
		defer release()
		g.note(a, with, g.now())
		return log.EndAuth(context.WithoutCancel(ctx), id, a == answerRefused)
	}, time.Time{}, nil
}

// later takes the answer to a call with credentials that had been accepted. A token that
// ended while several calls carried it was refused once: it is one event, not a row of tries.
func (g *guard) later(ctx context.Context, with [sha256.Size]byte, epoch int) func(answer) error {
	return func(a answer) error {
		again := g.note(a, with, epoch)
		if a != answerRefused || again {
			return nil
		}
		return g.all.authLog().RefusedAuth(context.WithoutCancel(ctx), g.hash)
	}
}

func (g *guard) isAccepted() (epoch int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch, g.accepted
}

func (g *guard) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch
}

// note tells whether it is a token's refusal that has been noted before. epoch is when the call
// was let through: one from before the last refusal proves nothing about what came after it.
func (g *guard) note(a answer, with [sha256.Size]byte, epoch int) (again bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch a {
	case answerAccepted:
		if epoch == g.epoch {
			g.accepted, g.refused = true, [sha256.Size]byte{}
		}
	case answerRefused:
		again = g.refused == with && with != [sha256.Size]byte{}
		g.accepted, g.refused = false, with
		g.epoch++
	case answerNothing:
	}
	return again
}

// memoryLog is an AuthLog for as long as the process lasts.
type memoryLog struct {
	mu   sync.Mutex
	last int64
	used map[string]map[int64]time.Time
}

// BeginAuth notes a call.
func (m *memoryLog) BeginAuth(_ context.Context, hash string, within time.Duration) (int64, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	var oldest time.Time
	for id, at := range m.used[hash] {
		if now.Sub(at) >= within {
			delete(m.used[hash], id)
		} else if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	if len(m.used[hash]) >= guardMax {
		return 0, oldest.Add(within), nil
	}
	return m.add(hash, now), time.Time{}, nil
}

func (m *memoryLog) add(hash string, at time.Time) int64 {
	if m.used == nil {
		m.used = map[string]map[int64]time.Time{}
	}
	if m.used[hash] == nil {
		m.used[hash] = map[int64]time.Time{}
	}
	m.last++
	m.used[hash][m.last] = at
	return m.last
}

// EndAuth takes a call back, or dates its refusal.
func (m *memoryLog) EndAuth(_ context.Context, id int64, refused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, used := range m.used {
		if _, ok := used[id]; ok && refused {
			used[id] = time.Now()
		} else {
			delete(used, id)
		}
	}
	return nil
}

// RefusedAuth notes a refusal.
func (m *memoryLog) RefusedAuth(_ context.Context, hash string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(hash, time.Now())
	return nil
}
