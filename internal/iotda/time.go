package iotda

import (
	"fmt"
	"strings"
	"time"
)

// TimeLayout is the form of create_time and schedule_time, in UTC [doc].
const TimeLayout = "20060102T150405Z"

// The forms that replies and the reference's own samples use. The last, with seconds
// of three digits, is a misprint in the reference (2015-12-12T12:12:122Z) that a
// reply might repeat; it is read as its first two digits.
var layouts = []string{
	TimeLayout,
	"2006-01-02T15:04:05.000Z",
	time.RFC3339,
	"20060102T150405.000Z",
	"2006-01-02 15:04:05",
}

// ParseTime reads a time of the platform leniently, as UTC. An empty string gives the
// zero time and no error: the platform leaves times out.
func ParseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if n := len(text); n == len("2015-12-12T12:12:122Z") && text[n-1] == 'Z' && '0' <= text[n-2] && text[n-2] <= '9' {
		if t, err := time.Parse("2006-01-02T15:04:05", text[:n-2]); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time that the platform is known to write", Clip(text, 40))
}

// Created gives when the task was made, the zero time where the platform does not say
// or says it in a form that is not known.
func (t Task) Created() time.Time {
	created, err := ParseTime(t.CreateTime)
	if err != nil {
		return time.Time{}
	}
	return created
}

// NewerThan tells whether t was made after other. Retrying the older of two campaigns
// can undo the newer one, so where the times do not tell, t counts as newer.
func (t Task) NewerThan(other Task) bool {
	if t.ID == other.ID {
		return false
	}
	a, b := t.Created(), other.Created()
	switch {
	case a.IsZero() || b.IsZero():
		return true
	case a.Equal(b):
		return t.ID > other.ID
	}
	return a.After(b)
}
