package policy_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
)

// specs are seeds: what is usual, what is refused, and what asks for the ends of the calendar.
var specs = []string{
	"*/15 * * * *", "@every 1h", "@every 90s", "@daily", "@weekly", "30 2 * * *", "0 0 29 2 *", "0 0 31 * *", "15 10 1 * MON", "1-5/2 3,4 * 3,10 SUN",
	"*/7 3-5 * * 1-5", "0 0 * * 7", "59 23 31 12 ?", "TZ=UTC", "CRON_TZ=UTC * * * * *", "0 0 30 2 *", "@every 0s", "@every 1h1ns", "@every 2562047h", "* * * * * *", "",
}

// zonesWithClocks have clocks that are moved by an hour, by half an hour, at midnight, in Ramadan, over a
// whole day, never, and by odd seconds long ago.
var zonesWithClocks = []string{
	"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu",
}

func addMoments(add func(spec string, zone uint8, at int64, fraction uint32)) {
	for i, spec := range specs {
		for _, at := range []string{"2026-03-29T00:59:59Z", "2026-10-25T00:30:00Z", "2026-04-04T14:45:00Z", "2011-12-30T09:00:00Z", "2096-02-29T00:00:00Z", "2040-12-30T23:00:00Z", "1970-01-01T00:00:00Z"} {
			t, err := time.Parse(time.RFC3339, at)
			if err != nil {
				panic(err)
			}
			add(spec, uint8(i), t.Unix(), uint32(i%3)*333_333_333)
		}
	}
}

// moment is one from 1970 to 2242, as far as a zone's rules are worth anything.
func moment(at int64, fraction uint32) time.Time {
	return time.Unix(at&(1<<33-1), int64(fraction%1e9)).UTC()
}

