package scheduler

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// observe reads what became of the open attempts, whatever the policies select today.
// A task that cannot be read keeps its attempts open; the error of one that stops the
// connection is returned.
func (c *connection) observe(ctx context.Context, l *listing) error {
	if c.dry == nil {
		if n, err := c.ledger().Abandon(ctx); err != nil {
			return err
		} else if n > 0 {
			c.log.Warn("attempts whose answer could not be written count as unknown", zap.Int("attempts", n))
		}
	}
	tasks, err := c.ledger().OpenTasks(ctx, c.client.ProjectID())
	if err != nil {
		return err
	}
	tasks = slices.DeleteFunc(tasks, func(t store.OpenTask) bool { return c.foreign(t.Identity) })
	known, err := c.knownTasks(ctx)
	if err != nil {
		return err
	}
	missing := &missing{connection: c, known: known, listed: l, idle: map[string]bool{}}
	var row failures
	for _, task := range tasks {
		attempts, err := c.ledger().OpenAttempts(ctx, c.client.ProjectID(), task.ID)
		if err != nil {
			return err
		}
		w := newWatch(c, attempts)
		if w.task, _ = l.task(task.ID); w.task.ID == "" {
			w.task.ID = task.ID
		}
		err = w.observe(ctx)
		missing.note(task.ID, err, len(w.open) < w.all)
		if e := iotdaclient.AsError(err); e != nil && e.Gone() {
			if err := w.stale(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.surprise(err)
			c.log.Warn("a task's open attempts could not be observed", zap.String("task", task.ID), zap.Error(err))
		}
		if row.stop(err) {
			return err
		}
	}
	if err := missing.settle(ctx, len(tasks)); err != nil {
		return err
	}
	return c.lookElsewhere(ctx, l, known)
}

// stale closes the attempts of a task that cannot be found: time alone does that.
func (w *watch) stale(ctx context.Context) error {
	var settlements []policy.Settlement
	for _, a := range w.open {
		if s, changed := policy.Observe(a, policy.Observation{At: w.o.Store.Now()}); changed {
			settlements = append(settlements, s)
		}
	}
	return w.settle(ctx, settlements)
}

// watch is the open attempts of one task that could come to their outcome now.
type watch struct {
	*connection
	task iotda.Task
	open map[string]policy.Attempt // by device
	all  int                       // open ones at first
}

// newWatch leaves out attempts that were answered so lately that no read settles them.
func newWatch(c *connection, attempts []policy.Attempt) *watch {
	w := &watch{connection: c, open: map[string]policy.Attempt{}}
	now := c.o.Store.Now()
	for _, a := range attempts {
		if !now.Before(a.AnsweredAt.Add(a.Terms.Settle)) {
			w.open[a.DeviceID] = a
		}
	}
	w.all = len(w.open)
	return w
}

// observe takes the way with the fewest calls: the failed ones alone where they tell
// about the rest, else whole statuses, else target by target.
func (w *watch) observe(ctx context.Context) error {
	if a, ok := w.open[policy.WholeTask]; ok {
		delete(w.open, policy.WholeTask)
		if err := w.observeWhole(ctx, a); err != nil {
			return err
		}
	}
	if len(w.open) == 0 {
		return nil
	}
	if p := w.task.Progress; p.Settled() && pages(p.Fail) <= len(w.open) {
		if err := w.shortcut(ctx); err != nil {
			return err
		}
	}
	for _, status := range w.cheapestFirst() {
		if pages(w.task.Progress.Of(status)) < len(w.open) {
			if _, _, err := w.readStatus(ctx, status); err != nil {
				return err
			}
		}
	}
	return w.readSingly(ctx)
}

func pages(rows int) int { return max(1, (rows+iotda.MaxPageSize-1)/iotda.MaxPageSize) }

// cheapestFirst lists the statuses that hold sub-tasks, the one with the fewest first.
func (w *watch) cheapestFirst() (statuses []iotda.SubtaskStatus) {
	for _, status := range iotda.SubtaskStatuses() {
		if w.task.Progress.Of(status) > 0 {
			statuses = append(statuses, status)
		}
	}
	slices.SortStableFunc(statuses, func(a, b iotda.SubtaskStatus) int {
		return cmp.Compare(w.task.Progress.Of(a), w.task.Progress.Of(b))
	})
	return statuses
}

// shortcut reads the failed sub-tasks; where that proves that everything else has
// succeeded, the other attempts have recovered.
func (w *watch) shortcut(ctx context.Context) error {
	posts := w.posts(w.task.ID)
	pass, status, err := w.readStatus(ctx, iotda.SubtaskFail)
	if err != nil {
		return err
	}
	pass.Posted = w.posts(w.task.ID) != posts
	var settlements []policy.Settlement
	for device, a := range w.open {
		if !pass.Complete(a.AnsweredAt, a.Terms.Settle) {
			continue
		}
		o := policy.Observation{At: pass.FirstRead, Status: iotda.SubtaskSuccess, TaskStatus: status}
		if s, changed := policy.Observe(a, o); changed {
			settlements = append(settlements, s)
		}
		delete(w.open, device)
	}
	return w.settle(ctx, settlements)
}

// readStatus reads all sub-tasks of one status and observes the open attempts among them.
func (w *watch) readStatus(ctx context.Context, status iotda.SubtaskStatus) (pass policy.Pass, task iotda.TaskStatus, err error) {
	seen := map[string]bool{}
	for from := (iotdaclient.From{}); ; { // with nothing expected at first: the progress before has to be older than all rows but its page's
		wave, err := w.client.Wave(ctx, w.task.ID, iotdaclient.Query{Status: status}, from, w.client.WavePages())
		if err != nil {
			return policy.Pass{}, "", err
		}
		w.noteWave(wave)
		begun := w.when(wave.Begun)
		if pass.FirstRead.IsZero() {
			pass.FirstRead, pass.Before = begun, wave.First
		}
		pass.After, pass.Uneven = wave.Task.Progress, pass.Uneven || wave.Uneven
		var settlements []policy.Settlement
		for _, s := range wave.Subtasks {
			seen[s.Target] = true
			settlements = w.see(settlements, s, wave.Task.Status, begun)
		}
		if err := w.settle(ctx, settlements); err != nil {
			return policy.Pass{}, "", err
		}
		if wave.End {
			pass.Failed = len(seen)
			return pass, wave.Task.Status, nil
		}
		from = iotdaclient.From{Marker: wave.Next, Rows: wave.Left}
	}
}

// singlesAtOnce is how many targets are read at the same time, and written down together; the
// connection's concurrency and rate hold below that.
const singlesAtOnce = 8

func (w *watch) readSingly(ctx context.Context) error {
	for devices := range slices.Chunk(slices.Sorted(maps.Keys(w.open)), 8*singlesAtOnce) {
		pages := make([]iotdaclient.SubtaskPage, len(devices))
		g, reads := errgroup.WithContext(ctx)
		g.SetLimit(singlesAtOnce)
		for i, device := range devices {
			g.Go(func() (err error) {
				pages[i], err = w.client.Subtasks(reads, w.task.ID, iotdaclient.Query{Target: device}, "", 0)
				return err
			})
		}
		err := g.Wait()
		var settlements []policy.Settlement
		for i, page := range pages {
			if page.Begun.IsZero() { // it was not read
				continue
			}
			row := iotda.Subtask{Target: devices[i]} // not among the rows: no status
			for _, s := range page.Subtasks {
				if s.Target == devices[i] {
					row = s
				}
			}
			settlements = w.see(settlements, row, page.Task.Status, w.when(page.Begun))
		}
		if err := errors.Join(err, w.settle(ctx, settlements)); err != nil {
			return err
		}
	}
	return nil
}

// see observes the attempt of one row, if it has one.
func (w *watch) see(settlements []policy.Settlement, s iotda.Subtask, task iotda.TaskStatus, at time.Time) []policy.Settlement {
	a, ok := w.open[s.Target]
	if !ok {
		return settlements
	}
	delete(w.open, s.Target) // one read each is enough for one round
	code, text := s.Cause()
	if settlement, changed := policy.Observe(a, policy.Observation{At: at, Status: s.Status, TaskStatus: task, Code: code, Text: text}); changed {
		if settlement.State == policy.Failed {
			settlement.Cause = w.causeOf(w.policyNow(a.Policy, w.task), code, text)
		}
		return append(settlements, settlement)
	}
	return settlements
}

// settle writes outcomes, and counts and logs those that are new.
func (w *watch) settle(ctx context.Context, settlements []policy.Settlement) error {
	if w.dry != nil {
		w.dry.settle(settlements)
		return nil
	}
	if w.clockTrouble() != "" { // it was set while they were read: their times may be wrong
		return nil
	}
	settled, err := w.ledger().Settle(ctx, settlements)
	if err != nil {
		return err
	}
	sums := map[policy.State]int{}
	for _, s := range settled {
		sums[s.State]++
		w.account(s)
	}
	if len(settled) > 0 {
		w.log.Info("attempts settled", zap.String("task", w.task.ID), zap.String("task_name", w.task.Name), zap.Any("outcomes", sums))
	}
	return nil
}

func (w *watch) account(s store.Settled) {
	m := w.o.Metrics
	s.Connection, s.Policy = w.name, w.policyNow(s.Policy, w.task)
	labels := []string{s.Connection, s.Policy, string(s.TaskType), string(s.State)}
	if s.DeviceID == policy.WholeTask { // its targets are not known one by one
		m.TaskRetries.WithLabelValues(labels...).Inc()
		w.log.Info("whole task "+string(s.State), zap.String("policy", s.Policy), zap.String("task", s.TaskID), zap.String("task_name", w.task.Name), zap.Int("attempt", s.N))
		return
	}
	m.Settled.WithLabelValues(labels...).Inc()
	if s.Closed {
		m.Closed.WithLabelValues(labels...).Inc()
	}
	switch s.State {
	case policy.Recovered:
		m.TimeToRecovery.WithLabelValues(s.Connection, s.Policy).Observe(s.At.Sub(s.FirstAt).Seconds())
		m.AttemptsToRecovery.WithLabelValues(s.Connection, s.Policy).Observe(float64(s.Counted))
	case policy.Failed:
		m.Failures.WithLabelValues(s.Connection, s.Policy, s.Cause.Name, string(s.Cause.Class)).Inc()
		if s.Stuck >= stuckAfter {
			w.wonder(surpriseStuck, "three accepted retries in a row of a target were never seen in motion",
				zap.String("task", s.TaskID), zap.String("device", s.DeviceID), zap.Int("attempt", s.N))
		}
	}
	w.log.Debug("attempt "+string(s.State), zap.String("policy", s.Policy), zap.String("task", s.TaskID), zap.String("device", s.DeviceID),
		zap.Int("attempt", s.N), zap.String("detail", s.Detail), zap.String("error_code", s.Code), zap.String("error", s.Text))
	w.o.Watch(Event{Kind: Settled, Connection: w.name, Policy: s.Policy, TaskID: s.TaskID, TaskName: w.task.Name, DeviceID: s.DeviceID,
		State: s.State, Attempt: s.N, Text: s.Text})
}

// stuckAfter is how many accepted retries in a row may settle as failed without having been
// seen in motion.
const stuckAfter = 3

// Known gives the label values that the scheduler counts under.
func Known() metrics.Known {
	known := metrics.Known{
		Results:  []string{string(policy.Accepted), string(policy.Rejected), string(policy.Unknown), string(policy.Released)},
		Outcomes: []string{string(policy.Recovered), string(policy.Failed), string(policy.Gone)},
		Endings:  Endings(), Operations: iotdaclient.Operations(), Sweeps: SweepResults(), Surprises: Surprises(),
		Skips: Skips(), TaskStates: TaskStates(), Logins: iotdaclient.LoginResults(),
	}
	for _, kind := range store.RequestKinds() {
		known.Asked = append(known.Asked, string(kind))
	}
	for _, end := range store.RequestEnds() {
		known.Answered = append(known.Answered, string(end))
	}
	for _, reason := range policy.Reasons() {
		known.Reasons = append(known.Reasons, string(reason))
	}
	for _, cause := range policy.Causes() {
		known.Causes = append(known.Causes, metrics.Cause{Rule: cause.Name, Class: string(cause.Class)})
	}
	return known
}
