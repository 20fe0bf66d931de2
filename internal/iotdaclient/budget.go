package iotdaclient

import (
	"context"

	"golang.org/x/time/rate"
)

// headroom keeps what arrives at the platform below the rate, although calls that left
// evenly may arrive closer together: by a hundredth, which is 10 ms in each second.
const headroom = 0.99

// Budget is a rate of calls, shared by everything that holds it.
type Budget struct {
	limiter *rate.Limiter
	rps     float64
}

// NewBudget allows rps calls a second on average and burst at once.
func NewBudget(rps float64, burst int) *Budget {
	return &Budget{limiter: rate.NewLimiter(rate.Limit(rps*headroom), burst), rps: rps}
}

// Wait waits for the next call's turn.
func (b *Budget) Wait(ctx context.Context) error { return b.limiter.Wait(ctx) }

// PerSecond gives the configured calls per second.
func (b *Budget) PerSecond() float64 { return b.rps }
