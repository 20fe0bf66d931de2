package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

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
	missed  int       // earlier ticks that it stands for
	why     string    // store.ByHand where no tick is due to it
	hand    *hand     // retries that a person asks for, instead of a sweep; nil = it is one
	past    policy.Past
	log     *zap.Logger
	pending *pending

	deciding *semaphore.Weighted // one at a time decides: what is read for it is kept below
	members  memberships         // read in this sweep
	online   map[string]string   // statuses of devices, read in this sweep
	fleet    fleet

	known     map[string]store.KnownTask
	unread    map[string]store.TaskCounts // tasks that may be left unread, as they stood
	firstSeen time.Time
	observed  int // targets that would have been retried, in mode observe

	books    sync.Mutex               // over what follows
	closedBy map[string]policy.Reason // tasks that are closed as a whole

	failed map[string]bool                  // tasks that are not finished
	counts map[string]map[policy.Reason]int // by task
	limits map[string]map[string]int        // by task: capped targets by limit
	sent   map[policy.State]int

	unkept []store.TaskCounts // of tasks that are finished, and not in the ledger yet
	calls  func() int64       // of this run
}

func newSweep(c *connection, p *policy.Policy, tick time.Time) *sweep {
	return &sweep{
		connection: c, p: p, at: tick, online: map[string]string{}, closedBy: map[string]policy.Reason{},
		deciding: semaphore.NewWeighted(1), pending: c.pendingOf(p.Name),
		log:    c.o.Log.With(zap.String("policy", p.Name), zap.String("connection", c.name)),
		failed: map[string]bool{}, counts: map[string]map[policy.Reason]int{}, limits: map[string]map[string]int{}, sent: map[policy.State]int{},
	}
}

// run sweeps and accounts for it in the ledger, the metrics and the log.
func (w *sweep) run(ctx context.Context) *Report {
	started := w.o.Store.Now()
	ctx, w.calls = iotdaclient.Counting(ctx)
	r := &Report{Policy: w.p.Name, Connection: w.name}
	tick := store.Tick{Policy: w.p.Name, Connection: w.name, Tick: w.at, Started: started, Missed: w.missed, Why: w.why}
	if w.dry == nil {
		first, err := w.ledger().StartTick(ctx, tick)
		if err != nil {
			return w.finish(ctx, tick, r, err)
		}
		if first {
			w.o.Metrics.TicksSkipped.WithLabelValues(w.name, w.p.Name, SkippedCollapsed).Add(float64(w.missed))
		}
	}
	listing, err := w.refresh(ctx, time.Now())
	if err == nil {
		err = w.recall(ctx)
	}
	if err == nil && w.dry == nil { // a plan shows each target
		w.unread, err = w.ledger().Passed(ctx, w.client.ProjectID())
	}
	if err != nil {
		w.countDown(ctx, err)
		return w.finish(ctx, tick, r, err)
	}
	w.tasks(ctx, listing, r)
	if err := w.keepCounts(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn("how tasks stand is not in the ledger", zap.Error(err))
	}
	return w.finish(ctx, tick, r, nil)
}

// recall reads what the ledger knows of the policy and its tasks.
func (w *sweep) recall(ctx context.Context) (err error) {
	if w.firstSeen, err = w.ledger().FirstSeen(ctx, w.p.Name, w.name); err != nil {
		return err
	}
	w.known, err = w.knownTasks(ctx)
	return err
}

// countDown counts the failed targets of the tasks that are known from before under the
// connection being down.
func (w *sweep) countDown(ctx context.Context, why error) {
	e := iotdaclient.AsError(why)
	if e == nil || ctx.Err() != nil {
		return
	}
	known, err := w.knownTasks(ctx)
	if err != nil {
		return
	}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(known))) {
		k := known[id]
		t := iotda.Task{ID: k.ID, Name: k.Name, Type: iotda.TaskType(k.Type), Status: iotda.TaskStatus(k.Status), AppID: k.AppID, AppName: k.AppName}
		if k.Fail == 0 || policy.Owner(w.current(), w.name, t) != w.p || !t.Status.Retryable() {
			continue
		}
		if w.counts[t.ID] != nil && !w.failed[t.ID] { // an earlier run has finished it
			continue
		}
		w.failed[t.ID] = true
		v := policy.Verdict{Reason: policy.ConnectionDown, Detail: e.Short(), NotBefore: e.Until()}
		if remedy := e.Remedy(); remedy != "" {
			v.Detail += ": " + remedy
		}
		w.counts[t.ID] = map[policy.Reason]int{v.Reason: k.Fail}
		w.tell(t, v, k.Fail)
	}
}

