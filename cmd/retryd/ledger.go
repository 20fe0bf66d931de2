package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"

	"retryd/internal/store"
)

type ledgerCmd struct {
	Check  ledgerCheckCmd  `cmd:"" help:"Say what is wrong with the ledger. Changes nothing, and goes on beside a running daemon."`
	Backup ledgerBackupCmd `cmd:"" help:"Copy the ledger to a file as it is now, beside a running daemon."`
}

// ledgerToRead opens the ledger without the right to write, beside a daemon that may run.
func (a *app) ledgerToRead() (*house, error) {
	c, err := a.whereabouts()
	if err != nil {
		return nil, err
	}
	if c.ledger() == "" {
		return nil, c.needs("the ledger")
	}
	h := a.houseOf(c.Config)
	err = h.open(a, h.ledger(store.Options{ReadOnly: true}))
	if errors.Is(err, store.ErrNoLedger) {
		err = fmt.Errorf("%w: start `retryd run` first, or correct store.url", err)
	}
	return h, err
}

type ledgerCheckCmd struct {
	Deep   bool   `help:"Have SQLite look at each entry of each index too, which takes longer."`
	Format string `enum:"text,json" default:"text" help:"text, or json for programs."`
}

// finding is one in JSON.
type finding struct {
	Kind  store.FindingKind `json:"kind"`
	Where string            `json:"where"`
	What  string            `json:"what"`
	Do    string            `json:"do"`
}

// Run checks the ledger.
func (c ledgerCheckCmd) Run(a *app) error {
	h, err := a.ledgerToRead()
	if err != nil {
		return err
	}
	defer h.close()
	found, err := h.store.Check(a.ctx, c.Deep)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		all := make([]finding, len(found))
		for i, f := range found {
			all[i] = finding{f.Kind, f.Where, f.What, f.Do()}
		}
		encoder := json.NewEncoder(a.stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"ledger": h.store.Where(), "findings": all}); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	} else if err := a.printFindings(h.store, found); err != nil {
		return err
	}
	return wrong(found)
}

func wrong(found []store.Finding) error {
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("the ledger has %s: docs/ledger.md explains each kind", plural(len(found), "fault"))
}

func (a *app) printFindings(s *store.Store, found []store.Finding) error {
	for _, f := range found {
		printf(a.stdout, "%s: %s\n  %s\n  to do: %s\n", f.Kind, f.Where, f.What, f.Do())
	}
	if len(found) > 0 {
		return nil
	}
	totals, err := s.Totals(a.ctx)
	if err != nil {
		return err
	}
	printf(a.stdout, "%s: nothing is wrong; %s with %s that count, %d open\n", s.Where(), plural(totals.Targets, "target"), plural(totals.Attempts, "attempt"), totals.Open)
	return nil
}

type ledgerBackupCmd struct {
	File string `arg:"" help:"The copy. A file that is there already is not overwritten."`
}

// Run copies the ledger, and checks the copy.
func (c ledgerBackupCmd) Run(a *app) error {
	where, err := a.whereabouts()
	if err != nil {
		return err
	}
	if address := where.Store.URL.Reveal(); address != "" {
		return failure{exitUsage, fmt.Errorf("the ledger is in PostgreSQL, whose own tool backs it up:\n  pg_dump --format=custom --file=%s '%s'\n"+
			"It asks for the password, or finds it in $PGPASSWORD or ~/.pgpass. pg_restore --clean --if-exists brings it back while no retryd runs", c.File, withoutPassword(address))}
	}
	h, err := a.ledgerToRead()
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.store.CopyTo(a.ctx, c.File); err != nil {
		return err
	}
	copied, err := store.Open(a.ctx, store.Options{Path: c.File, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("the copy cannot be read: %w", err)
	}
	defer copied.Close()
	found, err := copied.Check(a.ctx, false)
	if err != nil {
		return err
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	printf(a.stdout, "%s: %s\n", c.File, plural(int(info.Size()), "byte"))
	if err := a.printFindings(copied, found); err != nil {
		return err
	}
	return wrong(found)
}

// withoutPassword gives the address of a database as PostgreSQL's own tools take it.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the address of the database"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	known := url.Values{}
	for _, name := range []string{"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey"} {
		if value := u.Query().Get(name); value != "" {
			known.Set(name, value)
		}
	}
	u.RawQuery = known.Encode()
	return u.String()
}
