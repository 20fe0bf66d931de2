package policy_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/policy"
)

func find(expr string) *regexp.Regexp { return regexp.MustCompile(expr) }

func zone(t testing.TB, name string) *time.Location {
	z, err := time.LoadLocation(name)
	require.NoError(t, err)
	return z
}

func window(t testing.TB, start string, d time.Duration, zoneName string) policy.Window {
	w, err := policy.ParseWindow(start, d, zone(t, zoneName))
	require.NoError(t, err)
	return w
}

// TestAWindowFollowsTheClockOnTheWallAcrossBothChanges has the nights in which Berlin's
// clock is put forward (29 March 2026) and back (25 October 2026).
func TestAWindowFollowsTheClockOnTheWallAcrossBothChanges(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	nightly := window(t, "0 1 * * *", 4*time.Hour, "Europe/Berlin")
	for _, c := range []struct {
		opens, closes string // with their offsets
		long          time.Duration
	}{
		{"2026-03-28T01:00:00+01:00", "2026-03-28T05:00:00+01:00", 4 * time.Hour},
		{"2026-03-29T01:00:00+01:00", "2026-03-29T05:00:00+02:00", 3 * time.Hour},
		{"2026-10-25T01:00:00+02:00", "2026-10-25T05:00:00+01:00", 5 * time.Hour},
	} {
		opens, closes := instant(t, c.opens), instant(t, c.closes)
		require.Equal(t, c.long, closes.Sub(opens))
		require.False(t, nightly.Contains(opens.Add(-time.Nanosecond)))
		require.True(t, nightly.Contains(opens))
		require.True(t, nightly.Contains(closes.Add(-time.Nanosecond)))
		require.False(t, nightly.Contains(closes))
		require.Equal(t, opens.UTC(), nightly.NextOpen(opens.Add(-3*time.Hour)))
		require.Equal(t, opens.UTC().Add(time.Minute), nightly.NextOpen(opens.UTC().Add(time.Minute)), "open already")
	}
	skipped := window(t, "30 2 * * *", time.Hour, "Europe/Berlin")
	require.Equal(t, instant(t, "2026-03-29T03:00:00+02:00").UTC(), skipped.NextOpen(instant(t, "2026-03-29T00:00:00+01:00")), "the clock skips the start")
	twice := window(t, "15 2 * * *", 15*time.Minute, "Europe/Berlin")
	first := twice.NextOpen(time.Date(2026, 10, 25, 0, 0, 0, 0, berlin))
	require.Equal(t, instant(t, "2026-10-25T02:15:00+02:00").UTC(), first)
	require.Equal(t, first.Add(time.Hour), twice.NextOpen(first.Add(15*time.Minute)), "the clock shows it twice")
}

func TestAWindowThatCrossesMidnightBelongsToTheDayItStartsOn(t *testing.T) {
	w := window(t, "0 22 * * FRI", 6*time.Hour, "Asia/Shanghai")
	require.True(t, w.Contains(instant(t, "2026-11-28T03:59:59+08:00")), "Saturday morning is Friday's window")
	require.False(t, w.Contains(instant(t, "2026-11-28T04:00:00+08:00")))
	require.False(t, w.Contains(instant(t, "2026-11-27T03:00:00+08:00")), "Friday morning is Thursday's, and Thursday has none")
	require.Equal(t, instant(t, "2026-12-04T22:00:00+08:00").UTC(), w.NextOpen(instant(t, "2026-11-28T04:00:00+08:00")))
}

func instant(t testing.TB, s string) time.Time {
	v, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return v
}

