package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

func TestTheNextSweepIsATickAndTheDelayOfThePolicyOnTheConnection(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	require.NoError(t, err)
	now := time.Date(2026, 3, 1, 18, 7, 0, 0, time.UTC)
	first := now.Add(-100*time.Minute - 40*time.Second) // 16:26:20
	for spec, ticks := range map[string]time.Time{
		"*/15 * * * *": time.Date(2026, 3, 1, 18, 15, 0, 0, time.UTC),
		"@every 10m":   first.Add(110 * time.Minute), // they count from the baseline
		"@every 1s":    now,
	} {
		p := newPolicy("upgrades")
		p.Schedule, err = policy.ParseSchedule(spec, shanghai)
		require.NoError(t, err)
		at := scheduler.NextSweep(p, "prod", first, now)
		require.WithinRange(t, at, ticks, ticks.Add(30*time.Second), spec)
		require.True(t, at.Equal(scheduler.NextSweep(p, "prod", first, at)), "the moment itself is one")
		require.True(t, scheduler.NextSweep(p, "prod", first, at.Add(1)).After(at))
		require.True(t, scheduler.NextSweep(p, "prod", now.Add(time.Hour), now).Before(now.Add(time.Hour)), "a baseline that a fast clock wrote holds nothing up")
	}
}

func TestTheNextSweepFromWhichRetriesLeaveIsInAWindow(t *testing.T) {
	p := newPolicy("upgrades")
	window, err := policy.ParseWindow("0 1 * * *", 4*time.Hour, time.UTC)
	require.NoError(t, err)
	p.Windows = []policy.Window{window}
	p.Blackouts = []policy.Blackout{{From: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)}}
	now := time.Date(2026, 3, 1, 18, 7, 0, 0, time.UTC)
	at := scheduler.NextOpenSweep(p, "prod", now, now)
	require.WithinRange(t, at, time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 2, 0, 30, 0, time.UTC))
}
