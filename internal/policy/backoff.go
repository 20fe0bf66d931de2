package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// Target names one device in one task. It is the identity that attempts are counted
// under: names of connections and policies are no part of it.
type Target struct {
	ProjectID, TaskID, DeviceID string
}

// Backoff is how long a target rests after its n-th attempt failed:
//
//	min(Max, Initial * Multiplier^(n-1)) * (1 + Jitter*u),  u in [-1, 1)
//
// or, where there are Delays, the n-th of them, and the last one from then on.
type Backoff struct {
	Initial    time.Duration
	Multiplier float64
	Max        time.Duration
	Delays     []time.Duration
	Jitter     float64 // 0 to 1
}

// After gives the rest after counted attempts, the last of which has number n. The
// jitter u comes from a hash of target and n: deciding twice gives the same instant.
func (b Backoff) After(counted, n int, t Target) time.Duration {
	if counted < 1 {
		return 0
	}
	// In floating point, so that a large exponent ends at Max and not in an overflow.
	rest := math.Min(float64(b.Max), float64(b.Initial)*math.Pow(b.Multiplier, float64(counted-1)))
	if len(b.Delays) > 0 {
		rest = float64(b.Delays[min(counted, len(b.Delays))-1])
	}
	return time.Duration(math.Min(rest*(1+b.Jitter*unit(t, n)), 1<<62)) // 146 years: more may not fit a Duration
}

// unit gives a number in [-1, 1) that depends on the target and n only.
func unit(t Target, n int) float64 {
	sum := sha256.Sum256([]byte(t.ProjectID + "\x00" + t.TaskID + "\x00" + t.DeviceID + "\x00" + strconv.Itoa(n)))
	return float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<52) - 1
}
