package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// whole retries all of a task with one call that names nobody. It re-runs every target that
// is failed, waits for a retry or was stopped, so each of them has to be due.
func (t *taskSweep) whole(ctx context.Context) error {
	targets, first, err := t.readWhole(ctx)
	if err != nil || t.closedBy[t.task.ID] != "" {
		return err
	}
	if err := t.giveUp(ctx, targets); err != nil {
		return err
	}
	release, err := t.hold(ctx, t.client.PagesAhead())
	if err != nil {
		return err
	}
	defer release()
	if err := t.judgeAgain(ctx, targets); err != nil {
		return err
	}
	due, err := t.allDue(ctx, targets)
	if err != nil {
		return err
	}
	if due {
		err = t.sendWhole(ctx, targets, first)
	}
	var shut *gateError
	if errors.As(err, &shut) {
		for i := range targets {
			targets[i].verdict = shut.verdict
		}
		err = nil
	}
	if t.closedBy[t.task.ID] == "" { // else it has been counted
		t.count(targets)
	}
	return err
}

// readWhole reads and decides every target that the call would re-run. first is the task's
// progress when that began.
func (t *taskSweep) readWhole(ctx context.Context) (all []target, first iotda.Progress, err error) {
	first = t.task.Progress
	for _, status := range iotda.RetryableSubtaskStatuses() {
		t.o.Watch(Event{Kind: Reading, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name, Total: t.task.Progress.Of(status)})
		for marker, end := "", false; !end; {
			var targets []target
			targets, marker, end, err = t.readWave(ctx, status, marker)
			if err != nil || t.closedBy[t.task.ID] != "" {
				return nil, first, err
			}
			all = append(all, targets...)
			t.o.Watch(Event{Kind: Read, Connection: t.name, Policy: t.p.Name, TaskID: t.task.ID, TaskName: t.task.Name, Rows: len(targets)})
		}
	}
	return all, first, nil
}

// readWave reads and decides one wave of them.
func (t *taskSweep) readWave(ctx context.Context, status iotda.SubtaskStatus, marker string) (targets []target, next string, end bool, err error) {
	release, err := t.hold(ctx, t.client.PagesAhead())
	if err != nil {
		return nil, "", false, err
	}
	defer release()
	wave, err := t.client.Wave(ctx, t.task.ID, iotdaclient.Query{Status: status}, iotdaclient.From{Marker: marker}, t.client.WavePages())
	if err != nil {
		return nil, "", false, err
	}
	t.noteWave(wave)
	t.move(wave.Task)
	if closed, err := t.closed(ctx); closed || err != nil {
		return nil, "", true, err
	}
	targets, err = t.decide(ctx, wave)
	return targets, wave.Next, wave.End, err
}

// judgeAgain decides by a list of tasks that is not old: reading a large task takes its time, and
// so may reading the members of one that is newer, while which another can come. They are read
// once in a sweep, so that this ends.
func (t *taskSweep) judgeAgain(ctx context.Context, targets []target) error {
	for n := 0; n < maxRereads && time.Since(t.listing.begun) > listingAge; n++ {
		if err := t.judge(ctx, targets); err != nil {
			return err
		}
	}
	return nil
}

// allDue tells whether every target is due and the limits have room for all. Where that is
// not so, those that are due wait.
func (t *taskSweep) allDue(ctx context.Context, targets []target) (bool, error) {
	due := 0
	var hold policy.Verdict
	for _, row := range targets {
		if row.verdict.Reason == policy.Due {
			due++
		} else if hold.Reason == "" {
			hold = policy.Verdict{Reason: policy.Capped, Detail: fmt.Sprintf("mode all: %s is %s", iotda.Clip(row.Target.DeviceID, 64), row.verdict.Reason)}
		}
	}
	if hold.Reason == "" && due > 0 {
		usage, err := t.usage(ctx)
		if err != nil {
			return false, err
		}
		if usage.ApprovalCap >= 0 {
			usage.ApprovalCap += usage.Approved[policy.WholeTask]
		}
		allowed, limit := t.p.Allowance(usage)
		switch {
		case allowed < due:
			hold = policy.Verdict{Reason: policy.Capped, Detail: limit}
		case t.p.Mode == policy.ModeObserve:
			hold = policy.Verdict{Reason: policy.Observed, Detail: "mode all"}
		}
	}
	for i := range targets {
		if targets[i].verdict.Reason == policy.Due && hold.Reason != "" {
			targets[i].verdict = hold
		}
	}
	return hold.Reason == "" && due > 0, nil
}

