package web

import (
	"fmt"
	"strings"
	"time"
)

// instant is a moment as a page shows it.
type instant struct {
	Machine, Text, Full, Ago string
}

// When gives a moment, or nothing where there is none.
func (v *view) When(at any) *instant {
	var t time.Time
	switch at := at.(type) {
	case time.Time:
		t = at
	case *time.Time:
		if at != nil {
			t = *at
		}
	}
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	text := t.Format("2 Jan 15:04")
	if t.Year() != v.Now.Year() {
		text = t.Format("2 Jan 2006 15:04")
	}
	return &instant{Machine: t.Format(time.RFC3339), Text: text, Full: t.Format("Monday 2006-01-02 15:04:05") + " UTC", Ago: Ago(t.Sub(v.Now))}
}

// Ago says how far from now something is: on pages, and in what commands print.
func Ago(d time.Duration) string {
	far := d.Abs()
	var text string
	switch {
	case far < 5*time.Second:
		return "now"
	case far < time.Minute:
		text = fmt.Sprintf("%d s", far/time.Second)
	case far < time.Hour:
		text = fmt.Sprintf("%d min", far/time.Minute)
	case far < 48*time.Hour:
		text = fmt.Sprintf("%d h", far/time.Hour)
	default:
		text = fmt.Sprintf("%d days", far/(24*time.Hour))
	}
	if d > 0 {
		return "in " + text
	}
	return text + " ago"
}

// Took says how long a sweep took.
func (v *view) Took(s Sweep) string {
	if s.Finished == nil {
		return ""
	}
	if took := s.Finished.Sub(s.Started); took >= time.Second {
		return "took " + lasting(took)
	}
	return "took less than a second"
}

// Late says which tick a sweep was for, unless it began then.
func (v *view) Late(s Sweep) string {
	words := ""
	if late := s.Started.Sub(s.Tick); late >= time.Minute {
		words = lasting(late) + " after its tick"
	}
	if s.Missed > 0 {
		words = strings.TrimPrefix(words+fmt.Sprintf(", for %d earlier ticks too", s.Missed), ", ")
	}
	return words
}
