package main

import (
	"fmt"
	"time"

	"retryd/internal/pgtest"
)

type replicasCmd struct {
	binary
	Replicas  []int         `default:"1,3" help:"Replicas of each run."`
	Budgets   int           `default:"6" help:"Budgets, each with a connection of its own."`
	PerSecond float64       `default:"20" help:"Calls a second of each budget."`
	For       time.Duration `default:"30s" help:"How long there is work for."`
	Schedule  string        `default:"@every 20s" help:"When the sweep begins that has the whole fleet in it: all replicas should be there."`
	Latency   time.Duration `default:"20ms" help:"How long each call takes."`
}

// Run lets replicas work off the same fleet, and adds up their calls.
func (c replicasCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	defer pgtest.Stop()
	a.printf("%d budgets of %g calls a second, %s a call, a ledger in PostgreSQL on the same machine.\n\n", c.Budgets, c.PerSecond, c.Latency)
	var rows [][]string
	for _, n := range c.Replicas {
		row, err := c.run(a, w, n)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	table(a.out, "replicas|calls|in|calls/s|of allowed|targets/s|budgets of each|CPU of each|peak memory of each", rows...)
	return nil
}

func (c replicasCmd) run(a *app, w *workshop, replicas int) ([]string, error) {
	const targetsPerCall = 50 / 1.5
	f := fleet{
		Projects: c.Budgets, Tasks: 2, Failing: int(c.PerSecond * c.For.Seconds() * targetsPerCall), Latency: c.Latency, Upgrade: 24 * time.Hour, Recover: 1, Message: "Task Conflict",
	}
	p, err := startPlatform(a.ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	address, drop, err := pgtest.Create(a.ctx)
	if err != nil {
		return nil, err
	}
	defer drop() //nolint:errcheck // the server goes too
	var daemons []*daemon
	defer func() {
		for _, d := range daemons {
			_ = d.stop() // it was measured
		}
	}()
	for n := range replicas {
		listen, err := freeAddress(a.ctx)
		if err != nil {
			return nil, err
		}
		file, err := w.configure(fmt.Sprintf("replica-%d-%d", replicas, n), setting{
			address: p.address, ledger: address, listen: listen, connections: c.Budgets, budgets: c.Budgets, rate: c.PerSecond, burst: 5, slots: 8,
			schedule: c.Schedule,
		})
		if err != nil {
			return nil, err
		}
		d, err := w.launch(a.ctx, file, listen)
		if err != nil {
			return nil, err
		}
		daemons = append(daemons, d)
	}
	return c.watch(a, p, daemons, f.Failing*f.Projects)
}

// watch waits until everything has been retried, and what is on its way has its answer: the daemons go on.
func (c replicasCmd) watch(a *app, p *child, daemons []*daemon, targets int) ([]string, error) {
	var r record
	for deadline := time.Now().Add(10 * c.For); r.Once < targets || r.Open > 0; {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("after %s %d of %d targets have been retried", 10*c.For, r.Once, targets)
		}
		if err := sleep(a.ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
		var err error
		if r, err = p.record(a.ctx); err != nil {
			return nil, err
		}
	}
	var drives, cpu, peak string
	for _, d := range daemons {
		m, err := d.metrics(a.ctx)
		if err != nil {
			return nil, err
		}
		n, _ := total(m, "retryd_lease_held")
		drives += fmt.Sprintf(" %.0f", n)
		cpu += " " + seconds(cpuOf(d.cmd.Process.Pid))
		peak += " " + mebibytes(highest(d.cmd.Process.Pid))
	}
	took := r.Busy
	return []string{
		fmt.Sprint(len(daemons)), thousands(r.Calls), seconds(took), fmt.Sprintf("%.0f", float64(r.Calls)/took.Seconds()),
		fmt.Sprintf("%.0f %%", 100*float64(r.Calls)/(took.Seconds()*c.PerSecond*float64(c.Budgets))),
		fmt.Sprintf("%.0f", float64(targets)/took.Seconds()), drives, cpu, peak,
	}, complete(r, targets)
}
