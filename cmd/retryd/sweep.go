package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

type sweepCmd struct {
	apiFlags
	Policies  []string `arg:"" optional:"" name:"policy" help:"Policies to sweep; none = all."`
	NewLedger bool     `help:"Make the ledger where there is none: retryd then knows of no attempt made before."`
	Why       string   `placeholder:"TEXT" help:"For the record."`
}

// Run sweeps once: itself, or where a daemon drives the connections, that does.
func (c sweepCmd) Run(a *app) error {
	if c.URL != "" {
		return c.ask(a)
	}
	err := c.sweep(a)
	if errors.Is(err, store.ErrLocked) || errors.Is(err, scheduler.ErrDriven) {
		return c.ask(a)
	}
	return err
}

// ask has the sweeps be made by whoever drives the connections.
func (c sweepCmd) ask(a *app) error {
	h, done, err := handFlags{apiFlags: c.apiFlags}.begin(a)
	if err != nil {
		return err
	}
	defer done()
	var asked web.List[web.Request]
	if err := h.post("sweeps", web.NewSweep{Policies: c.Policies, Why: c.Why}, &asked); err != nil {
		return err
	}
	good, failed := 0, []error(nil)
	for _, r := range asked.Items {
		if r, err = h.await(r); err != nil {
			return err
		}
		printf(a.stdout, "%s on %s: %s%s\n", r.Policy, r.Connection, r.State, resultLines(r.Result))
		if r.State == "done" && len(r.Result.Problems) == 0 {
			good++
			continue
		}
		failed = append(failed, fmt.Errorf("policy %s: %s", r.Policy, strings.Join(append([]string{"the sweep is " + r.State}, r.Result.Problems...), ": ")))
	}
	switch {
	case len(failed) == 0:
		return nil
	case good == 0:
		return failure{exitFailed, errors.Join(failed...)}
	}
	return failure{exitPartial, errors.Join(failed...)}
}

// sweep sweeps in this process.
func (c sweepCmd) sweep(a *app) error {
	h, err := a.byHand()
	if err != nil {
		return err
	}
	defer h.close()
	if c.NewLedger { // retryd begins here: what is unwise is said as run does
		for _, warning := range h.config.Warnings {
			printf(a.stderr, "%s (warning)\n", warning)
		}
		if err := h.has(c.Policies); err != nil { // before there is one
			return err
		}
	}
	err = h.open(a, h.ledger(store.Options{Create: c.NewLedger}))
	switch {
	case errors.Is(err, store.ErrNoLedger):
		return fmt.Errorf("%w: if retryd has never run here, start `retryd run`, or add --new-ledger; else correct store.url", err)
	case err != nil:
		return err
	}
	if err := h.has(c.Policies); err != nil { // not sooner: where a daemon drives, its configuration counts
		return err
	}
	if _, err := h.lostHolds(a.ctx, h.config, false); err != nil {
		return err
	}
	bar := newProgress(a.stderr)
	h.heard = bar.hear(h.config)
	s, err := h.scheduler(bar.watch)
	if err != nil {
		return err
	}
	defer s.Close()
	reports, err := s.Sweep(a.ctx, c.Policies)
	bar.done()
	printReports(a.stdout, reports, "attempts")
	if !errors.Is(err, scheduler.ErrDriven) { // else whoever drives is asked, and that is the action
		err = errors.Join(err, h.store.Act(context.WithoutCancel(a.ctx), store.Action{Who: who(), Source: "terminal", What: "sweep", Subject: c.subject(), Why: c.Why}))
	}
	if err == nil {
		err = verdictOf(reports)
	}
	if err != nil && a.ctx.Err() != nil {
		return interrupted(reports)
	}
	return err
}

// interrupted says of a sweep that was cut off what has left by then.
func interrupted(reports []scheduler.Report) error {
	sent, accepted := 0, 0
	for _, r := range reports {
		for state, n := range r.Sent {
			if state != policy.Released {
				sent += n
			}
		}
		accepted += r.Sent[policy.Accepted]
	}
	if sent == 0 {
		return errors.New("interrupted: no retry was sent, and none leaves any more")
	}
	return failure{exitPartial, fmt.Errorf("interrupted: retries of %s were sent and %d of them accepted, and nothing else leaves; the next sweep reads what comes of them",
		plural(sent, "target"), accepted)}
}

// subject names what is swept.
func (c sweepCmd) subject() string {
	if len(c.Policies) == 0 {
		return "all policies"
	}
	return "policy " + strings.Join(c.Policies, ", ")
}

// byHand builds the house for a person at a terminal: errors only, in plain lines. What is unwise in the
// configuration is for check, run and reload to say: whoever plans or pauses did not come for it.
func (a *app) byHand() (*house, error) {
	c, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.houseOf(c), nil
}

func (a *app) houseOf(c *config.Config) *house {
	log := config.Log{Level: "error", Format: "console"}
	if c.Log.Level == "debug" {
		log.Level = "debug"
	}
	return build(c, log, a.stderr)
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
