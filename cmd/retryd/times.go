package main

import (
	"errors"
	"retryd/internal/config"
	"time"
)

// span is a duration on the command line, which may have days, as those of the configuration may.
type span time.Duration

// UnmarshalText reads 30m, 12h, 2d or 1d12h.
func (s *span) UnmarshalText(text []byte) error {
	d, err := config.ParseDuration(string(text))
	if err != nil {
		return errors.New("want a duration such as 30m, 12h or 2d")
	}
	*s = span(d)
	return nil
}

// moment is a time on the command line.
type moment time.Time

// UnmarshalText reads 2027-02-13T08:00:00+08:00.
func (m *moment) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return errors.New("want a moment with its zone, such as 2027-02-13T08:00:00+08:00 or 2027-02-13T00:00:00Z")
	}
	*m = moment(t)
	return nil
}
