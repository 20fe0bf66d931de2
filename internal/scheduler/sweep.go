package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// listingAge is how old the list of tasks may be when a wave is decided: newer than
// freshness by what reading and sending a wave may take.
const listingAge = 10 * time.Second

// sweep is one evaluation of one policy on one connection at one tick. It may be run
// again: then it takes up the tasks that it could not finish.
type sweep struct {
	*connection
	p       *policy.Policy
	at      time.Time // the tick
	log     *zap.Logger
	members map[string]members // read in this sweep

	again  bool                             // not the first run
	failed map[string]bool                  // tasks that are not finished
	counts map[string]map[policy.Reason]int // by task
	sent   map[policy.State]int
}

func newSweep(c *connection, p *policy.Policy, tick time.Time) *sweep {
	return &sweep{
		connection: c, p: p, at: tick, members: map[string]members{},
		log:    c.o.Log.With(zap.String("policy", p.Name), zap.String("connection", c.name)),
		failed: map[string]bool{}, counts: map[string]map[policy.Reason]int{}, sent: map[policy.State]int{},
	}
}

// run sweeps and accounts for it in the ledger, the metrics and the log.
func (w *sweep) run(ctx context.Context) *Report {
	started := w.o.Store.Now()
	r := &Report{Policy: w.p.Name, Connection: w.name}
	tick := store.Tick{Policy: w.p.Name, Connection: w.name, Tick: w.at, Started: started}
	if w.dry == nil {
		if err := w.o.Store.StartTick(ctx, tick); err != nil {
			return w.finish(ctx, tick, r, err)
		}
	}
	listing, err := w.refresh(ctx, started)
	if err != nil {
		return w.finish(ctx, tick, r, err)
	}
	w.tasks(ctx, listing, r)
	return w.finish(ctx, tick, r, nil)
}

// tasks sweeps the policy's tasks. One that fails is left for the next run of the sweep.
func (w *sweep) tasks(ctx context.Context, l *listing, r *Report) {
	before := w.failed
	w.failed = map[string]bool{}
	for i, t := range l.tasks {
		if !w.p.Owns(w.name, t) || w.again && !before[t.ID] && w.counts[t.ID] != nil {
			continue
		}
		w.counts[t.ID] = map[policy.Reason]int{}
		ts := &taskSweep{sweep: w, task: t, listing: l, counts: w.counts[t.ID]}
		err := ts.run(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			err = errStopped
		}
		w.failed[t.ID] = true
		r.Problems = append(r.Problems, fmt.Errorf("task %s: %w", t.ID, err))
		w.log.Warn("a task could not be finished", zap.String("task", t.ID), zap.String("task_name", t.Name), zap.Error(err))
		w.surprise(err)
		if ctx.Err() != nil || stopsSweep(err) {
			for _, rest := range l.tasks[i+1:] {
				if w.p.Owns(w.name, rest) {
					w.failed[rest.ID] = true
				}
			}
			return
		}
	}
}

// errStopped is why the tasks that are left when the program ends are not finished.
var errStopped = errors.New("stopped before it was finished")

// stopsSweep tells whether the other tasks would meet the same error.
func stopsSweep(err error) bool {
	switch {
	case errors.Is(err, errUnknown):
		return true
	case errors.Is(err, errStale):
		return false
	}
	e := iotdaclient.AsError(err)
	if e == nil {
		return true // the ledger's
	}
	switch e.Class {
	case iotda.ClassNotFound, iotda.ClassRefused, iotda.ClassBroken:
		return false
	}
	return true
}

// finish closes the sweep's books. err is why the tasks could not be listed.
func (w *sweep) finish(ctx context.Context, tick store.Tick, r *Report, err error) *Report {
	ctx = context.WithoutCancel(ctx) // at the end of the program a sweep is still accounted for
	w.again = true
	tick.Finished = w.o.Store.Now()
	r.Duration = tick.Finished.Sub(tick.Started)
	r.Tasks, r.Sent, r.Counts = len(w.counts), w.sent, map[string]int{}
	for _, counts := range w.counts {
		for reason, n := range counts {
			r.Counts[string(reason)] += n
		}
	}
	switch {
	case err != nil:
		r.Result, r.Problems = SweepFailed, append(r.Problems, err)
	case len(w.failed) > 0:
		r.Result = SweepPartial
	default:
		r.Result = SweepComplete
	}
	if w.dry != nil {
		return r
	}
	tick.Result, tick.Counts = r.Result, r.Counts
	if e := w.o.Store.FinishTick(ctx, tick); e != nil {
		w.log.Error("the sweep could not be written to the ledger", zap.Error(e))
	}
	w.account(tick, r)
	return r
}

func (w *sweep) account(tick store.Tick, r *Report) {
	m := w.o.Metrics
	m.Sweeps.WithLabelValues(w.name, w.p.Name, r.Result).Inc()
	m.SweepDuration.WithLabelValues(w.name, w.p.Name).Observe(r.Duration.Seconds())
	fields := []zap.Field{
		zap.Time("tick", w.at), zap.String("result", r.Result), zap.Duration("took", r.Duration),
		zap.Int("tasks", r.Tasks), zap.Any("targets", r.Counts), zap.Any("sent", r.Sent),
	}
	switch r.Result {
	case SweepComplete:
		m.SetTargets(w.name, w.p.Name, r.Counts)
		m.LastSuccess.WithLabelValues(w.name, w.p.Name).Set(metrics.Seconds(tick.Finished))
		active := 0
		for _, counts := range w.counts {
			if !closedWhole(counts) {
				active++
			}
		}
		m.Tasks.WithLabelValues(w.name, w.p.Name, "active").Set(float64(active))
		w.log.Info("sweep", fields...)
	default:
		w.log.Warn("sweep", append(fields, zap.Errors("problems", r.Problems))...)
	}
}

// closedWhole tells whether a task was closed for a reason of its own.
func closedWhole(counts map[policy.Reason]int) bool {
	for _, reason := range policy.TaskReasons() {
		if _, ok := counts[reason]; ok {
			return true
		}
	}
	return false
}
