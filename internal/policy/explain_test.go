package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheStepsOfABackoffComeToWhatItGives(t *testing.T) {
	for _, b := range []Backoff{
		{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2},
		{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour},
		{Initial: time.Hour, Multiplier: 1, Max: time.Hour, Jitter: 1},
		{Initial: time.Hour, Multiplier: 1e9, Max: 30 * 24 * time.Hour, Jitter: 0.5},
		{Delays: []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour}, Jitter: 0.2},
	} {
		for counted := range 50 {
			for device := range 20 {
				target := Target{"p", "t", fmt.Sprint(device)}
				n := counted + device%3 // more than count, where some were forgiven
				r := b.Explain(counted, n, target)
				require.Equal(t, b.After(counted, n, target), r.Rest)
				require.Equal(t, r.Rest, r.Before+r.Jitter, "%+v, %d counted", b, counted)
				within := time.Duration(b.Jitter*float64(r.Before)) + time.Microsecond
				require.LessOrEqual(t, r.Jitter.Abs(), within)
			}
		}
	}
}

func TestTheStepsOfABackoffSayWhatItDoes(t *testing.T) {
	b := Backoff{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour}
	target := Target{"p", "t", "d"}
	require.Equal(t, Rest{}, b.Explain(0, 0, target))
	require.Equal(t, Rest{Base: 30 * time.Minute, Factor: 9, Grown: 270 * time.Minute, Before: 270 * time.Minute, Rest: 270 * time.Minute}, b.Explain(3, 3, target))
	capped := b.Explain(5, 5, target)
	require.True(t, capped.Capped)
	require.Equal(t, 40*time.Hour+30*time.Minute, capped.Grown)
	require.Equal(t, 24*time.Hour, capped.Rest)
	b = Backoff{Delays: []time.Duration{15 * time.Minute, time.Hour}}
	require.Equal(t, Rest{Base: time.Hour, Factor: 1, Grown: time.Hour, Before: time.Hour, Rest: time.Hour}, b.Explain(7, 7, target))
}
