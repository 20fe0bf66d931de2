package iotdaclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"retryd/internal/iotda"
)

const (
	// endMargin is for a call's way: what ends sooner is not sent any more.
	endMargin = 5 * time.Second
	// askAgain is between two askings where the answers are good but end soon.
	askAgain = time.Minute
	// The pauses after failed askings double from the first to the last.
	firstPause, lastPause = 5 * time.Second, time.Minute
	// refusedPause follows a refused login. An account's policy locks a user after 3 to 10
	// failed logins in 15 to 60 minutes [doc iam_17_0005]: two in an hour reach none of these.
	refusedPause = 31 * time.Minute
)

// kept holds credentials that end, and asks for others before that: one caller at a time,
// while the rest go on with those that there are. Where asking fails, what is held is used
// until it ends, and the next asking waits.
type kept struct {
	ask      func(context.Context) (Credential, error)
	due      func(c Credential, got time.Time) time.Time // when to ask for others; zero = never
	patience time.Duration                               // of asking while what is held still holds

	turn chan struct{} // holds one token while somebody asks

	mu     sync.Mutex
	held   *Credential
	dueAt  time.Time
	fails  int
	failed error     // of the last asking, nil after a success
	pause  time.Time // no asking before
}

// credential gives what is held, or asks.
func (k *kept) credential(ctx context.Context) (Credential, error) {
	held, ask, err := k.look()
	switch {
	case !ask && held == nil:
		return Credential{}, err
	case !ask:
		return *held, nil
	case held != nil:
		select {
		case k.turn <- struct{}{}:
		default:
			return *held, nil // somebody is at it
		}
	default:
		select {
		case k.turn <- struct{}{}:
		case <-ctx.Done():
			return Credential{}, ctx.Err()
		}
	}
	defer func() { <-k.turn }()
	if held, ask, err = k.look(); ask { // else the turn before this one brought it, or failed
		k.refresh(ctx, held != nil)
		held, _, err = k.look()
	}
	switch {
	case held != nil:
		return *held, nil
	case err == nil:
		err = ctx.Err()
	}
	return Credential{}, err
}

// look gives what can be used now, nil if nothing can, and whether to ask for others. err is
// why there is nothing.
func (k *kept) look() (held *Credential, ask bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.held != nil && (k.held.Expires.IsZero() || now.Before(k.held.Expires.Add(-endMargin))) {
		c := *k.held
		held = &c
	}
	ask = held == nil || !k.dueAt.IsZero() && !now.Before(k.dueAt)
	return held, ask && !now.Before(k.pause), k.failed
}

// refresh asks, and keeps what comes of it.
func (k *kept) refresh(ctx context.Context, holds bool) {
	asking, cancel := ctx, context.CancelFunc(func() {})
	if holds {
		asking, cancel = context.WithTimeout(ctx, k.patience)
	}
	got, err := k.ask(asking)
	cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		k.held, k.fails, k.failed, k.pause = &got, 0, nil, time.Time{}
		k.dueAt = k.due(got, now)
	case errors.Is(ctx.Err(), context.Canceled): // the caller left: that says nothing
	default:
		k.pause = now.Add(pauseAfter(err, k.fails))
		k.failed = err
		k.fails++
		if e := AsError(err); e != nil {
			e.until = k.pause
		}
	}
}

func pauseAfter(err error, fails int) time.Duration {
	pause := min(firstPause<<min(fails, 10), lastPause)
	e := AsError(err)
	switch {
	case e == nil:
		return pause
	case e.Class == iotda.ClassAuth:
		return refusedPause
	}
	return max(pause, e.RetryAfter, time.Until(e.until))
}

// drop forgets refused credentials. It tells whether asking again can bring others.
func (k *kept) drop(refused Credential) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held != nil && *k.held == refused {
		k.held = nil
	}
	return true
}

// hasten makes the next call ask for others, and keeps these until then.
func (k *kept) hasten(refused Credential) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil || *k.held != refused {
		return true
	}
	if k.dueAt.IsZero() {
		return false
	}
	k.dueAt = time.Now()
	return true
}
