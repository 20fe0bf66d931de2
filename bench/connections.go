package main

import (
	"fmt"
	"time"
)

type connectionsCmd struct {
	binary
	Connections int           `default:"1000" help:"Connections, each with a project of its own."`
	Tasks       int           `default:"10" help:"Tasks of each."`
	Failing     int           `default:"100" help:"Failing sub-tasks of each, in all of its tasks together."`
	Healthy     int           `default:"50" help:"Other sub-tasks of each task."`
	Latency     time.Duration `default:"20ms" help:"How long each call takes."`
}

// Run sweeps all connections once, in one process.
func (c connectionsCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	f := fleet{
		Projects: c.Connections, Tasks: c.Tasks, Failing: c.Failing, Healthy: c.Healthy, Latency: c.Latency, Upgrade: 24 * time.Hour, Recover: 1, Message: "Task Conflict",
	}
	u, r, err := w.sweepOnce(a, "connections", f, setting{connections: c.Connections, rate: 50, burst: 20, slots: 4})
	if err != nil {
		return err
	}
	a.printf("%s connections with %d tasks and %d failing sub-tasks each, %s a call, 4 calls in flight and 50 a second on each.\n\n",
		thousands(c.Connections), c.Tasks, c.Failing, c.Latency)
	table(a.out, "wall|calls|calls/s|CPU|peak memory|memory a connection", []string{
		seconds(u.Wall), thousands(r.Calls), fmt.Sprintf("%.0f", float64(r.Calls)/u.Wall.Seconds()), seconds(u.CPU), mebibytes(u.Peak),
		fmt.Sprintf("%d KiB", u.Peak>>10/int64(c.Connections)),
	})
	return nil
}