// sendWhole claims the task and sends the call, if the task still stands as it was read.
func (t *taskSweep) sendWhole(ctx context.Context, targets []target, first iotda.Progress) error {
	if t.dry != nil {
		for _, row := range targets {
			t.dry.take(t.p.Name, t.task.ID, row.Target.DeviceID)
		}
		return nil
	}
	readAt, err := t.lastLook(ctx, first)
	if err != nil || t.closedBy[t.task.ID] != "" {
		return err
	}
	if t.circuit.suspect(); t.circuit.open() { // only then by name: it would keep the whole task waiting
		return t.probe(ctx, targets, readAt)
	}
	free, err := t.client.Acquire(ctx)
	if err != nil {
		return err
	}
	defer free()
	if err := t.mayClaim(ctx, readAt); err != nil {
		return err
	}
	claimed, err := t.claimWhole(ctx, targets)
	if err != nil || len(claimed) == 0 {
		return err
	}
	return (&post{taskSweep: t, ctx: ctx, readAt: readAt, whole: true, free: free}).call(ctx, claimed)
}

// lastLook reads how the task stands now. What it gives is the start of the oldest read that the
// targets are decided by: those of the rows are older, and hold where nothing has moved since.
func (t *taskSweep) lastLook(ctx context.Context, first iotda.Progress) (readAt time.Time, err error) {
	page, err := t.client.Subtasks(ctx, t.task.ID, iotdaclient.Query{Status: iotda.SubtaskFail}, "", 0)
	if err != nil {
		return readAt, err
	}
	t.move(page.Task)
	if closed, err := t.closed(ctx); closed || err != nil {
		return readAt, err
	}
	if t.task.Progress != first {
		return readAt, fmt.Errorf("%w: its sub-tasks moved while they were read", errStale)
	}
	return t.decidedAsOf(page.Begun), nil
}

// decidedAsOf gives the start of the oldest read that targets of a page begun at read are decided
// by: the list of tasks says which are newer.
func (t *taskSweep) decidedAsOf(read time.Time) time.Time {
	if t.p.Tasks.Superseded == policy.SupersededSkip && t.listing.begun.Before(read) {
		return t.listing.begun
	}
	return read
}

// claimWhole claims the task, if nothing has changed about it and its targets.
func (t *taskSweep) claimWhole(ctx context.Context, targets []target) ([]store.Claimed, error) {
	star, err := t.ledger().Records(ctx, t.client.ProjectID(), t.task.ID, []string{policy.WholeTask})
	if err != nil {
		return nil, err
	}
	claim := t.claim()
	claim.Candidates = []store.Candidate{{DeviceID: policy.WholeTask, LastN: star[policy.WholeTask].N, Max: t.p.Attempts.Max}}
	for _, row := range targets {
		claim.Covers = append(claim.Covers, row.Target.DeviceID)
	}
	claimed, dropped, err := t.ledger().Claim(ctx, claim)
	if err != nil {
		return nil, t.unclaimed(err, len(targets))
	}
	for _, d := range dropped {
		t.log.Info("task not claimed", zap.String("task", t.task.ID), zap.String("why", d.Why))
	}
	return claimed, nil
}

// probe retries some of the task by name, while it is not known what retry calls do: an
// attempt of the whole task would be one of each of its targets.
func (t *taskSweep) probe(ctx context.Context, targets []target, readAt time.Time) error {
	var some []*target
	for i := range targets {
		if len(some) < t.circuit.limit(readAt) {
			some = append(some, &targets[i])
		} else {
			targets[i].verdict.Reason, targets[i].verdict.Detail = policy.Capped, "circuit"
		}
	}
	if len(some) == 0 {
		return errCircuit
	}
	_, err := t.sendBatch(ctx, ctx, some, readAt, false, nil)
	return err
}

// observeWhole sees whether a task that was re-run as a whole has come to rest.
func (w *watch) observeWhole(ctx context.Context, a policy.Attempt) error {
	page, err := w.client.Subtasks(ctx, w.task.ID, iotdaclient.Query{Status: iotda.SubtaskFail}, "", 0)
	if err != nil {
		return err
	}
	s, changed := policy.ObserveWhole(a, w.when(page.Begun), page.Task)
	if !changed {
		return nil
	}
	return w.settle(ctx, []policy.Settlement{s})
}
