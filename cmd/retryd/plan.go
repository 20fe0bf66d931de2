package main

import (
	"errors"

	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

type planCmd struct {
	asker    `group:"The daemon of --against:"`
	Policies []string `arg:"" optional:"" name:"policy" help:"Policies to plan; none = all."`
	All      bool     `short:"a" help:"List every target with its verdict, not only those that are due, and the attempts that are in flight."`
	Format   string   `enum:"table,json,csv" default:"table" help:"table, or json or csv for programs."`
	Against  string   `enum:",running" default:"" placeholder:"running" help:"Show only what changes from the configuration that is in force in the running daemon to this one."`
}

// Validate looks at what kong cannot.
func (c planCmd) Validate() error {
	if c.Against != "" && (c.All || len(c.Policies) > 0) {
		return errors.New("--against shows what changes, of all policies: it goes with neither --all nor names of policies")
	}
	if c.Against == "" && c.URL != "" && !c.byVariable() {
		return errors.New("--url is the daemon of --against running; without that plan reads the configuration and the platform itself, and asks no daemon: name the configuration with --config, or ask the daemon with status, tasks or explain")
	}
	return nil
}

// Run plans.
func (c planCmd) Run(a *app) error {
	err := c.plan(a)
	switch {
	case err == nil || a.ctx.Err() == nil:
		return err
	case c.Against != "":
		return errors.New("interrupted: what changes is not known")
	}
	return errors.New("interrupted: what is shown is not the whole plan")
}

func (c planCmd) plan(a *app) error {
	h, err := a.byHand()
	if err != nil {
		return err
	}
	defer h.close()
	if c.Against != "" {
		return c.compare(a, h)
	}
	if err := h.has(c.Policies); err != nil {
		return err
	}
	if err := h.openBeside(a, "this plan knows of no attempt made before"); err != nil {
		return err
	}
	h.sayLostHolds(a)
	plan := newPlan(c.All)
	bar := newProgress(a.stderr)
	h.heard = bar.hear(h.config)
	s, err := h.scheduler(func(e scheduler.Event) {
		bar.watch(e)
		plan.watch(e)
	})
	if err != nil {
		return err
	}
	defer s.Close()
	reports, err := s.Plan(a.ctx, c.Policies)
	bar.done()
	problem := errors.Join(err, verdictOf(reports))
	if err := plan.print(a.stdout, c.Format, reports, problem == nil); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return verdictOf(reports)
}

// has looks whether the configuration has policies of these names.
func (h *house) has(policies []string) error {
	for _, name := range policies {
		if err := web.NoPolicy(name, h.config.Policies); err != nil {
			return failure{exitUsage, err}
		}
	}
	return nil
}

// openBeside opens the ledger beside a daemon that may run, to write down refused credentials and nothing
// else. Where there is none, without says what that means, and what is refused is kept elsewhere.
func (h *house) openBeside(a *app, without string) error {
	err := h.open(a, h.ledger(store.Options{Join: true}))
	if errors.Is(err, store.ErrNoLedger) {
		printf(a.stderr, "There is no ledger at %s yet: %s.\n", h.ledger(store.Options{}).Where(), without)
		err = h.open(a, store.Options{})
		h.rememberRefusals(a)
	}
	return err
}

// sayLostHolds says which pauses the configuration would lose.
func (h *house) sayLostHolds(a *app) {
	if _, err := h.lostHolds(a.ctx, h.config, false); err != nil {
		printf(a.stderr, "%s\n(run, sweep and reload refuse this)\n", err)
	}
}
