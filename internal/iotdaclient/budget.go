package iotdaclient

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// headroom keeps what arrives at the platform below the rate, although calls that left
	// evenly may arrive closer together: by a hundredth, which is 10 ms in each second.
	headroom = 0.99
	// slowest is the rate, a second, below which throttling does not push a budget: at a lower one
	// what was read is older than it may be before it can be sent.
	slowest = 0.5
	// regain is what each success adds back to a rate that was cut: at 10 calls a second it
	// grows by half a call in each second, so that few calls find the platform's limit.
	regain = 0.05
	// cutEvery makes one cut of the refusals of calls that were in flight together.
	cutEvery = time.Second
)

// Budget is a rate of calls, shared by everything that holds it. It slows down where the
// platform throttles and comes back step by step; retries go before reads.
type Budget struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	max     float64 // calls a second, as configured
	now     float64 // calls a second, at present
	burst   int
	cutAt   time.Time
	hold    time.Time // no call before it: the platform asked for that
	waiting turns
	pumping bool
	empty   chan struct{} // told when nobody waits any more
}

// NewBudget allows rps calls a second on average and burst at once.
func NewBudget(rps float64, burst int) *Budget {
	return &Budget{limiter: rate.NewLimiter(rate.Limit(rps*headroom), burst), max: rps, now: rps, burst: burst, empty: make(chan struct{}, 1)}
}

// Set changes what is allowed. What has been learnt from throttling is kept.
func (b *Budget) Set(rps float64, burst int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slowed := b.now < b.max
	b.max, b.burst = rps, burst
	if !slowed || b.now > rps {
		b.now = rps
	}
	b.apply()
}

// Drain uses up what may leave at once: somebody else may have used it a moment ago.
func (b *Budget) Drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.limiter.AllowN(now, max(int(b.limiter.TokensAt(now)), 0))
}

// PerSecond gives the calls per second that are allowed at present.
func (b *Budget) PerSecond() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// throttled halves the rate, and holds all calls for as long as the platform asked.
func (b *Budget) throttled(retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now()
	if until := at.Add(retryAfter); until.After(b.hold) {
		b.hold = until
	}
	if at.Sub(b.cutAt) < cutEvery {
		return
	}
	b.cutAt = at
	b.now = max(b.now/2, min(slowest, b.max))
	b.apply()
}

// succeeded gives back a little of what throttling took.
func (b *Budget) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now < b.max {
		b.now = min(b.now+regain, b.max)
		b.apply()
	}
}

// apply sets the limiter. A rate that was cut has no burst: that is what hit the limit.
func (b *Budget) apply() {
	b.limiter.SetLimit(rate.Limit(b.now * headroom))
	if b.now < b.max {
		b.limiter.SetBurst(1)
		return
	}
	b.limiter.SetBurst(b.burst)
}

// Wait waits for the turn of a retry, which comes before that of any read.
func (b *Budget) Wait(ctx context.Context) error { return b.wait(ctx, retriesFirst) }

func (b *Budget) wait(ctx context.Context, queue int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	w := b.waiting.join(queue)
	if !b.pumping {
		b.pumping = true
		go b.pump()
	}
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.waiting.leave(queue, w) {
		return nil // its turn came at the same moment
	}
	if b.waiting.len() == 0 {
		select {
		case b.empty <- struct{}{}:
		default:
		}
	}
	return ctx.Err()
}

// pump gives turns, one for each token, for as long as somebody waits.
func (b *Budget) pump() {
	for {
		b.mu.Lock()
		if b.waiting.len() == 0 {
			b.pumping = false
			b.mu.Unlock()
			return
		}
		select {
		case <-b.empty: // of an earlier time
		default:
		}
		now := time.Now()
		token := b.limiter.ReserveN(now, 1)
		delay := max(token.DelayFrom(now), b.hold.Sub(now))
		b.mu.Unlock()
		if !b.until(delay) {
			token.Cancel() // nobody waits for it any more
			continue
		}
		b.mu.Lock()
		b.waiting.next()
		b.mu.Unlock()
	}
}

// until waits for a token's time, and for the end of a hold that began meanwhile.
func (b *Budget) until(delay time.Duration) bool {
	for delay > 0 {
		if !b.sleep(delay) {
			return false
		}
		b.mu.Lock()
		delay = time.Until(b.hold)
		b.mu.Unlock()
	}
	return true
}

// sleep tells whether it slept to the end; it does not where everybody has left.
func (b *Budget) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.empty:
		return false
	}
}
