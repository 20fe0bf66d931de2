package main

import (
	"errors"
	"regexp"
	"strconv"
	"time"
)

// span is a duration on the command line, which may have days, as those of the configuration may.
type span time.Duration

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// UnmarshalText reads 30m, 12h, 2d or 1d12h.
func (s *span) UnmarshalText(text []byte) error {
	total, rest := time.Duration(0), string(text)
	if m := days.FindStringSubmatch(rest); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		if total, rest = time.Duration(n)*24*time.Hour, m[2]; rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return errors.New("want a duration such as 30m, 12h or 2d")
	}
	*s = span(total + d)
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
