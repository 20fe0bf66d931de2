package main

import (
	"fmt"
	"math"
	"time"
)

type scaleCmd struct {
	binary
	Sizes   []int         `default:"10000,100000,1000000" help:"Failing sub-tasks of each sweep."`
	Tasks   int           `default:"40" help:"Tasks that they are in."`
	Latency time.Duration `default:"2ms" help:"How long each call takes."`
	Slots   int           `default:"16" help:"Calls in flight."`
	Members bool          `help:"Rows of lists carry the ids of all devices."`
}

// Run sweeps fleets of several sizes.
func (c scaleCmd) Run(a *app) error {
	w, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	a.printf("%s\n", machine())
	a.printf("One sweep over %d tasks, %s a call, %d calls in flight.\n\n", c.Tasks, c.Latency, c.Slots)
	var rows [][]string
	var sizes, walls, peaks []float64
	for _, size := range c.Sizes {
		f := fleet{Projects: 1, Tasks: c.Tasks, Failing: size, Latency: c.Latency, Upgrade: 24 * time.Hour, Recover: 1, Message: "Task Conflict", Members: c.Members}
		u, r, err := w.sweepOnce(a, fmt.Sprint("scale-", size), f, setting{rate: noLimit, burst: noLimit, slots: c.Slots})
		if err != nil {
			return err
		}
		rows = append(rows, []string{
			thousands(size), seconds(u.Wall), thousands(r.Calls), seconds(u.CPU), mebibytes(u.Peak), fmt.Sprintf("%.0f", float64(size)/u.Wall.Seconds()),
			fmt.Sprintf("%.1f µs", u.Wall.Seconds()*1e6/float64(size)),
		})
		sizes, walls, peaks = append(sizes, float64(size)), append(walls, u.Wall.Seconds()), append(peaks, float64(u.Peak))
		a.printf("%s: %s\n", thousands(size), u.Wall.Round(10*time.Millisecond))
	}
	a.printf("\n")
	table(a.out, "failing|wall|calls|CPU|peak memory|targets/s|wall a target", rows...)
	if len(sizes) > 1 {
		a.printf("\nSlope of wall time over size, both as logarithms: %.3f (1 = linear); of peak memory: %.3f (0 = flat).\n", slope(sizes, walls), slope(sizes, peaks))
	}
	return nil
}

// slope fits a line through the logarithms.
func slope(x, y []float64) float64 {
	var sx, sy, sxx, sxy float64
	for i := range x {
		lx, ly := math.Log(x[i]), math.Log(y[i])
		sx, sy, sxx, sxy = sx+lx, sy+ly, sxx+lx*lx, sxy+lx*ly
	}
	n := float64(len(x))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
