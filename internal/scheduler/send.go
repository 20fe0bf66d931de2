package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// send retries the due targets, in batches. readAt is the start of the oldest read that
// they were decided by. It begins nothing once ctx has ended, as it does when another part of the task
// fails; what is in flight then has until the end of the program, and the grace.
func (t *taskSweep) send(program, ctx context.Context, targets []target, readAt time.Time, reserved *reservation) error {
	var due []*target
	for i := range targets {
		if targets[i].verdict.Reason == policy.Due {
			due = append(due, &targets[i])
		}
	}
	if t.dry != nil {
		for _, row := range due {
			t.dry.take(t.p.Name, t.task.ID, row.Target.DeviceID)
		}
		return nil
	}
	// Those with the fewest attempts first: what is left when the program stops has had its
	// turn, and probes of a platform that does not answer do not use up the same targets.
	slices.SortStableFunc(due, func(a, b *target) int { return a.Record.Counted - b.Record.Counted })
	sending, ctx := errgroup.WithContext(ctx)
	err := func() error {
		for len(due) > 0 {
			size, alone, err := t.circuit.enter(ctx, readAt, 2*t.client.Concurrency()) // one on its way, one that is being written down
			switch {
			case err != nil:
				return err
			case size == 0:
				return errCircuit
			}
			batch := due[:min(size, len(due))]
			due = due[len(batch):]
			if !alone {
				sending.Go(func() error {
					defer t.circuit.leave()
					_, err := t.sendBatch(program, ctx, batch, readAt, false, reserved)
					return err
				})
				continue
			}
			again, err := t.sendBatch(program, ctx, batch, readAt, len(due) > 0, reserved) // the others wait for what it shows
			t.circuit.leave()
			if err != nil {
				return err
			}
			reserved.take(len(again))
			due = append(due, again...)
		}
		return nil
	}()
	if e := sending.Wait(); e != nil { // the first of them
		return e
	}
	return err
}

// sendBatch waits for a slot and the rate, checks the gates, claims, checks them again,
// and sends. A small batch is one that
// others of the same task follow: what is to go again with those is returned.
func (t *taskSweep) sendBatch(program, ctx context.Context, batch []*target, readAt time.Time, small bool, reserved *reservation) (again []*target, err error) {
	t.waitWritten(ctx, readAt)
	free, err := t.client.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	if err := t.mayClaim(ctx, readAt); err != nil {
		return nil, err
	}
	claim := t.claim()
	rows := map[string]*target{}
	for _, row := range batch {
		rows[row.Target.DeviceID] = row
		claim.Candidates = append(claim.Candidates, store.Candidate{DeviceID: row.Target.DeviceID, LastN: row.Record.N, Max: t.p.CauseOf(row.Facts).Max})
	}
	var claimed []store.Claimed
	var dropped []store.Dropped
	err = reserved.claim(len(batch), func() (err error) {
		claimed, dropped, err = t.ledger().Claim(ctx, claim)
		return err
	})
	if err != nil {
		return nil, t.unclaimed(err, len(batch))
	}
	for _, d := range dropped {
		t.log.Info("target not claimed", zap.String("task", t.task.ID), zap.String("device", d.DeviceID), zap.String("why", d.Why))
		rows[d.DeviceID].dropped = d.Why
	}
	if len(claimed) == 0 {
		return nil, nil
	}
	for _, c := range claimed {
		rows[c.DeviceID].claimed = true
	}
	p := &post{taskSweep: t, ctx: ctx, readAt: readAt, small: small, free: free}
	err = p.call(program, claimed)
	for _, device := range p.released {
		rows[device].claimed = false // it waits like those that were not claimed
	}
	if p.again && err == nil {
		for _, c := range claimed {
			rows[c.DeviceID].Record.N = c.N
			again = append(again, rows[c.DeviceID])
		}
	}
	return again, err
}

// claim is a claim in the task, without candidates yet.
func (t *taskSweep) claim() store.Claim {
	return store.Claim{
		Scope: t.scope(), TaskType: string(t.task.Type), Tick: t.at, AskedBy: t.hand.who(), Terms: t.p.Terms(),
		SendBy: t.o.Store.Now().Add(freshness + t.client.Timeout()),
	}
}

// gateError is the error of what is not sent because it may not be any more.
type gateError struct{ verdict policy.Verdict }

// Error says why.
func (g *gateError) Error() string { return string(g.verdict.Reason) + ": " + g.verdict.Detail }

// unclaimed is asGate, and says so where the lease has gone.
func (t *taskSweep) unclaimed(err error, targets int) error {
	if errors.Is(err, store.ErrFenced) {
		t.log.Warn("a claim is refused: the lease has gone to another replica", zap.String("task", t.task.ID), zap.Int("targets", targets))
	}
	return asGate(err)
}

// asGate gives the ledger's word for a closed gate as a verdict.
func asGate(err error) error {
	var closed *store.GateError
	if errors.As(err, &closed) {
		return &gateError{policy.Verdict{Reason: closed.Reason, Detail: closed.Detail}}
	}
	return err
}

