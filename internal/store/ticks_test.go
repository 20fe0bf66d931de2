package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

func TestAPolicyIsDueSinceItsLastFinishedTick(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		at, err := s.FirstSeen(t.Context(), "p", "c")
		require.NoError(t, err)
		require.True(t, at.IsZero(), "it never was")
		seen := p.now
		baseline, err := s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, seen, baseline)
		p.sleep(time.Hour)
		tick := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Started: p.now}
		first, err := s.StartTick(t.Context(), tick)
		require.NoError(t, err)
		require.True(t, first)
		baseline, err = s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, seen, baseline, "a sweep that did not end is due again")
		tick.Started, tick.Missed = p.now.Add(time.Minute), 2
		first, err = s.StartTick(t.Context(), tick)
		require.NoError(t, err)
		require.False(t, first)
		tick.Finished, tick.Result = p.now.Add(time.Hour), "partial"
		require.NoError(t, s.FinishTick(t.Context(), tick))
		baseline, err = s.Baseline(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, tick.Tick, baseline)
		ticks, err := s.Ticks(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, []store.Tick{tick}, ticks)
		at, err = s.FirstSeen(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, seen, at)
		for _, other := range [][2]string{{"p", "d"}, {"q", "c"}} {
			ticks, err := s.Ticks(t.Context(), other[0], other[1])
			require.NoError(t, err)
			require.Empty(t, ticks)
		}
	})
}

func TestASkippedTickIsOnRecordAndAFinishedOneStays(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		skipped := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Why: "late", Missed: 3}
		require.NoError(t, s.SkipTick(t.Context(), skipped))
		begun := store.Tick{Policy: "p", Connection: "c", Tick: p.now.Add(time.Hour), Started: p.now.Add(time.Hour)}
		_, err := s.StartTick(t.Context(), begun)
		require.NoError(t, err)
		begun.Why = "down"
		require.NoError(t, s.SkipTick(t.Context(), begun), "it had not ended")
		done := store.Tick{Policy: "p", Connection: "c", Tick: p.now.Add(2 * time.Hour), Started: p.now, Finished: p.now.Add(time.Minute), Result: "failed"}
		_, err = s.StartTick(t.Context(), done)
		require.NoError(t, err)
		require.NoError(t, s.FinishTick(t.Context(), done))
		again := done
		again.Why = "late"
		require.NoError(t, s.SkipTick(t.Context(), again))
		ticks, err := s.Ticks(t.Context(), "p", "c")
		require.NoError(t, err)
		skipped.Started, skipped.Finished, skipped.Result = p.now, p.now, "skipped"
		begun.Finished, begun.Result = p.now, "skipped"
		require.Equal(t, []store.Tick{skipped, begun, done}, ticks)
	})
}

func TestTheLastCompleteSweepIsReadWithItsCounts(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		_, ok, err := s.LastComplete(t.Context(), "p", "c")
		require.NoError(t, err)
		require.False(t, ok)
		var want store.Tick
		for i, result := range []string{"complete", "complete", "partial"} {
			tick := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Started: p.now, Finished: p.now, Result: result,
				Counts: map[string]int{"due": i}, States: map[string]int{"paused": i}}
			_, err := s.StartTick(t.Context(), tick)
			require.NoError(t, err)
			require.NoError(t, s.FinishTick(t.Context(), tick))
			if result == "complete" {
				want = tick
			}
			p.sleep(time.Hour)
		}
		last, ok, err := s.LastComplete(t.Context(), "p", "c")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, last)
	})
}
