package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

type compareCmd struct {
	binary
	fleet
	Slots int `default:"16" help:"Calls in flight."`
	Runs  int `default:"1" help:"How often each is run; the fastest counts."`
}

type contender struct {
	name string
	run  func(address, name string) (usage, error)
}

// Run lets each contender retry the same fleet, on a platform of its own.
func (c compareCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	contenders := []contender{
		{"floor", func(address, _ string) (usage, error) {
			return measure(a.ctx, self, "floor", address, projectID(0), fmt.Sprint("--slots=", c.Slots))
		}},
		{"retryd", func(address, name string) (usage, error) {
			file, err := w.configure(name, setting{address: address, rate: noLimit, burst: noLimit, slots: c.Slots})
			if err != nil {
				return usage{}, err
			}
			return w.sweep(a.ctx, file, "--new-ledger")
		}},
		{"sdk", func(address, _ string) (usage, error) { return measure(a.ctx, self, "sdk", address, projectID(0)) }},
	}
	a.printf("%s failing sub-tasks in %d task(s), %s a call; floor and retryd have %d calls in flight, sdk has one.\n%s\n\n",
		thousands(c.Failing), c.Tasks, c.Latency, c.Slots, machine())
	best := map[string]measured{}
	for n := range c.Runs {
		for _, who := range contenders {
			m, err := c.measure(a, who, n)
			if err != nil {
				return fmt.Errorf("%s: %w", who.name, err)
			}
			if had, ok := best[who.name]; !ok || m.Wall < had.Wall {
				best[who.name] = m
			}
		}
	}
	var rows [][]string
	for _, who := range contenders {
		m := best[who.name]
		rows = append(rows, []string{
			who.name, seconds(m.Wall), thousands(m.calls), seconds(m.CPU), mebibytes(m.Peak), ratio(m.Wall, best["floor"].Wall), ratio(best["sdk"].Wall, m.Wall), seconds(m.platform),
		})
	}
	table(a.out, "|wall|calls|CPU|peak memory|wall / floor|sdk / wall|platform's CPU", rows...)
	a.printf("\nBy the platform's record each contender retried each failing target exactly once.\n")
	return errors.Join(c.durable(a, w))
}

type measured struct {
	usage
	calls    int
	platform time.Duration
}

func (c compareCmd) measure(a *app, who contender, n int) (m measured, err error) {
	p, err := startPlatform(a.ctx, c.fleet)
	if err != nil {
		return m, err
	}
	defer func() { m.platform = p.stop() }()
	if m.usage, err = who.run(p.address, fmt.Sprintf("compare-%d", n)); err != nil {
		return m, err
	}
	r, err := p.record(a.ctx)
	if err != nil {
		return m, err
	}
	m.calls = r.Calls
	return m, complete(r, c.Failing)
}

// durable sweeps once more, untimed, with a platform that looks into the ledger at each retry call.
func (c compareCmd) durable(a *app, w *workshop) error {
	f := c.fleet
	f.Failing = min(f.Failing, 5000)
	p, err := startPlatform(a.ctx, f, "--ledger", filepath.Join(w.folder, "durable.db"))
	if err != nil {
		return err
	}
	defer p.stop()
	file, err := w.configure("durable", setting{address: p.address, rate: noLimit, burst: noLimit, slots: c.Slots})
	if err != nil {
		return err
	}
	if _, err := w.sweep(a.ctx, file, "--new-ledger"); err != nil {
		return err
	}
	r, err := p.record(a.ctx)
	if err != nil {
		return err
	}
	if r.Undurable > 0 || r.Durable != f.Failing {
		return fmt.Errorf("%d of %d attempts were in the ledger when their call arrived, %d were not", r.Durable, f.Failing, r.Undurable)
	}
	a.printf("In a run of its own with %s targets the attempt of each was committed to the ledger (synchronous=FULL) when its call arrived.\n", thousands(f.Failing))
	return complete(r, f.Failing)
}