// gates are what has to hold at the moment of sending.
func (t *taskSweep) gates(ctx context.Context, readAt time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if stale(readAt) {
		return errStale
	}
	if !t.drive.mayPost() {
		return errLease
	}
	if v := t.past.Outside(t.p, t.o.Store.Now()); v.Reason != "" {
		return &gateError{v}
	}
	if text := t.trouble(); text != "" {
		return &gateError{policy.Verdict{Reason: policy.ConnectionDown, Detail: text}}
	}
	if owner := policy.Owner(t.current(), t.name, t.now()); owner != t.p { // the configuration has changed
		detail := "none"
		if owner != nil {
			detail = owner.Name
		}
		return &gateError{policy.Verdict{Reason: policy.OtherPolicy, Detail: detail}}
	}
	return nil
}

// waitWritten waits until the ledger has what the platform has answered, as long as what was read may be
// retried by.
func (t *taskSweep) waitWritten(ctx context.Context, readAt time.Time) {
	for t.unwritten.Load() > 0 && ctx.Err() == nil && !stale(readAt) {
		sleep(ctx, 100*time.Millisecond)
	}
}

// mayClaim gives what keeps a claim from being made.
func (t *taskSweep) mayClaim(ctx context.Context, readAt time.Time) error {
	if n := t.unwritten.Load(); n > 0 && ctx.Err() == nil {
		return fmt.Errorf("%d answers of the platform wait to be written to the ledger", n)
	}
	return t.gates(ctx, readAt)
}

func (t *taskSweep) noteAnswer(answer iotdaclient.RetryAnswer) {
	if n := len(answer.Unasked); n > 0 {
		t.wonder(surpriseExtra, "the answer to a retry names targets that nobody asked for", zap.String("task", t.task.ID), zap.Strings("devices", answer.Unasked[:min(n, 10)]))
	}
}

// waiting are answers that the ledger has not taken yet, once that is worth saying.
type waiting struct {
	mu           sync.Mutex
	sum          *atomic.Int64
	n            int64
	began, ended bool
}

func (w *waiting) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.began && !w.ended {
		w.began = true
		w.sum.Add(w.n)
	}
}

func (w *waiting) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended = true; w.began {
		w.sum.Add(-w.n)
	}
}

// write puts answers into the ledger. While it takes none, they are kept and nothing
// else is claimed; when the program ends first, the attempts are unknown at the next
// start, which is true.
func (t *taskSweep) write(ctx context.Context, answers []store.Answer) error {
	var changed []store.Answer
	waiting := &waiting{sum: &t.unwritten, n: int64(len(answers))}
	defer waiting.end()
	defer time.AfterFunc(time.Second, waiting.begin).Stop() // a ledger that does not even say no
	inTime, cancel := stopping(ctx)                         // the write itself outlives the grace: it is short, and worth more than the time
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		var err error
		if changed, err = t.ledger().Answered(inTime, t.client.ProjectID(), t.task.ID, answers); err == nil {
			break
		}
		if errors.Is(err, store.ErrFenced) { // whoever took over has made them unknown, and reads what they came to
			t.log.Warn("late answers are not written", zap.String("task", t.task.ID), zap.Int("targets", len(answers)), zap.Error(err))
			return err
		}
		t.log.Error("the platform's answers cannot be written to the ledger: nothing is claimed until they are",
			zap.String("task", t.task.ID), zap.Int("targets", len(answers)), zap.Error(err))
		waiting.begin()
		if sleep(ctx, pause); ctx.Err() != nil {
			return err
		}
	}
	t.accountFor(changed)
	return nil
}

// accountFor counts and logs answers that are in the ledger.
func (t *taskSweep) accountFor(changed []store.Answer) {
	t.mu.Lock()
	for _, a := range changed {
		t.sent[a.State]++
	}
	t.mu.Unlock()
	sums := map[policy.State]int{}
	for _, a := range changed {
		sums[a.State]++
		t.o.Metrics.Attempts.WithLabelValues(t.name, t.p.Name, string(t.task.Type), string(a.State)).Inc()
		if a.State == policy.Rejected {
			t.o.Metrics.Failures.WithLabelValues(t.name, t.p.Name, a.Cause.Name, string(a.Cause.Class)).Inc()
		}
		if a.State != policy.Accepted {
			t.log.Info("attempt "+string(a.State), zap.String("task", t.task.ID), zap.String("device", a.DeviceID), zap.Int("attempt", a.N),
				zap.String("error_code", a.Code), zap.String("why", a.Text))
		}
		t.o.Watch(Event{Kind: Answered, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name, DeviceID: a.DeviceID,
			State: a.State, Attempt: a.N, Text: a.Text})
	}
	if len(changed) > 0 {
		t.log.Info("batch", zap.String("task", t.task.ID), zap.String("task_name", t.task.Name), zap.Any("answers", sums))
	}
}
