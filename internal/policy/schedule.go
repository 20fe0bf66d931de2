package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is when a policy is due: a cron expression in a time zone.
type Schedule struct {
	Spec string
	Zone *time.Location
	cron cron.Schedule
}

// ParseSchedule reads an expression of 5 fields, @every or one of @hourly, @daily, …
// It refuses what the cron library would take and turn into something else: its own
// TZ= prefix (the zone is a key of its own), a rate faster than a second, and an
// expression that never comes true, such as 30 February.
func ParseSchedule(spec string, zone *time.Location) (Schedule, error) {
	spec = strings.TrimSpace(spec)
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		return Schedule{}, errors.New("a time zone inside the expression is not supported: set time_zone instead")
	}
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second || d%time.Second != 0 {
			return Schedule{}, errors.New("@every takes whole seconds, at least 1s, such as @every 15m")
		}
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, fmt.Errorf("not a cron expression (minute hour day month weekday, or @every 15m): %w", err)
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok {
		spec.Location = time.UTC // see Next
	}
	s := Schedule{Spec: spec, Zone: zone, cron: parsed}
	// A fixed date keeps this pure; eight years hold every leap-day pattern that occurs.
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, zone)).IsZero() {
		return Schedule{}, errors.New("it never comes true")
	}
	return s, nil
}

// Next gives the first tick after t; the zero time if there is none within nine years. A time of
// day that the zone's clock skips has no tick, and one that it shows twice has two.
func (s Schedule) Next(t time.Time) time.Time {
	if every, ok := s.cron.(cron.ConstantDelaySchedule); ok {
		return t.Add(every.Delay).In(s.Zone) // not cut to the second: Latest has to agree
	}
	// The library adds whole hours to find the next, which misses ticks where a clock is moved by
	// half an hour (Lord Howe). Between two changes of the clock it runs evenly, as in UTC.
	for from, also := t, time.Duration(0); from.Year() <= t.Year()+yearsAhead; {
		shown := wall(from, s.Zone)
		next := s.cron.Next(shown.Add(-also))
		if next.IsZero() { // the library looks five years ahead: from 2096 it is eight to the next leap day
			next = s.cron.Next(shown.AddDate(4, 0, 0))
		}
		if next.IsZero() {
			return time.Time{}
		}
		at := from.Add(next.Sub(shown))
		changes := clockChanges(from, s.Zone)
		if changes.IsZero() || at.Before(changes) {
			return at.In(s.Zone)
		}
		from, also = changes, time.Second // the moment of the change can be a tick itself
	}
	return time.Time{}
}

// Latest gives the last tick in (after, now], the zero time if there is none. Ticks of
// @every count from after.
func (s Schedule) Latest(after, now time.Time) time.Time {
	if every, ok := s.cron.(cron.ConstantDelaySchedule); ok {
		if n := now.Sub(after) / every.Delay; n >= 1 {
			return after.Add(n * every.Delay)
		}
		return time.Time{}
	}
	// Looking back in growing steps keeps a long absence as cheap as a short one.
	for back := time.Minute; ; back *= 4 {
		from := now.Add(-back)
		if from.Before(after) || back > 10*365*24*time.Hour {
			from = after
		}
		if tick := s.Next(from); !tick.IsZero() && !tick.After(now) {
			return s.last(tick, now)
		}
		if from.Equal(after) {
			return time.Time{}
		}
	}
}

func (s Schedule) last(tick, now time.Time) time.Time {
	for {
		next := s.Next(tick)
		if next.IsZero() || next.After(now) {
			return tick
		}
		tick = next
	}
}

// countMax bounds Count: more ticks than that are as many.
const countMax = 100_000

// Count gives how many ticks there are in (after, until], at most 100,000.
func (s Schedule) Count(after, until time.Time) (n int) {
	if every, ok := s.cron.(cron.ConstantDelaySchedule); ok {
		return min(int(until.Sub(after)/every.Delay), countMax)
	}
	for n < countMax {
		after = s.Next(after)
		if after.IsZero() || after.After(until) {
			break
		}
		n++
	}
	return n
}
