package scheduler

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// taskSweep is the part of a sweep that is one task.
type taskSweep struct {
	*sweep
	task    iotda.Task // name, type and create_time from the list; status and progress as read last
	listing *listing
	counts  map[policy.Reason]int
	limits  map[string]int // capped targets by limit
	detail  string         // why it is closed as a whole
	refused atomic.Bool    // by the platform, as a whole
	took    atomic.Bool    // a retry of the task

	rows int // sub-tasks that were decided about

	pass      store.Pass // that it was left unread by
	began     string     // how it stood before it was read
	unsettled bool       // there is something left to do
	until     time.Time  // verdicts hold; zero = for as long as nothing changes

	unapproved string // why it may not be retried before a person approves it, as read last
}

// errStale is in the chain of the error of a task whose waves grew too old before they
// could be sent.
var errStale = errors.New("what was read grew older than 30 s before its retries could be sent")

// maxRereads bounds how often a wave that grew too old is read again in one sweep.
const maxRereads = 3

func (t *taskSweep) run(ctx context.Context) error {
	if closed, err := t.closed(ctx); closed || err != nil {
		return err
	}
	if t.p.Targets.Mode == policy.TargetsAll && t.hand == nil {
		return t.whole(ctx)
	}
	if t.began = t.standsAs(); t.passed() {
		t.log.Debug("task left unread: it stands as when nothing was left to do", zap.String("task", t.task.ID))
		return nil
	}
	for _, status := range t.p.Targets.Statuses {
		if t.hand == nil && none(t.now(), status) {
			continue
		}
		t.o.Watch(Event{Kind: Reading, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name, Total: t.task.Progress.Of(status)})
		if err := t.status(ctx, status); err != nil || t.closedAs() != "" {
			return err
		}
	}
	return nil
}

// target is one row of a wave with what is known of it and decided about it.
type target struct {
	policy.Facts
	closed  bool // its end was counted already
	claimed bool
	dropped string // why the ledger did not take its claim
	verdict policy.Verdict
}

func (t *taskSweep) count(targets []target) {
	t.hand.note(targets)
	t.books.Lock()
	t.noteUntil(targets)
	for _, row := range targets {
		t.counts[row.verdict.Reason]++
		if row.verdict.Reason == policy.Capped {
			limit, _, _ := strings.Cut(row.verdict.Detail, ":") // a whole task waits for one of its targets, which is named
			t.limits[limit]++
		}
	}
	t.books.Unlock()
	for _, row := range targets {
		code, text := row.Failure()
		t.o.Watch(Event{Kind: Decided, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name, DeviceID: row.Target.DeviceID, Verdict: row.verdict, Attempt: row.Record.N + 1,
			Code: code, Text: text})
	}
}

// closedAs says why the task is closed as a whole; empty if it is not.
func (t *taskSweep) closedAs() policy.Reason {
	t.books.Lock()
	defer t.books.Unlock()
	return t.closedBy[t.task.ID]
}

// keep has the ledger know how the task's targets stand. What was only looked at in the list costs no
// transaction of its own: there may be hundreds of such tasks.
func (t *taskSweep) keep(ctx context.Context) error {
	closed := t.closedAs()
	if t.dry != nil || closed == policy.OtherPolicy {
		return nil
	}
	pass := t.passNow(closed)
	t.books.Lock()
	t.unkept = append(t.unkept, store.TaskCounts{
		TaskID: t.task.ID, Policy: t.p.Name, Connection: t.name, Counts: addTo(map[string]int{}, t.counts), Limits: t.limits, Detail: t.detail, Pass: pass,
	})
	t.books.Unlock()
	if closed != "" || t.pass.As != "" {
		return nil
	}
	return t.keepCounts(ctx)
}

func (w *sweep) keepCounts(ctx context.Context) error {
	w.books.Lock()
	unkept := w.unkept
	w.unkept = nil
	w.books.Unlock()
	err := w.ledger().CountTasks(ctx, w.client.ProjectID(), unkept)
	if err != nil {
		w.books.Lock()
		w.unkept = append(w.unkept, unkept...)
		w.books.Unlock()
	}
	return err
}

// noteWave looks for what the platform is not known to answer.
func (c *connection) noteWave(w iotdaclient.Wave) {
	if w.Doubles > 0 {
		c.wonder(surpriseDouble, "a page names a target more than once", zap.String("task", w.Task.ID), zap.Int("rows", w.Doubles))
	}
	if !w.Task.Status.Known() {
		c.wonder(surpriseWord, "a task's status is a word that is not known: the task is left alone", zap.String("task", w.Task.ID), zap.String("status", iotda.Clip(string(w.Task.Status), 40)))
	}
	for _, s := range w.Subtasks {
		if !s.Status.Known() {
			c.wonder(surpriseWord, "a sub-task's status is a word that is not known: it is left alone", zap.String("task", w.Task.ID), zap.String("status", iotda.Clip(string(s.Status), 40)))
			return // one line a wave is enough
		}
	}
}

// giveUp writes and tells which targets have come to their end.
func (t *taskSweep) giveUp(ctx context.Context, targets []target) error {
	c := store.Closings{
		ProjectID: t.client.ProjectID(), TaskID: t.task.ID, TaskType: string(t.task.Type),
		Policy: t.p.Name, Connection: t.name,
	}
	by := map[string]target{}
	for _, row := range targets {
		if row.verdict.Reason.Final() && !row.closed {
			code, text := row.Failure()
			c.Targets = append(c.Targets, store.Closing{
				DeviceID: row.Target.DeviceID, Outcome: string(row.verdict.Reason), Detail: row.verdict.Detail, LastN: row.Record.N, Attempts: row.Record.Counted,
				Code: code, Text: text, Cause: t.p.CauseOf(row.Facts),
			})
			by[row.Target.DeviceID] = row
		}
	}
	if t.dry != nil {
		return nil
	}
	closed, err := t.ledger().CloseTargets(ctx, c)
	if err != nil {
		return err
	}
	for _, target := range closed {
		row := by[target.DeviceID]
		code, text := row.Subtask.Cause()
		t.o.Metrics.Closed.WithLabelValues(t.name, t.p.Name, string(t.task.Type), target.Outcome).Inc()
		t.log.Info("target given up", zap.String("task", t.task.ID), zap.String("task_name", t.task.Name), zap.String("device", target.DeviceID),
			zap.String("why", target.Outcome), zap.String("detail", row.verdict.Detail), zap.Int("attempts", row.Record.Counted),
			zap.String("error_code", code), zap.String("error", text))
		t.o.Watch(Event{Kind: Closed, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name,
			DeviceID: target.DeviceID, Verdict: row.verdict, Attempt: row.Record.N, Text: text})
	}
	return nil
}

// life gives the context of the daemon, where one runs, rather than that of a part of it.
func (s *Scheduler) life(part context.Context) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return s.running
	}
	return part
}

// stopping gives a context that outlives ctx by the grace that calls in flight get.
func stopping(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-longer.Done():
		}
		cancel()
	})
	return longer, func() { stop(); cancel() }
}