// tell tells of a verdict about a whole task.
func (w *sweep) tell(t iotda.Task, v policy.Verdict, targets int) {
	w.o.Watch(Event{Kind: DecidedTask, Connection: w.name, Policy: w.p.Name, TaskID: t.ID, TaskName: t.Name, Verdict: v, Rows: targets})
}

// tasks sweeps the policy's tasks that an earlier run has not finished. One that fails is
// left for the next run.
func (w *sweep) tasks(ctx context.Context, l *listing, r *Report) {
	for id := range w.failed {
		delete(w.counts, id)
		delete(w.limits, id)
	}
	w.failed = map[string]bool{}
	var left []iotda.Task
	open := 0 // targets of theirs
	for _, t := range l.tasks {
		if w.p.Owns(w.name, t) && w.counts[t.ID] == nil {
			left = append(left, t)
			open += w.failing(t)
		}
	}
	var row failures
	stopped := false
	var several errgroup.Group
	several.SetLimit(tasksAtOnce)
	anyOrder := false
	for i, t := range left {
		if !anyOrder { // only then is there more than one
			_ = several.Wait()
			anyOrder = w.anyOrder(ctx, left[i:], open)
		}
		open -= w.failing(t)
		several.Go(func() error {
			w.books.Lock()
			if stopped || ctx.Err() != nil {
				w.failed[t.ID] = true
				w.books.Unlock()
				return nil //nolint:nilerr // what ended the sweep has been said
			}
			ts := &taskSweep{sweep: w, task: t, listing: l, counts: map[policy.Reason]int{}, limits: map[string]int{}}
			w.counts[t.ID], w.limits[t.ID] = ts.counts, ts.limits
			w.books.Unlock()
			err := ts.run(ctx)
			if err == nil {
				err = ts.keep(ctx)
			}
			w.books.Lock()
			stop := row.stop(err)
			// A probe that failed is enough for one run: each costs a target an attempt.
			stopped = stopped || stop || errors.Is(err, errUnknown) && w.circuit.open()
			w.books.Unlock()
			if err != nil {
				w.unfinished(ctx, t, err, r)
			}
			return nil
		})
	}
	_ = several.Wait() // each has said what it met
}

// tasksAtOnce is how many tasks are swept at the same time where their order does not matter: with less
// than a wave in each, one after the other would leave most of a connection's calls unused.
const tasksAtOnce = 8

// failing gives how many of the task's targets may be due.
func (w *sweep) failing(t iotda.Task) (n int) {
	for _, status := range w.p.Targets.Statuses {
		n += t.Progress.Of(status)
	}
	return n
}

// unfinished leaves a task for the next run.
func (w *sweep) unfinished(ctx context.Context, t iotda.Task, err error, r *Report) {
	level := zap.WarnLevel
	if ctx.Err() != nil { // it is handed over, or goes on with the next start
		err, level = errStopped, zap.InfoLevel
	}
	w.books.Lock()
	w.failed[t.ID] = true
	r.Problems = append(r.Problems, fmt.Errorf("task %s: %w", t.ID, err))
	w.books.Unlock()
	w.log.Log(level, "a task could not be finished", zap.String("task", t.ID), zap.String("task_name", t.Name), zap.Error(err))
	w.surprise(err)
}

