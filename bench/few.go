package main

import (
	"fmt"
	"time"
)

type fewCmd struct {
	binary
	Large   int `default:"30000" help:"Sub-tasks of the large task."`
	Small   int `default:"100" help:"Sub-tasks of the small one."`
	Failing int `default:"10" help:"Failing ones of each."`
}

// Run counts the calls of sweeps over a large task and a small one.
func (c fewCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	a.printf("%d failing sub-tasks in a task of %s and in one of %d. Calls are list + pages + retries.\n\n", c.Failing, thousands(c.Large), c.Small)
	var rows [][]string
	for _, why := range []struct{ text, message string }{
		{"they are retried, and are in motion from then on", "Task Conflict"},
		{"no retry mends them (permanent)", "Unsupported package type"},
	} {
		for _, size := range []int{c.Large, c.Small} {
			row, err := c.sweeps(a, w, size, why.message)
			if err != nil {
				return err
			}
			rows = append(rows, append([]string{why.text, thousands(size)}, row...))
		}
	}
	table(a.out, "10 failing|sub-tasks|first sweep|second|third", rows...)
	return nil
}

// sweeps sweeps three times and gives the calls of each.
func (c fewCmd) sweeps(a *app, w *workshop, size int, message string) (row []string, err error) {
	f := fleet{Projects: 1, Tasks: 1, Failing: c.Failing, Healthy: size - c.Failing, Upgrade: time.Hour, Message: message}
	p, err := startPlatform(a.ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	file, err := w.configure(fmt.Sprintf("few-%d-%.4s", size, message), setting{address: p.address, rate: noLimit, burst: noLimit, slots: 4, settle: "0s"})
	if err != nil {
		return nil, err
	}
	var before record
	for n := range 3 {
		var args []string
		if n == 0 {
			args = []string{"--new-ledger"}
		}
		if _, err := w.sweep(a.ctx, file, args...); err != nil {
			return nil, err
		}
		r, err := p.record(a.ctx)
		if err != nil {
			return nil, err
		}
		op := func(name string) int { return r.ByOp[name] - before.ByOp[name] }
		row = append(row, fmt.Sprintf("%d (%d + %d + %d)", r.Calls-before.Calls, op("ListBatchTasks"), op("ShowBatchTask"), op("RetryBatchTask")))
		before = r
	}
	return row, nil
}
