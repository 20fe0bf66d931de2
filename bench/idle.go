package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

type idleCmd struct {
	binary
	Policies int           `default:"20" help:"Policies, each with a task of its own."`
	Schedule string        `default:"*/5 * * * *" help:"Of each policy."`
	For      time.Duration `default:"5m" help:"How long to look: a whole round of the schedule has every policy's sweep in it."`
	Starts   int           `default:"11" help:"How often it is started to see how soon it is ready."`
	Rest     time.Duration `default:"10s" help:"How long after its start it is left alone first."`
	Tasks    int           `default:"100" help:"Devices of each task: all of them have been retried, or are permanent failures."`
}

// Run looks at a daemon that has nothing to retry.
func (c idleCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	f := fleet{Projects: 1, Tasks: c.Policies, Failing: 10 * c.Policies, Healthy: c.Tasks, Latency: 20 * time.Millisecond, Upgrade: time.Second, Recover: 1, Message: "Task Conflict"}
	p, err := startPlatform(a.ctx, f)
	if err != nil {
		return err
	}
	defer p.stop()
	address, err := freeAddress(a.ctx)
	if err != nil {
		return err
	}
	file, err := w.configure("idle", setting{address: p.address, listen: address, policies: c.Policies, schedule: c.Schedule, rate: 50, burst: 20, slots: 4, settle: "1s"})
	if err != nil {
		return err
	}
	if _, err := w.sweep(a.ctx, file, "--new-ledger"); err != nil { // all that fails is retried, and recovers
		return err
	}
	starts, err := c.starts(a, w, file, address)
	if err != nil {
		return err
	}
	d, err := w.launch(a.ctx, file, address)
	if err != nil {
		return err
	}
	defer d.stop() //nolint:errcheck // it was measured
	if err := sleep(a.ctx, c.Rest); err != nil {
		return err
	}
	calls, err := p.record(a.ctx)
	if err != nil {
		return err
	}
	pid := d.cmd.Process.Pid
	cpu, begun := cpuOf(pid), time.Now()
	if err := sleep(a.ctx, c.For); err != nil {
		return err
	}
	share := (cpuOf(pid) - cpu).Seconds() / time.Since(begun).Seconds()
	now, peak := resident(pid), highest(pid)
	after, err := p.record(a.ctx)
	if err != nil {
		return err
	}
	info, err := os.Stat(w.retryd)
	if err != nil {
		return err
	}
	a.printf("%d policies with the schedule %q and nothing to retry, over %s.\n\n", c.Policies, c.Schedule, c.For)
	table(a.out, "CPU of a core|resident|peak memory|calls|start to ready|slowest|binary", []string{
		fmt.Sprintf("%.3f %%", 100*share), mebibytes(now), mebibytes(peak), thousands(after.Calls - calls.Calls),
		starts[len(starts)/2].Round(time.Millisecond).String(), starts[len(starts)-1].Round(time.Millisecond).String(), fmt.Sprintf("%.1f MB", float64(info.Size())/1e6),
	})
	return nil
}

// starts gives how soon it was ready, sorted.
func (c idleCmd) starts(a *app, w *workshop, file, address string) (took []time.Duration, err error) {
	for range c.Starts {
		d, err := w.launch(a.ctx, file, address)
		if err != nil {
			return nil, err
		}
		took = append(took, d.ready)
		if err := d.stop(); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}
