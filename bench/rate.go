package main

import (
	"fmt"
	"time"
)

type rateCmd struct {
	binary
	PerSecond float64       `default:"50" help:"Calls a second that are allowed."`
	Burst     int           `default:"5" help:"Calls that may leave at once."`
	For       time.Duration `default:"60s" help:"How long there is work for."`
	Latency   time.Duration `default:"20ms" help:"How long each call takes."`
	Tasks     int           `default:"4" help:"Tasks."`
	Slots     int           `default:"16" help:"Calls in flight."`
}

// Run sweeps under a rate, and reckons by when calls arrived.
func (c rateCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	const targetsPerCall = 50 / 1.5 // a page has 50, and a retry call takes two pages
	f := fleet{
		Projects: 1, Tasks: c.Tasks, Failing: int(c.PerSecond * c.For.Seconds() * targetsPerCall), Latency: c.Latency, Upgrade: 24 * time.Hour, Recover: 1, Message: "Task Conflict",
	}
	u, r, err := w.sweepOnce(a, "rate", f, setting{rate: c.PerSecond, burst: c.Burst, slots: c.Slots})
	if err != nil {
		return err
	}
	took := r.Last.Sub(r.First)
	allowed := c.PerSecond * took.Seconds()
	a.printf("requests_per_second: %g, burst: %d; %s failing sub-tasks in %d tasks, %s a call.\n\n", c.PerSecond, c.Burst, thousands(f.Failing), c.Tasks, c.Latency)
	table(a.out, "calls|in|allowed|share|most in any second|limit + burst|CPU|peak memory", []string{
		thousands(r.Calls), seconds(took), fmt.Sprintf("%.0f", allowed), fmt.Sprintf("%.1f %%", 100*float64(r.Calls)/allowed), fmt.Sprint(r.Busiest),
		fmt.Sprint(int(c.PerSecond) + c.Burst), seconds(u.CPU), mebibytes(u.Peak),
	})
	return nil
}
