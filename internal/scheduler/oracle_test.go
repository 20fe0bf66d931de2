package scheduler_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
)

// An oracle says when retries may leave and when ticks are due, by a reckoning of its own:
// minute by minute, with nothing but what a calendar and the clock on the wall of a zone show.
// It shares no code with package policy, which is held against it.
type oracle struct {
	zone      *time.Location
	schedule  string
	windows   []civil
	blackouts []span

	lines map[string]line
}

// civil is a window as it is configured.
type civil struct {
	start    string
	duration time.Duration
}

// span is a time from a moment on, and until another.
type span struct{ from, to time.Time }

func (s span) contains(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// line is a cron expression of 5 fields whose days and months are stars: which minutes of the
// day it names, and which weekdays.
type line struct {
	minutes  []int
	weekdays []bool
}

func newLine(expr string) (l line) {
	f := strings.Fields(expr)
	if len(f) != 5 || f[2] != "*" || f[3] != "*" {
		panic("the oracle does not read " + expr)
	}
	minutes, hours := field(f[0], 60), field(f[1], 24)
	for i := range 24 * 60 {
		if minutes[i%60] && hours[i/60] {
			l.minutes = append(l.minutes, i)
		}
	}
	l.weekdays = field(f[4], 7)
	return l
}

func field(text string, n int) []bool {
	named := make([]bool, n)
	for part := range strings.SplitSeq(text, ",") {
		part, stepText, _ := strings.Cut(part, "/")
		first, last := 0, n-1
		if part != "*" {
			from, to, isRange := strings.Cut(part, "-")
			first = number(from)
			if last = first; isRange {
				last = number(to)
			}
		}
		step := 1
		if stepText != "" {
			step = number(stepText)
		}
		for i := first; i <= last; i += step {
			named[i] = true
		}
	}
	return named
}

func number(text string) int {
	if day := slices.Index([]string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}, text); day >= 0 {
		return day
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func (o *oracle) line(expr string) line {
	if o.lines == nil {
		o.lines = map[string]line{}
	}
	if _, ok := o.lines[expr]; !ok {
		o.lines[expr] = newLine(expr)
	}
	return o.lines[expr]
}

// open tells whether retries may leave at t: a window belongs to the day on which it starts
// and is open while the clock on the wall shows less than its start and duration added up,
// hours past 24 being those of the next day.
func (o *oracle) open(t time.Time) bool {
	if slices.ContainsFunc(o.blackouts, func(s span) bool { return s.contains(t) }) {
		return false
	}
	shown := t.In(o.zone)
	today := shown.Weekday()
	for _, w := range o.windows {
		starts, lasts := o.line(w.start), int(w.duration/time.Minute)
		for daysAgo := 0; daysAgo*24*60 < lasts+24*60; daysAgo++ {
			if !starts.weekdays[(int(today)+7-daysAgo%7)%7] {
				continue
			}
			now := shown.Hour()*60 + shown.Minute() + daysAgo*24*60 // since that day began, as the wall shows it
			for _, start := range starts.minutes {
				if start <= now && now < start+lasts {
					return true
				}
			}
		}
	}
	return len(o.windows) == 0
}

// ticks lists when the schedule is due in (from, to]: whenever the clock on the wall shows
// what it names. What the clock skips is not due, what it shows twice is due twice: so does
// robfig/cron ("jobs scheduled during daylight-savings leap-ahead transitions will not be run",
// its doc.go, and "1am nightly job (runs twice)", its spec_test.go).
func (o *oracle) ticks(from, to time.Time) (ticks []time.Time) {
	l := o.line(o.schedule)
	for t := from.Truncate(time.Minute).Add(time.Minute); !t.After(to); t = t.Add(time.Minute) {
		shown := t.In(o.zone)
		if _, named := slices.BinarySearch(l.minutes, shown.Hour()*60+shown.Minute()); named && l.weekdays[shown.Weekday()] {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// changes lists when the zone's clock is put forward or back in (from, to).
func (o *oracle) changes(from, to time.Time) (changes []time.Time) {
	for {
		_, next := from.In(o.zone).ZoneBounds()
		if next.IsZero() || !next.Before(to) {
			return changes
		}
		changes = append(changes, next.UTC())
		from = next
	}
}

// apply puts what the oracle reckons by into a policy.
func (o *oracle) apply(t testing.TB, p *policy.Policy) {
	var err error
	p.Schedule, err = policy.ParseSchedule(o.schedule, o.zone)
	require.NoError(t, err)
	for _, w := range o.windows {
		window, err := policy.ParseWindow(w.start, w.duration, o.zone)
		require.NoError(t, err)
		p.Windows = append(p.Windows, window)
	}
	for _, b := range o.blackouts {
		p.Blackouts = append(p.Blackouts, policy.Blackout{From: b.from, To: b.to, Why: "test"})
	}
}

func place(t testing.TB, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

// newOracles gives three places whose clocks change: by an hour in the north, and by half an
// hour in the south. Windows cross midnight, and start and end in what a change skips or repeats.
func newOracles(t testing.TB) []*oracle {
	berlin, newYork, lordHowe := place(t, "Europe/Berlin"), place(t, "America/New_York"), place(t, "Australia/Lord_Howe")
	oracles := []*oracle{
		{zone: berlin, schedule: "*/10 22,23,0-4 * * *",
			windows:   []civil{{"30 23 * * MON-SAT", 150 * time.Minute}, {"30 2 * * SUN", 90 * time.Minute}},
			blackouts: []span{{time.Date(2027, 12, 20, 0, 0, 0, 0, berlin), time.Date(2028, 1, 3, 0, 0, 0, 0, berlin)}}},
		{zone: newYork, schedule: "5,35 * * * *",
			windows:   []civil{{"15 1 * * *", 75 * time.Minute}, {"0 20 * * FRI", 7 * time.Hour}},
			blackouts: []span{{time.Date(2028, 3, 12, 1, 30, 0, 0, newYork), time.Date(2028, 3, 12, 3, 10, 0, 0, newYork)}}},
		{zone: lordHowe, schedule: "*/15 * * * *",
			windows:   []civil{{"10 2 * * *", 50 * time.Minute}, {"45 1 * * SUN", 20 * time.Minute}, {"30 22 * * MON,WED,FRI", 2 * time.Hour}},
			blackouts: []span{{time.Date(2027, 7, 1, 0, 0, 0, 0, lordHowe), time.Date(2027, 7, 5, 12, 0, 0, 0, lordHowe)}}},
	}
	for i, o := range oracles { // and three days of each five weeks
		for n := range 20 {
			from := time.Date(2027, 1, 20+7*i+35*n, 12, 0, 0, 0, o.zone)
			o.blackouts = append(o.blackouts, span{from, from.AddDate(0, 0, 3)})
		}
	}
	return oracles
}

func TestWindowsAreThoseOfTheOracle(t *testing.T) {
	t.Parallel()
	for _, o := range newOracles(t) {
		p := newPolicy("upgrades")
		o.apply(t, p)
		from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		to := from.AddDate(2, 0, 0)
		compare := func(from, to time.Time, step time.Duration) {
			for at := from; at.Before(to); at = at.Add(step) {
				require.Equal(t, o.open(at), p.Outside(at).Reason == "", "%s %s", o.zone, at.In(o.zone))
			}
		}
		compare(from, to, 97*time.Minute)
		changes := o.changes(from, to)
		require.Len(t, changes, 4)
		for _, change := range changes {
			compare(change.Add(-4*time.Hour), change.Add(4*time.Hour), time.Minute)
		}
	}
}

// TestATickInTheSkippedHourIsNotDueAndOneInTheRepeatedHourIsDueTwice holds the schedule to what
// robfig/cron says of itself, tick by tick through two years.
func TestATickInTheSkippedHourIsNotDueAndOneInTheRepeatedHourIsDueTwice(t *testing.T) {
	t.Parallel()
	from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(2, 0, 0)
	for _, c := range []struct{ zone, schedule string }{
		{"Europe/Berlin", "30 2 * * *"}, {"Europe/Berlin", "0 3 * * SUN"}, {"America/New_York", "30 1,2 * * *"}, {"Australia/Lord_Howe", "15,45 * * * *"},
	} {
		o := &oracle{zone: place(t, c.zone), schedule: c.schedule}
		s, err := policy.ParseSchedule(c.schedule, o.zone)
		require.NoError(t, err)
		wanted := o.ticks(from, to)
		got := make([]time.Time, 0, len(wanted))
		for at := s.Next(from); !at.After(to); at = s.Next(at) {
			got = append(got, at.UTC())
		}
		require.Equal(t, wanted, got, "%s %s", c.zone, c.schedule)
		require.Equal(t, len(wanted), s.Count(from, to))
		if c.schedule == "30 2 * * *" { // 28 March 2027 and 26 March 2028 lose one, 31 October 2027 and 29 October 2028 have two
			require.Len(t, wanted, 731-2+2)
			require.Empty(t, o.ticks(time.Date(2027, 3, 28, 0, 0, 0, 0, o.zone), time.Date(2027, 3, 29, 0, 0, 0, 0, o.zone)))
			require.Len(t, o.ticks(time.Date(2027, 10, 31, 0, 0, 0, 0, o.zone), time.Date(2027, 11, 1, 0, 0, 0, 0, o.zone)), 2)
		}
	}
}