// shown is what a clock on the wall shows, as a time in UTC.
func shown(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// FuzzTheNextTickComesAfterAndNoneIsBetween holds a zone's ticks against those of a clock that is
// never moved: a moment is a tick if and only if what the zone's clock shows is one.
func FuzzTheNextTickComesAfterAndNoneIsBetween(f *testing.F) {
	addMoments(func(spec string, zone uint8, at int64, fraction uint32) { f.Add(spec, zone, at, fraction, uint16(at)) })
	f.Fuzz(func(t *testing.T, spec string, zoneIndex uint8, at int64, fraction uint32, between uint16) {
		loc := zone(t, zonesWithClocks[int(zoneIndex)%len(zonesWithClocks)])
		s, err := policy.ParseSchedule(spec, loc)
		if err != nil {
			return
		}
		from := moment(at, fraction)
		next := s.Next(from)
		require.True(t, next.After(from), "%s is not after %s", next, from) // what never comes true is refused
		require.Equal(t, loc, next.Location())
		require.True(t, next.Equal(s.Latest(from, next)))
		require.True(t, s.Latest(from, next.Add(-1)).IsZero())
		require.Equal(t, 1, s.Count(from, next))
		even, err := policy.ParseSchedule(spec, time.UTC)
		require.NoError(t, err)
		if gap := even.Next(from).Sub(from); even.Next(from.Add(gap/2)) != even.Next(from) {
			return // @every has ticks from wherever it is asked
		}
		ticks := func(at time.Time) bool {
			wall := shown(at.In(loc))
			return even.Next(wall.Add(-1)).Equal(wall)
		}
		require.True(t, ticks(next), "%s", next)
		require.True(t, next.Equal(s.Next(next.Add(-1))))
		probe := from.Truncate(time.Minute).Add(time.Duration(between%1440) * time.Minute)
		if probe.After(from) && probe.Before(next) {
			require.False(t, ticks(probe), "%s is a tick between %s and %s", probe, from, next)
		}
	})
}

func FuzzAWindowOpensWhenItSaysAndNotBefore(f *testing.F) {
	addMoments(func(spec string, zone uint8, at int64, fraction uint32) {
		f.Add(spec, zone, at, fraction, int64(4*60+30), uint16(at))
		f.Add(spec, zone, at, fraction, int64(26*60), uint16(at))
	})
	f.Fuzz(func(t *testing.T, start string, zoneIndex uint8, at int64, fraction uint32, minutes int64, between uint16) {
		loc := zone(t, zonesWithClocks[int(zoneIndex)%len(zonesWithClocks)])
		lasts := time.Duration(minutes%(400*24*60)) * time.Minute
		w, err := policy.ParseWindow(start, lasts, loc)
		if err != nil {
			return
		}
		starts, err := policy.ParseSchedule(start, time.UTC)
		require.NoError(t, err)
		open := func(at time.Time) bool { // it began less than so long ago, by the clock on the wall
			wall := shown(at.In(loc))
			return !starts.Next(wall.Add(-lasts)).After(wall)
		}
		from := moment(at, fraction)
		require.Equal(t, open(from), w.Contains(from), "at %s", from)
		opens := w.NextOpen(from)
		require.False(t, opens.Before(from), "%s is before %s", opens, from)
		require.True(t, w.Contains(opens), "it is closed at %s, when it opens", opens)
		require.Equal(t, w.Contains(from), opens.Equal(from))
		if gap := opens.Sub(from); gap > 0 {
			require.False(t, w.Contains(opens.Add(-1)), "it is open before %s", opens)
			require.False(t, w.Contains(from.Add(gap>>16*time.Duration(between))), "it is open between %s and %s", from, opens)
		}
	})
}

func FuzzWhatIsClosedSaysWhenItOpensAndIsOpenThen(f *testing.F) {
	addMoments(func(spec string, zone uint8, at int64, fraction uint32) {
		f.Add("*/15 * * * *", spec, "0 22 * * FRI", zone, at, fraction, uint16(240), int16(-30), uint16(90))
		f.Add(spec, "0 1 * * *", "30 2 * * *", zone, at, fraction, uint16(60), int16(0), uint16(60*24))
	})
	f.Fuzz(func(t *testing.T, tick, start, otherStart string, zoneIndex uint8, at int64, fraction uint32, minutes uint16, blackAfter int16, blackFor uint16) {
		loc := zone(t, zonesWithClocks[int(zoneIndex)%len(zonesWithClocks)])
		now := moment(at, fraction)
		p := newPolicy()
		var err error
		if p.Schedule, err = policy.ParseSchedule(tick, loc); err != nil {
			return
		}
		for _, start := range []string{start, otherStart} {
			if w, err := policy.ParseWindow(start, time.Duration(minutes)*time.Minute, loc); err == nil {
				p.Windows = append(p.Windows, w)
			}
		}
		black := now.Truncate(time.Minute).Add(time.Duration(blackAfter) * time.Minute)
		for range 3 { // one after the other, with a gap of a minute
			b := policy.Blackout{From: black, To: black.Add(time.Duration(blackFor) * time.Minute)}
			p.Blackouts, black = append(p.Blackouts, b), b.To.Add(time.Minute)
		}
		open := len(p.Windows) == 0
		for _, w := range p.Windows {
			open = open || w.Contains(now)
		}
		for _, b := range p.Blackouts {
			open = open && !b.Contains(now)
		}
		v := p.Outside(now)
		require.Equal(t, open, v.Reason == "", "%+v", v)
		if !open {
			require.NotEmpty(t, v.Detail)
			require.True(t, v.NotBefore.After(now), "%s is not after %s", v.NotBefore, now)
			require.Zero(t, p.Outside(v.NotBefore))
		}
		if next := p.NextOpenTick(now); !next.IsZero() {
			require.True(t, next.After(now))
			require.Zero(t, p.Outside(next))
		}
	})
}

func FuzzARestIsNeverNegativeNorLongerThanItsMostWithJitter(f *testing.F) {
	f.Add(int64(30*time.Minute), 3.0, int64(24*time.Hour), 0.2, uint16(5), "d1", int64(0))
	f.Add(int64(1), 100.0, int64(1<<63-1), 1.0, uint16(65535), "d1", int64(0))
	f.Add(int64(time.Hour), 1.0, int64(time.Hour), 1.0, uint16(1), "\x00", int64(1<<63-1))
	f.Fuzz(func(t *testing.T, initial int64, multiplier float64, most int64, jitter float64, n uint16, device string, delay int64) {
		// What a configuration lets through.
		if initial <= 0 || most < initial || !(multiplier >= 1 && multiplier <= 100) || !(jitter >= 0 && jitter <= 1) || delay < 0 {
			return
		}
		b := policy.Backoff{Initial: time.Duration(initial), Multiplier: multiplier, Max: time.Duration(most), Jitter: jitter}
		if delay > 0 {
			b, most = policy.Backoff{Delays: []time.Duration{0, time.Duration(delay)}, Jitter: jitter}, delay
		}
		target := policy.Target{ProjectID: "p", TaskID: "t", DeviceID: device}
		rest := b.After(int(n), int(n), target)
		require.GreaterOrEqual(t, rest, time.Duration(0))
		require.LessOrEqual(t, float64(rest), float64(most)*(1+jitter)+1)
		require.Equal(t, rest, b.After(int(n), int(n), target), "deciding twice agrees")
	})
}
