package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"retryd/internal/web"
)

// listFlags are those of commands that list things.
type listFlags struct {
	apiFlags
	Format string `enum:"table,json,csv" default:"table" help:"table, or json or csv for programs."`
	Limit  int    `placeholder:"N" help:"List this many at most. Default: 1000 in a table, 1000000 for programs."`
}

// listFor is how long a whole list may take.
const listFor = 10 * time.Minute

// How many things are listed where nothing is said.
const (
	mostInTable    = 1000
	mostInPrograms = 1_000_000
)

// Validate looks at what kong cannot.
func (f listFlags) Validate() error {
	if f.Limit < 0 {
		return errors.New("--limit cannot be less than 1")
	}
	return nil
}

func (f listFlags) most() int {
	switch {
	case f.Limit > 0:
		return f.Limit
	case f.Format == "table":
		return mostInTable
	}
	return mostInPrograms
}

// list prints what is at a path of the API; none says what it means that nothing is.
func list[T any](a *app, f listFlags, path string, query url.Values, table tableOf[T], none string) error {
	p, err := f.openAPI(a)
	if err != nil {
		return err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(a.ctx, listFor)
	defer cancel()
	rows, more, err := web.All[T](ctx, p.Client, path, query, f.most())
	if err != nil {
		return refused(asFlag(err, query))
	}
	switch f.Format {
	case "json":
		if rows == nil {
			rows = []T{}
		}
		return writeJSON(a.stdout, map[string]any{"items": rows, "whole": !more})
	case "csv":
		err = fieldsCSV(a.stdout, rows)
	default:
		if len(rows) == 0 {
			printf(a.stdout, "%s\n", none)
			return nil
		}
		table.write(a.stdout, rows)
	}
	if more { // a file of a program's would be read as whole
		printf(a.stderr, "(there are more than these %d: --limit lists more, the filters fewer)\n", len(rows))
	}
	return err
}

// asFlag has what is wrong with a parameter that a flag stands for name the flag.
func asFlag(err error, query url.Values) error {
	p := (*web.Problem)(nil)
	if !errors.As(err, &p) {
		return err
	}
	if name, _, ok := strings.Cut(p.Detail, " can be "); ok && query.Has(name) {
		said := *p
		said.Detail = "--" + p.Detail
		return &said
	}
	return err
}

// query gives the parameters that are set.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
