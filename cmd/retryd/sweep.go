package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

type sweepCmd struct {
	Policies  []string `arg:"" optional:"" name:"policy" help:"Policies to sweep; none = all."`
	NewLedger bool     `help:"Make the ledger where there is none: retryd then knows of no attempt made before."`
}

// Run sweeps once.
func (c sweepCmd) Run(a *app) error {
	h, err := a.byHand()
	if err != nil {
		return err
	}
	defer h.close()
	err = h.open(a, h.ledger(store.Options{Create: c.NewLedger}))
	switch {
	case errors.Is(err, store.ErrNoLedger):
		return fmt.Errorf("%w: if retryd has never run here, start `retryd run`, or add --new-ledger; else correct store.url", err)
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%w: the running daemon sweeps by itself; `retryd plan` shows what it would do", err)
	case err != nil:
		return err
	}
	if _, err := h.lostHolds(a.ctx, h.config, false); err != nil {
		return err
	}
	action := store.Action{Who: who(), Source: "sweep", What: "sweep", Subject: strings.Join(c.Policies, " ")}
	if err := h.store.Act(a.ctx, action); err != nil {
		return err
	}
	bar := newProgress(a.stderr)
	s, err := h.scheduler(bar.watch)
	if err != nil {
		return err
	}
	defer s.Close()
	reports, err := s.Sweep(a.ctx, c.Policies)
	bar.done()
	printReports(a.stdout, reports, "attempts")
	if errors.Is(err, scheduler.ErrDriven) {
		return fmt.Errorf("%w: the daemon sweeps by itself; `retryd plan` shows what it would do", err)
	}
	if err != nil {
		return err
	}
	return verdictOf(reports)
}

type planCmd struct {
	Policies []string `arg:"" optional:"" name:"policy" help:"Policies to plan; none = all."`
	All      bool     `short:"a" help:"List every target with its verdict, not only those that are due."`
}

// Run plans.
func (c planCmd) Run(a *app) error {
	h, err := a.byHand()
	if err != nil {
		return err
	}
	defer h.close()
	err = h.open(a, h.ledger(store.Options{Join: true})) // to write down refused credentials, and nothing else
	if errors.Is(err, store.ErrNoLedger) {
		printf(a.stderr, "There is no ledger at %s yet: this plan knows of no attempt made before.\n", h.ledger(store.Options{}).Where())
		err = h.open(a, store.Options{})
		h.rememberRefusals(a)
	}
	if err != nil {
		return err
	}
	if _, err := h.lostHolds(a.ctx, h.config, false); err != nil {
		printf(a.stderr, "%s\n(run, sweep and reload refuse this)\n", err)
	}
	bar := newProgress(a.stderr)
	table := newTable(a.stdout, c.All)
	s, err := h.scheduler(func(e scheduler.Event) {
		bar.watch(e)
		table.watch(e)
	})
	if err != nil {
		return err
	}
	defer s.Close()
	reports, err := s.Plan(a.ctx, c.Policies)
	bar.done()
	table.print(err == nil && verdictOf(reports) == nil)
	printReports(a.stdout, reports, "")
	if err != nil {
		return err
	}
	return verdictOf(reports)
}

// byHand builds the house for a person at a terminal: warnings only, in plain lines.
func (a *app) byHand() (*house, error) {
	c, err := a.load()
	if err != nil {
		return nil, err
	}
	for _, warning := range c.Warnings {
		printf(a.stderr, "%s (warning)\n", warning)
	}
	log := config.Log{Level: "error", Format: "console"}
	if c.Log.Level == "debug" {
		log.Level = "debug"
	}
	return build(c, log, a.stderr), nil
}

func verdictOf(reports []scheduler.Report) error {
	var problems []error
	failed := 0
	for _, r := range reports {
		if r.Result != scheduler.SweepComplete {
			failed++
			for _, problem := range r.Problems {
				problems = append(problems, fmt.Errorf("policy %s: %w", r.Policy, problem))
			}
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed == len(reports) && !slices.ContainsFunc(reports, func(r scheduler.Report) bool { return r.Result == scheduler.SweepPartial }):
		return failure{exitFailed, errors.Join(problems...)}
	}
	return failure{exitPartial, errors.Join(problems...)}
}

// printReports prints what each sweep came to; attempts is empty where none were made.
func printReports(w io.Writer, reports []scheduler.Report, attempts string) {
	for _, r := range reports {
		printf(w, "%s on %s: %s in %s, %s\n", r.Policy, r.Connection, r.Result, r.Duration.Round(time.Millisecond), plural(r.Tasks, "task"))
		for _, reason := range slices.Sorted(maps.Keys(r.Counts)) {
			if n := r.Counts[reason]; n > 0 {
				printf(w, "  %7d %s\n", n, reason)
			}
		}
		if r.Counts[string(policy.Backlog)] > 0 {
			printf(w, "  Tasks made before a policy was first seen are left alone: to take them on, say tasks.backlog: true or name them.\n")
		}
		if attempts == "" {
			continue
		}
		var parts []string
		for _, state := range slices.Sorted(maps.Keys(r.Sent)) {
			parts = append(parts, fmt.Sprintf("%d %s", r.Sent[state], state))
		}
		if len(parts) == 0 {
			parts = []string{"none"}
		}
		printf(w, "  %s: %s\n", attempts, strings.Join(parts, ", "))
	}
}

// table prints verdicts as they come, in columns where the widths are known.
type table struct {
	mu  sync.Mutex
	w   *tabwriter.Writer
	all bool
	n   int

	capped map[string]int // by limit, where they are not listed
}

func newTable(w io.Writer, all bool) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 4, 2, ' ', 0), all: all, capped: map[string]int{}}
	printf(t.w, "POLICY\tCONNECTION\tTASK\tDEVICE\tVERDICT\tDETAIL\tNOT BEFORE\n")
	return t
}

func (t *table) watch(e scheduler.Event) {
	device := e.DeviceID
	switch {
	case e.Kind == scheduler.Decided && (t.all || e.Verdict.Reason == "due" || e.Verdict.Reason == "observe"):
	case e.Kind == scheduler.DecidedTask && (t.all || e.Rows > 0):
		device = "(" + plural(e.Rows, "target") + ")"
	case e.Kind == scheduler.Decided && e.Verdict.Reason == policy.Capped:
		t.mu.Lock()
		defer t.mu.Unlock()
		t.capped[shown(e.Verdict.Detail)]++
		return
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	notBefore := "-"
	if !e.Verdict.NotBefore.IsZero() {
		notBefore = e.Verdict.NotBefore.UTC().Format(time.RFC3339)
	}
	t.n++
	printf(t.w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Policy, e.Connection, e.TaskID, shown(device), e.Verdict.Reason, shown(e.Verdict.Detail), notBefore)
}

// shown makes a text that somebody else chose safe for a terminal: what could move the cursor or
// colour the screen is written as an escape.
func shown(text string) string {
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

// print ends the table; whole tells whether everything could be read.
func (t *table) print(whole bool) {
	if t.n == 0 && whole {
		printf(t.w, "(nothing is due)\n")
	}
	for _, limit := range slices.Sorted(maps.Keys(t.capped)) {
		printf(t.w, "(%s more due, held back by %s)\n", plural(t.capped[limit], "target"), limit)
	}
	_ = t.w.Flush() // a reader who has gone misses nothing
}

// who names the person at the terminal.
func who() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "uid " + fmt.Sprint(os.Getuid()) + "@" + host
}
