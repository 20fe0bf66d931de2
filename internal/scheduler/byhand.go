package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// errByHand is in the chain of the error of a request that cannot be done as it is.
var errByHand = errors.New("nothing was retried")

// retryByHand retries targets of one task that a person asks for, under the policy that has the
// task, and by the same gates and claims as its sweeps, but for what the order goes past.
func (c *connection) retryByHand(ctx context.Context, r store.Request) (o store.Outcome, err error) {
	if c.o.Observe {
		return o, fmt.Errorf("%w: this retryd runs with --observe, and sends nothing", errByHand)
	}
	asked := newHand(r, c.dry != nil)
	l, err := c.refreshFor(ctx, asked)
	if err != nil {
		return o, err
	}
	task, p, err := c.ownTask(l, r)
	if err != nil {
		return o, err
	}
	ctx, done := c.underPolicy(ctx, p)
	defer done()
	w := newSweep(c, p, c.o.Store.Now())
	w.hand, w.past = asked, asked.order.Past
	if err := w.recall(ctx); err != nil {
		return o, err
	}
	t := &taskSweep{sweep: w, task: task, listing: l, counts: map[policy.Reason]int{}, limits: map[string]int{}}
	rest, err := t.retryNamed(ctx)
	if err != nil {
		w.surprise(err)
		if ctx.Err() != nil {
			err = errStopped
		}
		rest = store.Left{Reason: LeftUnreached, Detail: err.Error()}
	} else if closed := w.closedBy[task.ID]; closed != "" {
		rest = store.Left{Reason: string(closed), Detail: t.detail}
	}
	o = store.Outcome{Targets: addTo(map[string]int{}, t.counts), Sent: addTo(map[string]int{}, w.sent)}
	if len(t.limits) > 0 {
		o.Capped = t.limits
	}
	if w.hand.names() {
		o.Targets, o.Left = w.hand.result(rest)
	}
	return o, err
}

