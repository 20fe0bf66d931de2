package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"retryd/internal/config"
)

type checkCmd struct {
	Files   []string `arg:"" optional:"" name:"file" help:"Files, or folders of *.yaml, to check one by one; - is the standard input. None = what run would use, as one."`
	Connect bool     `help:"Call the platform too: one read for each type of task, and one that shows a task. Says in words what is wrong with a connection, and what each policy finds."`
	Print   bool     `help:"Print the configuration as it is in force: where each value comes from, and no secret."`
	Format  string   `enum:"text,json" default:"text" help:"text, or json for programs."`
}

// checked is what checking one configuration came to.
type checked struct {
	File        string          `json:"file"`
	Valid       bool            `json:"valid"`
	Problems    []checkedPlace  `json:"problems"`
	Warnings    []checkedPlace  `json:"warnings"`
	Connections int             `json:"connections"`
	Policies    []checkedPolicy `json:"policies"`
	Connect     []*trial        `json:"connect,omitempty"` // of --connect

	config *config.Config
}

type checkedPlace struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0 = the file could not be read at all
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func (p checkedPlace) String() string {
	return config.Problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Message}.String()
}

type checkedPolicy struct {
	Name        string    `json:"name"`
	Connections int       `json:"connections"`
	Next        time.Time `json:"next"`       // sweep
	NextRetry   time.Time `json:"next_retry"` // the first sweep in a window and in no blackout
}

// Validate looks at what kong cannot.
func (c checkCmd) Validate() error {
	switch {
	case c.Print && c.Format == "json":
		return errors.New("--print prints YAML: it does not go with --format json")
	case c.Print && c.Connect:
		return errors.New("--print and --connect say different things: use one after the other")
	}
	return nil
}

// Run checks each file.
func (c checkCmd) Run(a *app) error {
	results, err := c.check(a)
	if err != nil {
		return err
	}
	bad, k := 0, newConnector()
	for i := range results {
		r := &results[i]
		if !r.Valid {
			bad++
		}
		if c.Format != "json" {
			r.print(a, c.Print)
		}
		if r.Valid && c.Connect {
			if err := c.connect(a, k, r); err != nil {
				return err
			}
		}
	}
	if c.Format == "json" {
		if err := writeJSON(a.stdout, results); err != nil {
			return err
		}
	}
	if c.Format != "json" && k.n > k.down {
		printf(a.stdout, "Whether retries are allowed too (iotda:batchtasks:retry), only a retry can tell.\n")
	}
	if bad > 0 {
		return errors.New(plural(bad, "configuration") + " cannot be used")
	}
	return k.verdict()
}

// connect tries the connections of a configuration.
func (c checkCmd) connect(a *app, k *connector, r *checked) (err error) {
	r.Connect, err = k.connect(a, r.config, func(t *trial) {
		if c.Format != "json" {
			t.print(a)
		}
	})
	return err
}

func (c checkCmd) check(a *app) ([]checked, error) {
	if len(c.Files) > 0 && len(a.config) > 0 {
		return nil, failure{exitUsage, errors.New("--config names files that are read as one, arguments name files to check one by one: use either")}
	}
	if len(c.Files) == 0 {
		files, err := config.Find(a.config)
		if err != nil {
			return nil, err
		}
		name := files[0]
		if len(files) > 1 {
			name += fmt.Sprintf(" and %d more", len(files)-1)
		}
		loaded, err := config.Load(files, env)
		return []checked{newChecked(name, loaded, err)}, nil
	}
	var results []checked
	for _, file := range c.Files {
		if file == "-" {
			data, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
			if err != nil {
				return nil, fmt.Errorf("read the standard input: %w", err)
			}
			parsed, err := config.Parse("-", data, env)
			results = append(results, newChecked(file, parsed, err))
			continue
		}
		loaded, err := config.Load([]string{file}, env)
		results = append(results, newChecked(file, loaded, err))
	}
	return results, nil
}

func newChecked(file string, c *config.Config, err error) checked {
	r := checked{File: file, Valid: err == nil, Problems: []checkedPlace{}, Warnings: []checkedPlace{}, Policies: []checkedPolicy{}, config: c}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		r.Problems, r.Warnings = places(problems), places(config.WarningsOf(err))
	case err != nil:
		r.Problems = append(r.Problems, checkedPlace{File: file, Message: err.Error()})
	default:
		r.Warnings, r.Connections = append(r.Warnings, places(c.Warnings)...), len(c.Connections)
		now := time.Now()
		for _, p := range c.Policies {
			r.Policies = append(r.Policies, checkedPolicy{p.Name, len(p.Connections), p.Schedule.Next(now), p.NextOpenTick(now)})
		}
	}
	return r
}

func places(problems config.Problems) []checkedPlace {
	out := make([]checkedPlace, len(problems))
	for i, p := range problems {
		out[i] = checkedPlace{p.File, p.Line, p.Column, p.Message}
	}
	return out
}

func (r checked) print(a *app, effective bool) {
	for _, p := range r.Problems {
		if p.Line == 0 {
			printf(a.stderr, "%s\n", p.Message)
			continue
		}
		printf(a.stderr, "%s\n", p)
	}
	for _, p := range r.Warnings {
		printf(a.stderr, "%s (warning)\n", p)
	}
	switch {
	case !r.Valid:
	case effective:
		r.config.Print(a.stdout)
	default:
		printf(a.stdout, "%s is valid: %s, %s\n", r.File, plural(r.Connections, "connection"), plural2(len(r.Policies), "policy", "policies"))
		for _, p := range r.Policies {
			printf(a.stdout, "  %s: next %s", p.Name, p.Next.Format(momentForm))
			switch {
			case p.NextRetry.IsZero():
				printf(a.stdout, ", and none in a window")
			case !p.NextRetry.Equal(p.Next):
				printf(a.stdout, ", next in a window %s", p.NextRetry.Format(momentForm))
			}
			printf(a.stdout, "\n")
		}
	}
}

// momentForm shows a moment with its offset: zones' abbreviations are ambiguous.
const momentForm = "Mon 2 Jan 15:04:05 -07:00"

func plural2(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
