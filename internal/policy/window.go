package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Window is a time of day, or of week, in which retries may leave: from each moment at
// which Start comes true, for Duration, as a clock on the wall of Zone shows it.
//
// It is reckoned on that clock, and not in elapsed hours: 01:00 for 4 h ends when the clock
// shows 05:00, also in the night in which it is put forward or back. An hour that the clock
// shows twice is in the window twice; a start that it skips counts as the moment after.
// A window that crosses midnight belongs to the day on which it starts.
type Window struct {
	Start    string // cron, 5 fields
	Duration time.Duration
	Zone     *time.Location

	starts Schedule // of Start, on a clock that is never put forward or back
}

// ParseWindow reads the start of a window, a cron expression of 5 fields.
func ParseWindow(start string, duration time.Duration, zone *time.Location) (Window, error) {
	if strings.HasPrefix(strings.TrimSpace(start), "@every") {
		return Window{}, errors.New("a window starts at times of the day: @every has none")
	}
	if duration < time.Minute {
		return Window{}, errors.New("a window lasts at least 1m")
	}
	// The clock on the wall is told in UTC, which has no gaps: see wall.
	starts, err := ParseSchedule(start, time.UTC)
	if err != nil {
		return Window{}, err
	}
	return Window{Start: start, Duration: duration, Zone: zone, starts: starts}, nil
}

// wall gives what a clock on the wall of the zone shows at t, as a time in UTC.
func wall(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// clockChanges gives a moment after t up to which the zone's clock runs evenly, the zero time if
// it always does from t on.
func clockChanges(t time.Time, zone *time.Location) time.Time {
	_, end := t.In(zone).ZoneBounds()
	if !end.IsZero() && !end.After(t) { // Go ends a leap year a day early: golang.org/issue/81583
		end = end.Add(24 * time.Hour)
	}
	return end
}

// Contains tells whether the window is open at t.
func (w Window) Contains(t time.Time) bool {
	now := wall(t, w.Zone)
	// A start at the very moment counts; the latest one closes last.
	return !w.starts.Latest(now.Add(-w.Duration), now).IsZero()
}

// yearsAhead bounds the search for an opening: every leap-day pattern comes up in them.
const yearsAhead = 9

// NextOpen gives t itself where the window is open then, else when it opens; the zero
// time if it does not within nine years.
func (w Window) NextOpen(t time.Time) time.Time {
	for from := t; from.Year() <= t.Year()+yearsAhead; {
		if w.Contains(from) {
			return from
		}
		changes := clockChanges(from, w.Zone)
		// Until the clock is put forward or back, it runs evenly.
		shown := wall(from, w.Zone)
		opens := from.Add(w.starts.Next(shown).Sub(shown))
		if changes.IsZero() || opens.Before(changes) {
			return opens.UTC()
		}
		from = changes.UTC()
	}
	return time.Time{}
}

// Blackout is a time in which no retry leaves: [From, To).
type Blackout struct {
	From, To time.Time
	Why      string
}

// Contains tells whether t is in the blackout.
func (b Blackout) Contains(t time.Time) bool { return !t.Before(b.From) && t.Before(b.To) }

// Outside says why no retry may leave at t, and when one may next; the zero Verdict means
// that one may.
func (p *Policy) Outside(t time.Time) Verdict {
	detail := p.closedBy(t)
	if detail == "" {
		return Verdict{}
	}
	return Verdict{Reason: OutsideWindow, Detail: detail, NotBefore: p.nextOpen(t)}
}

// NextOpenTick gives the first tick after t at which retries may leave; the zero time if there is
// none in sight.
func (p *Policy) NextOpenTick(t time.Time) time.Time {
	tick := p.Schedule.Next(t)
	for range 1000 { // windows that no tick falls into are refused by configurations
		v := p.Outside(tick)
		if v.Reason == "" || tick.IsZero() {
			return tick
		}
		if v.NotBefore.IsZero() || v.NotBefore.Year() > t.Year()+yearsAhead {
			return time.Time{}
		}
		tick = p.Schedule.Next(v.NotBefore.Add(-time.Second))
	}
	return time.Time{}
}

func (p *Policy) closedBy(t time.Time) string {
	for _, b := range p.Blackouts {
		if b.Contains(t) {
			detail := "blackout until " + b.To.UTC().Format(time.RFC3339)
			if b.Why != "" {
				detail += ": " + b.Why
			}
			return detail
		}
	}
	if len(p.Windows) == 0 {
		return ""
	}
	starts := make([]string, len(p.Windows))
	for i, w := range p.Windows {
		if w.Contains(t) {
			return ""
		}
		starts[i] = fmt.Sprintf("%s for %s", w.Start, Short(w.Duration))
	}
	return "window " + strings.Join(starts, ", ")
}

// nextOpen gives the first moment from t on that is in a window and in no blackout; the
// zero time if there is none within the years that are looked at.
func (p *Policy) nextOpen(t time.Time) time.Time {
	for range 1000 { // blackouts are few, and each moves t on
		opens := t
		if len(p.Windows) > 0 {
			opens = time.Time{}
			for _, w := range p.Windows {
				if next := w.NextOpen(t); !next.IsZero() && (opens.IsZero() || next.Before(opens)) {
					opens = next
				}
			}
		}
		if opens.IsZero() {
			return time.Time{}
		}
		moved := false
		for _, b := range p.Blackouts {
			if b.Contains(opens) {
				t, moved = b.To, true
			}
		}
		if !moved {
			return opens
		}
	}
	return time.Time{}
}

// Short prints a duration without the zeros at its end: 4h, 1h30m.
func Short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
