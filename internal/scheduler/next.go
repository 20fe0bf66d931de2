package scheduler

import (
	"time"

	"retryd/internal/policy"
)

// manyTicks bounds the search for a tick: windows that no tick falls into are refused by
// configurations.
const manyTicks = 1000

// NextSweep gives when the policy is swept on the connection next, at a moment or after it: a tick
// and the delay that keeps policies from starting at once. baseline is the last finished tick, or
// when the policy was first seen there: ticks of @every count from it. The zero time means that
// there is none in sight.
func NextSweep(p *policy.Policy, connection string, baseline, from time.Time) time.Time {
	if baseline.After(from.Add(ClockMax)) { // as follow does: written by a clock that was ahead
		baseline = from
	}
	tick := baseline
	if last := p.Schedule.Latest(baseline, from.Add(-spreadMax)); !last.IsZero() {
		tick = last
	}
	for range manyTicks {
		if tick = p.Schedule.Next(tick); tick.IsZero() {
			return time.Time{}
		}
		if at := tick.Add(spread(p, connection, tick)); !at.Before(from) {
			return at
		}
	}
	return time.Time{}
}

// NextOpenSweep gives the first of the sweeps from a moment on from which retries may leave.
func NextOpenSweep(p *policy.Policy, connection string, baseline, from time.Time) time.Time {
	for range manyTicks {
		at := NextSweep(p, connection, baseline, from)
		v := p.Outside(at)
		if at.IsZero() || v.Reason == "" {
			return at
		}
		if from = v.NotBefore; from.IsZero() {
			return time.Time{}
		}
	}
	return time.Time{}
}