// refreshFor lists the tasks and observes. A plan is made beside whoever observes everything, and
// does it for nothing but what is asked for.
func (c *connection) refreshFor(ctx context.Context, h *hand) (*listing, error) {
	if c.dry == nil {
		return c.refresh(ctx, time.Now())
	}
	l, err := c.list(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	task, ok := l.task(h.request.TaskID)
	if !ok {
		return l, nil
	}
	attempts, err := c.ledger().OpenAttempts(ctx, c.client.ProjectID(), task.ID)
	if err != nil {
		return nil, err
	}
	w := newWatch(c, slices.DeleteFunc(attempts, func(a policy.Attempt) bool { return a.DeviceID != policy.WholeTask && !h.means(a.DeviceID) }))
	w.task = task
	return l, w.observe(ctx)
}

// ownTask gives the task of a request with the policy that has it.
func (c *connection) ownTask(l *listing, r store.Request) (iotda.Task, *policy.Policy, error) {
	task, ok := l.task(r.TaskID)
	if !ok {
		return task, nil, fmt.Errorf("%w: connection %s has no task %s of a type that its policies retry", errByHand, c.name, r.TaskID)
	}
	switch p := policy.Owner(c.current(), c.name, task); {
	case p == nil:
		return task, nil, fmt.Errorf("%w: no policy of connection %s has task %s, so that there are no rules for it", errByHand, c.name, r.TaskID)
	case r.Policy != "" && p.Name != r.Policy:
		return task, nil, fmt.Errorf("%w: task %s belongs to policy %s, and not to %s", errByHand, r.TaskID, p.Name, r.Policy)
	default:
		return task, p, nil
	}
}

// retryNamed goes by the way with the fewest calls: through the failed ones of the task, or target
// by target. rest is what to say of named ones that it has not met.
func (t *taskSweep) retryNamed(ctx context.Context) (rest store.Left, err error) {
	calls := 0
	for _, status := range t.p.Targets.Statuses {
		calls += pages(t.task.Progress.Of(status))
	}
	if !t.hand.names() || calls < len(t.hand.order.Devices) {
		detail := fmt.Sprintf("it is not among the targets that policy %s retries, those in %v: it is in another status, or the task has no such device", t.p.Name, t.p.Targets.Statuses)
		return store.Left{Reason: string(policy.NotSelected), Detail: detail}, t.run(ctx)
	}
	rest = store.Left{Reason: LeftUnknown, Detail: "the task has no such device: look at the id"}
	if closed, err := t.closed(ctx); closed || err != nil {
		return rest, err
	}
	devices := t.hand.order.Devices
	for len(devices) > 0 && t.closedBy[t.task.ID] == "" {
		some := devices[:min(t.singlesInTime(), len(devices))]
		devices = devices[len(some):]
		for n := 0; ; n++ {
			err := t.alone(ctx, func() (iotdaclient.Wave, error) { return t.readNamed(ctx, some) })
			if errors.Is(err, errStale) && n < maxRereads {
				continue
			}
			if err != nil {
				return rest, err
			}
			break
		}
	}
	return rest, nil
}

// singlesInTime is how many targets can be read one by one and retried before that is too old.
func (t *taskSweep) singlesInTime() int {
	const seconds = 10
	return max(1, min(iotda.MaxTargetsPerRetry, int(t.client.Budget().PerSecond()*seconds)))
}

// readNamed reads some targets one by one, as a wave.
func (t *taskSweep) readNamed(ctx context.Context, devices []string) (iotdaclient.Wave, error) {
	read := make([]iotdaclient.SubtaskPage, len(devices))
	g, reads := errgroup.WithContext(ctx)
	g.SetLimit(singlesAtOnce)
	for i, device := range devices {
		g.Go(func() (err error) {
			read[i], err = t.client.Subtasks(reads, t.task.ID, iotdaclient.Query{Target: device}, "", 0)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return iotdaclient.Wave{}, err
	}
	w := iotdaclient.Wave{End: true}
	var newest time.Time
	for i, page := range read {
		if w.Begun.IsZero() || page.Begun.Before(w.Begun) {
			w.Begun = page.Begun
		}
		if !page.Begun.Before(newest) {
			newest, w.Task = page.Begun, page.Task
		}
		for _, s := range page.Subtasks {
			if s.Target == devices[i] {
				w.Subtasks = append(w.Subtasks, s)
				break
			}
		}
	}
	return w, nil
}

// sweepByHand sweeps a policy now. It is none of its ticks: those come as ever.
func (c *connection) sweepByHand(ctx context.Context, r store.Request) (store.Outcome, error) {
	for _, p := range c.current() {
		if p.Name == r.Policy {
			return c.sweepNow(ctx, p)
		}
	}
	return store.Outcome{}, fmt.Errorf("%w: connection %s has no policy %s", errByHand, c.name, r.Policy)
}

func (c *connection) sweepNow(ctx context.Context, p *policy.Policy) (o store.Outcome, err error) {
	ctx, done := c.underPolicy(ctx, p)
	defer done()
	if _, err := c.ledger().Baseline(ctx, p.Name, c.name); err != nil { // it has been seen from now on
		return o, err
	}
	at := c.o.Store.Now()
	if at.Equal(at.Truncate(time.Second)) { // then it could be one of its ticks
		at = at.Add(-time.Microsecond)
	}
	w := newSweep(c, p, at)
	w.why = store.ByHand
	report := w.run(ctx)
	o = store.Outcome{Targets: report.Counts, Sent: addTo(map[string]int{}, report.Sent)}
	for _, problem := range report.Problems[:min(len(report.Problems), maxProblems)] {
		o.Problems = append(o.Problems, iotda.Clip(problem.Error(), 500))
	}
	switch {
	case ctx.Err() != nil:
		return o, errStopped
	case report.Result == SweepFailed:
		return o, errByHand
	}
	return o, nil
}
