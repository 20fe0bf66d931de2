package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"retryd/internal/store"
)

type ledgerCmd struct {
	binary
	Small    int    `default:"10000" help:"Closed attempts of the small ledger."`
	Large    int    `default:"10000000" help:"Closed attempts of the large one."`
	Old      int    `default:"100000" help:"The oldest of them, which retention deletes."`
	Failing  int    `default:"3000" help:"Failing sub-tasks of each sweep."`
	Schedule string `default:"@every 10s" help:"Of the sweeps: the first one of each start counts."`
	Runs     int    `default:"5" help:"Sweeps with each."`
}

// ledgerRun is what one sweep's ledger work came to.
type ledgerRun struct {
	writes uint64
	wrote  time.Duration
	sweep  time.Duration
}

// Run sweeps with either ledger in turn, and then deletes history of the large one.
func (c ledgerCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	sizes := map[string]int{"small": c.Small, "large": c.Large}
	names := []string{"small", "large"}
	for _, name := range names {
		begun := time.Now()
		if err := c.fill(a, w, name, sizes[name]); err != nil {
			return err
		}
		a.printf("%s: %s closed attempts, filled in %s, %.2f GB\n", name, thousands(sizes[name]), time.Since(begun).Round(time.Second), size(w.ledger(name)))
	}
	runs := map[string][]ledgerRun{}
	first := int(time.Now().Unix()) // no ledger knows a project of that number
	for n := range c.Runs {
		for _, name := range names {
			r, err := c.sweep(a, w, name, first+n)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			runs[name] = append(runs[name], r)
		}
	}
	var rows [][]string
	for _, name := range names {
		for n, r := range runs[name] {
			rows = append(rows, []string{
				name, fmt.Sprint(n + 1), fmt.Sprint(r.writes), r.wrote.Round(time.Millisecond).String(),
				(r.wrote / time.Duration(max(1, r.writes))).Round(10 * time.Microsecond).String(), r.sweep.Round(time.Millisecond).String(),
			})
		}
	}
	a.printf("\nSweeps of %s failing sub-tasks, by retryd_ledger_write_duration_seconds and retryd_sweep_duration_seconds:\n\n", thousands(c.Failing))
	table(a.out, "ledger|sweep|transactions|time in them|each|sweep took", rows...)
	return c.forget(a, w)
}

func (w *workshop) ledger(name string) string { return filepath.Join(w.folder, name+".db") }

func size(path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(info.Size()) / 1e9
}

// fill lets retryd make a ledger, and puts history into it.
func (c ledgerCmd) fill(a *app, w *workshop, name string, attempts int) error {
	if _, err := os.Stat(w.ledger(name)); err == nil {
		return nil // of an earlier time, by --keep
	}
	s, err := store.Open(a.ctx, store.Options{Path: w.ledger(name), Create: true})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return fill(a.ctx, w.ledger(name), filling{attempts: attempts, perTarget: 5, perTask: min(30000, attempts/5), age: 80 * 24 * time.Hour})
}

// sweep starts a daemon on a ledger, with a platform whose project the ledger does not know yet, and
// waits for its first sweep.
func (c ledgerCmd) sweep(a *app, w *workshop, name string, project int) (r ledgerRun, err error) {
	f := fleet{Projects: 1, Project: project, Tasks: 3, Failing: c.Failing, Upgrade: time.Hour, Recover: 1, Message: "Task Conflict"}
	p, err := startPlatform(a.ctx, f)
	if err != nil {
		return r, err
	}
	defer p.stop()
	address, err := freeAddress(a.ctx)
	if err != nil {
		return r, err
	}
	file, err := w.configure(name, setting{address: p.address, project: project, listen: address, schedule: c.Schedule, rate: noLimit, burst: noLimit, slots: 16})
	if err != nil {
		return r, err
	}
	d, err := w.launch(a.ctx, file, address)
	if err != nil {
		return r, err
	}
	defer d.stop() //nolint:errcheck // it was measured
	for {
		if err := sleep(a.ctx, 200*time.Millisecond); err != nil {
			return r, err
		}
		m, err := d.metrics(a.ctx)
		if err != nil {
			return r, err
		}
		if swept, _ := total(m, "retryd_sweeps_total"); swept < 1 {
			continue
		}
		wrote, writes := total(m, "retryd_ledger_write_duration_seconds")
		took, _ := total(m, "retryd_sweep_duration_seconds")
		record, err := p.record(a.ctx)
		if err != nil {
			return r, err
		}
		return ledgerRun{writes, time.Duration(wrote * float64(time.Second)), time.Duration(took * float64(time.Second))}, complete(record, c.Failing)
	}
}

// forget deletes what is older than the retention, as the daemon does each hour, with nobody else at the
// ledger: each transaction is then as long as it would keep a claim waiting.
func (c ledgerCmd) forget(a *app, w *workshop) error {
	var steps []time.Duration
	keep, err := since(a.ctx, w.ledger("large"), c.Old)
	if err != nil {
		return err
	}
	s, err := store.Open(a.ctx, store.Options{Path: w.ledger("large"), Observe: func(d time.Duration, _ error) {
		steps = append(steps, d)
	}})
	if err != nil {
		return err
	}
	defer s.Close()
	steps = nil // what opening it wrote
	begun := time.Now()
	n, err := s.Forget(a.ctx, keep)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	slices.Sort(steps)
	var all time.Duration
	for _, d := range steps {
		all += d
	}
	at := func(share float64) time.Duration {
		return steps[int(share*float64(len(steps)-1))].Round(100 * time.Microsecond)
	}
	a.printf("\nRetention deleted %s attempts of the large ledger in %s and %d transactions: half took %s or less, 99 of 100 %s or less, the longest %s, all together %s.\n",
		thousands(n), took.Round(time.Millisecond), len(steps), at(0.5), at(0.99), at(1), all.Round(time.Millisecond))
	return nil
}
