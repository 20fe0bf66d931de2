package policy_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/policy"
)

func TestTheLatestTickIsWhatCountingThemGives(t *testing.T) {
	specs := []string{"@every 2s", "@every 15m", "*/15 * * * *", "0 2 * * *", "30 1 * * 0", "@hourly", "15 10 1 * *", "0 0 29 2 *", "*/7 3-5 * * 1-5"}
	zones := []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		require.NoError(t, err)
		s, err := policy.ParseSchedule(rapid.SampledFrom(specs).Draw(t, "spec"), zone)
		require.NoError(t, err)
		after := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 400*24*60*60).Draw(t, "after"))*time.Second + time.Duration(rapid.IntRange(0, 999_999_999).Draw(t, "fraction")))
		until := after.Add(time.Duration(rapid.IntRange(0, 2*24*60*60).Draw(t, "for")) * time.Second)
		want := time.Time{}
		for tick := s.Next(after); !tick.IsZero() && !tick.After(until); tick = s.Next(tick) {
			want = tick
		}
		require.True(t, want.Equal(s.Latest(after, until)), "%s, not %s", s.Latest(after, until), want)
	})
}

func TestTicksOfEveryCountFromTheLastOne(t *testing.T) {
	s, err := policy.ParseSchedule("@every 15m", time.UTC)
	require.NoError(t, err)
	require.True(t, s.Latest(now, now.Add(15*time.Minute-1)).IsZero())
	require.Equal(t, now.Add(15*time.Minute), s.Latest(now, now.Add(15*time.Minute)))
	require.Equal(t, now.Add(45*time.Minute), s.Latest(now, now.Add(59*time.Minute)))
}

func TestSchedulesThatWouldDoSomethingElseAreRefused(t *testing.T) {
	for spec, why := range map[string]string{
		"": "not a cron expression", "* * * *": "not a cron expression", "* * * * * *": "not a cron expression", "61 * * * *": "not a cron expression",
		"TZ=UTC": "set time_zone", "CRON_TZ=UTC * * * * *": "set time_zone", "@every 0s": "at least 1s", "@every 1ms": "at least 1s",
		"@every 1500ms": "whole seconds", "@every soon": "whole seconds", "0 0 30 2 *": "never comes true", "0 0 31 4,6 *": "never comes true",
	} {
		_, err := policy.ParseSchedule(spec, time.UTC)
		require.ErrorContains(t, err, why, spec)
	}
}

// TestTheLastDayOfALeapYearIsADayLikeOthers has the day on which Go's ZoneBounds ends before it
// begins (golang.org/issue/81583), in a year that is in no table of changes.
func TestTheLastDayOfALeapYearIsADayLikeOthers(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		noon := time.Date(2040, 12, 31, 12, 0, 0, 0, zone(t, name))
		monthly, err := policy.ParseSchedule("0 3 1 * *", noon.Location())
		require.NoError(t, err)
		want := time.Date(2041, 1, 1, 3, 0, 0, 0, noon.Location())
		require.Equal(t, want, monthly.Next(noon))
		require.Equal(t, want, monthly.Next(noon.AddDate(0, 0, -20)))
		require.Equal(t, want.UTC(), window(t, "0 3 1 1 *", time.Hour, name).NextOpen(noon))
	}
}
