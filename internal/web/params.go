package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// params are the words of a query. What is wrong with them is kept until check.
type params struct {
	values url.Values
	now    time.Time
	known  []string
	wrong  *Problem
}

func readParams(query string, now time.Time) (*params, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, refusal(http.StatusBadRequest, "the query cannot be read: %s", err)
	}
	return &params{values: values, now: now}, nil
}

// check gives what is wrong, after everything that there can be has been read.
func (p *params) check() error {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(p.known, name) {
			can := "it takes none"
			if len(p.known) > 0 {
				can = "there are " + strings.Join(p.known, ", ")
			}
			p.refuse("there is no parameter %q: %s", name, can)
		}
	}
	if p.wrong != nil {
		return p.wrong
	}
	return nil
}

// refuse keeps the first thing that is wrong.
func (p *params) refuse(format string, args ...any) {
	if p.wrong == nil {
		p.wrong = refusal(http.StatusBadRequest, format, args...)
	}
}

func (p *params) text(name string) string {
	p.known = append(p.known, name)
	values := p.values[name]
	if len(values) > 1 {
		p.refuse("%s is given %d times: once is enough", name, len(values))
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// texts gives all the values of what can be given several times.
func (p *params) texts(name string) []string {
	p.known = append(p.known, name)
	return p.values[name]
}

func (p *params) oneOf(name string, words ...string) string {
	value := p.text(name)
	if value != "" && !slices.Contains(words, value) {
		p.refuse("%s can be %s: it is %q", name, strings.Join(words, ", "), value)
	}
	return value
}

// yes reads a word that has to be said where it is named.
func (p *params) yes(name string) bool {
	value := p.oneOf(name, "true", "false")
	if value == "" && p.values.Has(name) {
		p.refuse("%s can be true, false: it is empty", name)
	}
	return value == "true"
}

// when reads a moment, or a span back from now.
func (p *params) when(name string) time.Time {
	value := p.text(name)
	if value == "" {
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at
	}
	back, err := span(value)
	if err != nil {
		p.refuse("%s can be a moment such as %s, or a span back from now such as 7d or 24h: it is %q", name, p.now.UTC().Format(time.RFC3339), value)
	}
	return p.now.Add(-back)
}

// span reads a duration, which can be of days.
func span(text string) (time.Duration, error) {
	unit := time.Duration(1)
	number, days := strings.CutSuffix(text, "d")
	if days {
		number, unit = number+"h", 24
	}
	d, err := time.ParseDuration(number)
	if err == nil && (d < 0 || d > 100*365*24*time.Hour/unit) {
		err = fmt.Errorf("%s is out of bounds", text)
	}
	return d * unit, err
}

// The sizes of pages.
const (
	pageRows    = 100
	pageRowsMax = 1000
)

func (p *params) page() store.Page {
	page := store.Page{After: p.text("after"), Limit: pageRows}
	if text := p.text("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageRowsMax {
			p.refuse("limit can be from 1 to %d: it is %q", pageRowsMax, text)
		}
		page.Limit = n
	}
	return page
}

// Stands lists what a target can be, by the words of is.
func Stands() []string {
	return []string{"waiting", "open", string(policy.Exhausted), string(policy.Permanent), string(policy.Expired), "recovered", "gone", "resolved_elsewhere"}
}

func attemptStates() (states []string) {
	for _, state := range policy.States() {
		states = append(states, string(state))
	}
	return states
}

func sweepResults() []string {
	return []string{"running", scheduler.SweepComplete, scheduler.SweepPartial, scheduler.SweepFailed, "skipped"}
}

// all is for what is asked for as a whole.
func all[T any](read func(context.Context) (T, error)) asking {
	return func(r *http.Request, p *params) (any, error) {
		if err := p.check(); err != nil {
			return nil, err
		}
		return read(r.Context())
	}
}

// list is for lists that come in one page.
func list[T any](read func(context.Context) ([]T, error)) asking {
	return all(func(ctx context.Context) (List[T], error) {
		items, err := read(ctx)
		if items == nil {
			items = []T{}
		}
		return List[T]{Items: items}, err
	})
}
