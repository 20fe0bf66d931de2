package policy

import (
	"math"
	"time"
)

// Rest is how Backoff.After comes to its value, step by step.
type Rest struct {
	Base   time.Duration // Initial, or that of the Delays whose turn it is
	Factor float64       // that it grows by: Multiplier^(counted-1); 1 where there are Delays
	Grown  time.Duration // Base * Factor
	Capped bool          // Grown is more than Max
	Before time.Duration // before jitter
	Jitter time.Duration // that comes to it: less than 0 makes it shorter
	Rest   time.Duration // what After gives
}

// Explain gives the steps of After. The zero Rest means that there is no rest.
func (b Backoff) Explain(counted, n int, t Target) Rest {
	if counted < 1 {
		return Rest{}
	}
	r := Rest{Base: b.Initial, Factor: math.Pow(b.Multiplier, float64(counted-1)), Rest: b.After(counted, n, t)}
	if len(b.Delays) > 0 {
		r.Base, r.Factor = b.Delays[min(counted, len(b.Delays))-1], 1
	}
	grown := float64(r.Base) * r.Factor
	r.Grown = atMost(grown)
	r.Before = r.Grown
	if len(b.Delays) == 0 && grown > float64(b.Max) {
		r.Capped, r.Before = true, b.Max
	}
	r.Jitter = r.Rest - r.Before
	return r
}

// atMost gives a duration of so many nanoseconds, or the longest that After gives.
func atMost(nanoseconds float64) time.Duration {
	return time.Duration(math.Min(nanoseconds, 1<<62))
}