// TestWindowsAgreeWithAClockThatIsReadMinuteByMinute holds Contains and NextOpen against an
// oracle that shares nothing with them: it reads the clock on the wall at each minute.
func TestWindowsAgreeWithAClockThatIsReadMinuteByMinute(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "America/Sao_Paulo", "Africa/Casablanca"}
	rapid.Check(t, func(rt *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(rt, "zone"))
		minute, hour := rapid.IntRange(0, 59).Draw(rt, "minute"), rapid.IntRange(0, 23).Draw(rt, "hour")
		weekday := rapid.IntRange(-1, 6).Draw(rt, "weekday")
		lasts := time.Duration(rapid.IntRange(1, 26*60).Draw(rt, "lasts")) * time.Minute
		day := "*"
		if weekday >= 0 {
			day = fmt.Sprint(weekday)
		}
		w, err := policy.ParseWindow(fmt.Sprintf("%d %d * * %s", minute, hour, day), lasts, loc)
		require.NoError(rt, err)
		open := func(at time.Time) bool {
			at = at.In(loc)
			for back := range 3 { // the days on which it may have started, by the calendar
				start := time.Date(at.Year(), at.Month(), at.Day()-back, 0, 0, 0, 0, time.UTC)
				if weekday >= 0 && int(start.Weekday()) != weekday {
					continue
				}
				shown := (back*24+at.Hour())*60 + at.Minute() // minutes since that day's midnight, by the clock
				if from := hour*60 + minute; shown >= from && shown < from+int(lasts/time.Minute) {
					return true
				}
			}
			return false
		}
		begin := time.Date(2026, rapid.SampledFrom([]time.Month{3, 4, 10, 11}).Draw(rt, "month"), rapid.IntRange(1, 31).Draw(rt, "day"), 0, 0, 0, 0, time.UTC)
		var pending []time.Time // minutes at which it was closed
		var says time.Time
		for at := begin; at.Before(begin.Add(4 * 24 * time.Hour)); at = at.Add(time.Minute) {
			is := open(at)
			require.Equal(rt, is, w.Contains(at), at)
			switch {
			case is:
				if len(pending) > 0 {
					require.Equal(rt, at, says, "it said that it opens then")
				}
				require.Equal(rt, at, w.NextOpen(at))
				pending = nil
			case len(pending) == 0:
				pending, says = append(pending, at), w.NextOpen(at)
			}
		}
	})
}

func TestOutsideSaysWhyAndWhenItOpens(t *testing.T) {
	p := newPolicy()
	require.Zero(t, p.Outside(now))
	p.Windows = []policy.Window{window(t, "0 1 * * *", 4*time.Hour, "Asia/Shanghai"), window(t, "0 13 * * SAT,SUN", 90*time.Minute, "Asia/Shanghai")}
	v := p.Outside(now) // Sunday, 20:00 in Shanghai
	require.Equal(t, policy.Verdict{
		Reason: policy.OutsideWindow, Detail: "window 0 1 * * * for 4h, 0 13 * * SAT,SUN for 1h30m", NotBefore: instant(t, "2026-03-02T01:00:00+08:00").UTC(),
	}, v)
	require.Zero(t, p.Outside(v.NotBefore))
	p.Blackouts = []policy.Blackout{
		{From: now, To: v.NotBefore.Add(time.Hour)}, {From: v.NotBefore.Add(time.Hour), To: v.NotBefore.Add(4 * time.Hour), Why: "freeze"},
	}
	v2 := p.Outside(v.NotBefore)
	require.Equal(t, "blackout until "+v.NotBefore.Add(time.Hour).Format(time.RFC3339), v2.Detail)
	require.Equal(t, v.NotBefore.Add(24*time.Hour), v2.NotBefore, "the night is blacked out to its end")
	p.Windows = nil
	require.Equal(t, v.NotBefore.Add(4*time.Hour), p.Outside(v.NotBefore).NotBefore)
}

func TestBadWindowsAreRefused(t *testing.T) {
	for start, want := range map[string]string{"@every 1h": "@every has none", "0 0 30 2 *": "never comes true", "nope": "not a cron expression"} {
		_, err := policy.ParseWindow(start, time.Hour, time.UTC)
		require.ErrorContains(t, err, want)
	}
	_, err := policy.ParseWindow("0 1 * * *", time.Second, time.UTC)
	require.ErrorContains(t, err, "at least 1m")
}