// stopsSweep tells whether the other tasks would meet the same error.
func stopsSweep(err error) bool {
	switch {
	case errors.Is(err, errCircuit):
		return true
	case errors.Is(err, errStale), errors.Is(err, errRefused), errors.Is(err, errUnknown):
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

// failures counts tasks in a row that could not be read for a cause that passes.
type failures int

// stop tells whether the tasks that are left would meet the same error. One that never
// answers must not keep the others from their turn, so of such it takes two.
func (n *failures) stop(err error) bool {
	if err == nil || !stopsSweep(err) {
		*n = 0
		return false
	}
	if e := iotdaclient.AsError(err); e == nil || !e.Transient() {
		return true
	}
	*n++
	return *n > 1
}

// finish closes the sweep's books. err is why the tasks could not be listed.
func (w *sweep) finish(ctx context.Context, tick store.Tick, r *Report, err error) *Report {
	tick.Finished = w.o.Store.Now()
	r.Duration = tick.Finished.Sub(tick.Started)
	r.Tasks, r.Sent, r.Counts = len(w.counts), w.sent, map[string]int{}
	for _, counts := range w.counts {
		addTo(r.Counts, counts)
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
	clock := w.clockTrouble()
	if w.at.After(tick.Finished) {
		clock = "clock: it was put back during the sweep"
	}
	if clock != "" && r.Result == SweepComplete { // nothing could be claimed
		r.Result, r.Problems = SweepPartial, append(r.Problems, errors.New(clock))
	}
	switch { // the tick stays due
	case r.Result == SweepComplete, w.why == store.ByHand: // or there was none
	case ctx.Err() != nil:
		w.log.Info("sweep stopped before its end", zap.Time("tick", w.at), zap.Any("sent", r.Sent))
		return r
	case clock != "":
		w.account(tick, r)
		return r
	}
	ctx, cancel := stopping(ctx)
	defer cancel()
	tick.Result, tick.Counts, tick.States = r.Result, r.Counts, w.states()
	tick.Limits, tick.Sent = map[string]int{}, addTo(map[string]int{}, r.Sent)
	for _, limits := range w.limits {
		addTo(tick.Limits, limits)
	}
	for _, problem := range r.Problems[:min(len(r.Problems), maxProblems)] {
		tick.Problems = append(tick.Problems, iotda.Clip(problem.Error(), 500))
	}
	if e := w.ledger().FinishTick(ctx, tick); e != nil {
		w.log.Error("the sweep could not be written to the ledger", zap.Error(e))
	}
	w.account(tick, r)
	return r
}

// maxProblems is how many problems of a sweep are kept in the ledger.
const maxProblems = 20

// addTo adds counts to those of all tasks.
func addTo[K ~string](all map[string]int, counts map[K]int) map[string]int {
	for k, n := range counts {
		all[string(k)] += n
	}
	return all
}

func (w *sweep) account(tick store.Tick, r *Report) {
	m := w.o.Metrics
	m.Sweeps.WithLabelValues(w.name, w.p.Name, r.Result).Inc()
	m.SweepDuration.WithLabelValues(w.name, w.p.Name).Observe(r.Duration.Seconds())
	m.SweepCalls.WithLabelValues(w.name, w.p.Name).Observe(float64(w.calls()))
	fields := []zap.Field{
		zap.Time("tick", w.at), zap.String("result", r.Result), zap.Duration("took", r.Duration),
		zap.Int("tasks", r.Tasks), zap.Any("targets", r.Counts), zap.Any("sent", r.Sent),
	}
	switch r.Result {
	case SweepComplete:
		m.SetTargets(w.name, w.p.Name, r.Counts)
		m.LastSuccess.WithLabelValues(w.name, w.p.Name).Set(metrics.Seconds(tick.Finished))
		m.SetTasks(w.name, w.p.Name, tick.States)
		w.log.Info("sweep", fields...)
	default:
		w.log.Warn("sweep", append(fields, zap.Errors("problems", r.Problems))...)
	}
}

// The states of a task that is open to retries, or would be if nobody held it back.
const taskActive = "active"

// TaskStates lists the states of tasks that are counted.
func TaskStates() []string {
	return []string{taskActive, string(policy.Halted), string(policy.Paused), string(policy.AwaitingApproval)}
}

// states counts the tasks by what holds them back.
func (w *sweep) states() map[string]int {
	states := map[string]int{}
	for id := range w.counts {
		state := taskActive
		if reason := w.closedBy[id]; reason != "" {
			state = string(reason)
		}
		if slices.Contains(TaskStates(), state) { // the others would not be open to retries anyway
			states[state]++
		}
	}
	return states
}
