package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// errUnknown is in the chain of the error of a retry call without an answer that proves
// anything. Each target of it has used an attempt, so the sweep does not go on blindly.
var errUnknown = errors.New("it is not known whether the retry call had an effect: its targets count as attempted")

// send retries the due targets, in batches. readAt is the start of the oldest read that
// they were decided by.
func (t *taskSweep) send(ctx context.Context, targets []target, readAt time.Time) error {
	var due []target
	for _, row := range targets {
		if row.verdict.Reason == policy.Due {
			due = append(due, row)
		}
	}
	if t.dry != nil {
		for _, row := range due {
			t.dry.take(t.task.ID, row.Target.DeviceID)
		}
		return nil
	}
	// Never-tried ones first: what is left when the program stops has had its turn.
	slices.SortStableFunc(due, func(a, b target) int { return min(a.Record.Counted, 1) - min(b.Record.Counted, 1) })
	g, batches := errgroup.WithContext(ctx)
	for batch := range slices.Chunk(due, iotda.MaxTargetsPerRetry) {
		g.Go(func() error { return t.sendBatch(ctx, batches, batch, readAt) })
	}
	return g.Wait()
}

// sendBatch waits for a slot and the rate, checks the gates, claims, checks them again,
// and sends. It begins nothing once ctx has ended, as it does when another batch fails;
// what is in flight then has until the end of the program, and the grace.
func (t *taskSweep) sendBatch(program, ctx context.Context, batch []target, readAt time.Time) error {
	free, err := t.client.Acquire(ctx)
	if err != nil {
		return err
	}
	defer free()
	if err := t.gates(ctx, readAt); err != nil {
		return err
	}
	claim := store.Claim{
		ProjectID: t.client.ProjectID(), TaskID: t.task.ID, TaskType: string(t.task.Type), Policy: t.p.Name, Connection: t.name,
		Max: t.p.Attempts.Max, Terms: t.p.Terms(), SendBy: readAt.Add(freshness + t.client.Timeout()),
	}
	for _, row := range batch {
		claim.Candidates = append(claim.Candidates, store.Candidate{DeviceID: row.Target.DeviceID, LastN: row.Record.N})
	}
	claimed, dropped, err := t.o.Store.Claim(ctx, claim)
	if err != nil {
		return err
	}
	for _, d := range dropped {
		t.log.Info("target not claimed", zap.String("task", t.task.ID), zap.String("device", d.DeviceID), zap.String("why", d.Why))
	}
	if len(claimed) == 0 {
		return nil
	}
	return t.call(program, ctx, claimed, readAt)
}

// gates are what has to hold at the moment of sending.
func (t *taskSweep) gates(ctx context.Context, readAt time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.o.Store.Now().Sub(readAt) > freshness {
		return errStale
	}
	if n := t.unwritten.Load(); n > 0 {
		return fmt.Errorf("%d answers of the platform wait to be written to the ledger", n)
	}
	return nil
}

// call sends claimed attempts, again only where it was throttled and all gates are still
// open, and writes down what came of it.
func (t *taskSweep) call(program, ctx context.Context, claimed []store.Claimed, readAt time.Time) error {
	devices := make([]string, len(claimed))
	for i, c := range claimed {
		devices[i] = c.DeviceID
	}
	inFlight, cancel := stopping(program)
	defer cancel()
	pauses := t.client.Backoff().Start()
	for {
		if err := t.gates(ctx, readAt); err != nil {
			return errors.Join(err, t.write(inFlight, released(claimed, t.o.Store.Now(), err.Error())))
		}
		t.countPost(t.task.ID)
		answer, e := t.client.RetryTask(inFlight, t.task.ID, devices)
		now := t.o.Store.Now()
		switch {
		case e == nil:
			t.noteAnswer(answer)
			return t.write(inFlight, answered(claimed, answer, now))
		case !e.NoEffect():
			unknown := answers(claimed, policy.Unknown, now, e)
			return errors.Join(fmt.Errorf("%w: %w", errUnknown, e), t.write(inFlight, unknown))
		case e.Class != iotda.ClassThrottled:
			return errors.Join(e, t.write(inFlight, answers(claimed, policy.Released, now, e)))
		}
		pause := pauses.NextBackOff()
		if pause < 0 { // max_elapsed
			return errors.Join(e, t.write(inFlight, answers(claimed, policy.Released, now, e)))
		}
		sleep(ctx, max(pause, e.RetryAfter))
		if err := t.client.Budget().Wait(ctx); err != nil {
			return errors.Join(err, t.write(inFlight, released(claimed, t.o.Store.Now(), err.Error())))
		}
	}
}

func answers(claimed []store.Claimed, state policy.State, now time.Time, e *iotdaclient.Error) []store.Answer {
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		out[i] = store.Answer{Claimed: c, State: state, AnsweredAt: now, Code: e.Code, Text: iotda.Clip(e.Error(), 300), RequestID: e.RequestID}
	}
	return out
}

func released(claimed []store.Claimed, now time.Time, why string) []store.Answer {
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		out[i] = store.Answer{Claimed: c, State: policy.Released, AnsweredAt: now, Text: "not sent: " + why}
	}
	return out
}

func answered(claimed []store.Claimed, answer iotdaclient.RetryAnswer, now time.Time) []store.Answer {
	states := map[iotdaclient.Result]policy.State{
		iotdaclient.Accepted: policy.Accepted, iotdaclient.Rejected: policy.Rejected, iotdaclient.Unknown: policy.Unknown,
	}
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		a := answer.Targets[c.DeviceID]
		out[i] = store.Answer{Claimed: c, State: states[a.Result], AnsweredAt: now, Code: a.Code, Text: a.Text}
	}
	return out
}

func (t *taskSweep) noteAnswer(answer iotdaclient.RetryAnswer) {
	if n := len(answer.Unasked); n > 0 {
		t.wonder(surpriseExtra, "the answer to a retry names targets that nobody asked for", zap.String("task", t.task.ID), zap.Strings("devices", answer.Unasked[:min(n, 10)]))
	}
}

// write puts answers into the ledger. While it takes none, they are kept and nothing
// else is claimed; when the program ends first, the attempts are unknown at the next
// start, which is true.
func (t *taskSweep) write(ctx context.Context, answers []store.Answer) error {
	var changed []store.Answer
	waiting := false
	defer func() {
		if waiting {
			t.unwritten.Add(-int64(len(answers)))
		}
	}()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		var err error
		// The write itself outlives the grace: it is short, and worth more than the time.
		if changed, err = t.o.Store.Answered(context.WithoutCancel(ctx), t.client.ProjectID(), t.task.ID, answers); err == nil {
			break
		}
		t.log.Error("the platform's answers cannot be written to the ledger: nothing is claimed until they are",
			zap.String("task", t.task.ID), zap.Int("targets", len(answers)), zap.Error(err))
		if !waiting {
			waiting = true
			t.unwritten.Add(int64(len(answers)))
		}
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
			cause := iotda.CauseOf(a.Code, a.Text)
			t.o.Metrics.Failures.WithLabelValues(t.name, t.p.Name, cause.Name, string(cause.Class)).Inc()
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
