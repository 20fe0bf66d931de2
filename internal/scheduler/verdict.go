package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// closed tells whether the task is closed as a whole, and counts its targets under why.
func (t *taskSweep) closed(ctx context.Context) (bool, error) {
	v, err := t.verdict(ctx)
	if err != nil || v.Reason == "" {
		return false, err
	}
	n := max(t.left(), 0)
	t.books.Lock()
	t.counts[v.Reason] += n
	t.closedBy[t.task.ID], t.detail = v.Reason, v.Detail
	t.books.Unlock()
	t.log.Debug("task left alone", zap.String("task", t.task.ID), zap.String("reason", string(v.Reason)), zap.String("detail", v.Detail))
	t.tell(t.task, v, n)
	return true, t.awaitApproval(ctx, v, n)
}

// verdict decides about the task as a whole. The ledger is asked only where the task itself
// is open.
func (t *taskSweep) verdict(ctx context.Context) (policy.Verdict, error) {
	k := t.known[t.task.ID]
	f := policy.TaskFacts{
		Task: t.task, Owner: policy.Owner(t.current(), t.name, t.task), FirstSeen: t.firstSeen, Attempted: k.Attempted,
		Refused: k.Refusals >= maxRefusals && k.RefusedAs == standing(t.task), Down: t.trouble(), Past: t.past,
	}
	if f.Owner == nil { // by a reload
		f.Owner = &policy.Policy{Name: "none"}
	}
	now := t.o.Store.Now()
	if v := t.p.DecideTask(f, now); v.Reason != "" && v.Reason != policy.OutsideWindow && v.Reason != policy.AwaitingApproval {
		return v, nil
	}
	trip := t.ledger().Trip
	if t.dry != nil {
		trip = t.dry.trip(t.o.Store)
	}
	o, tripped, err := trip(ctx, t.scope(), t.p.Halt)
	switch {
	case err != nil:
		return policy.Verdict{}, err
	case tripped && t.dry == nil:
		t.log.Warn("halted: too many retried targets failed again", zap.String("task", t.task.ID), zap.String("task_name", t.task.Name),
			zap.String("scope", string(t.p.Halt.Scope)), zap.Int("failed", o.Failed), zap.Int("recovered", o.Recovered), zap.Duration("cooldown", t.p.Halt.Cooldown))
	}
	g, err := t.ledger().Gates(ctx, t.scope())
	if err != nil {
		return policy.Verdict{}, err
	}
	t.unapproved = g.Approval
	f.Paused, f.PauseEnds, f.Approval, f.Halted, f.HaltEnds = g.Paused, g.PauseEnds, g.Approval, g.Halted, g.HaltEnds
	if tripped && t.dry != nil {
		f.Halted = fmt.Sprintf("%d of %d retried targets failed again: the next sweep halts it", o.Failed, o.Failed+o.Recovered)
	}
	return t.p.DecideTask(f, now), nil
}

// scope is what the ledger's gates are asked about.
func (t *taskSweep) scope() store.Scope {
	return store.Scope{
		ProjectID: t.client.ProjectID(), TaskID: t.task.ID, Policy: t.p.Name, Connection: t.name, Identity: t.identity,
		PolicyHash: t.p.Hash, NeedsApproval: t.past.Mode(t.p) == policy.ModeApprove,
	}
}

// maxRefusals is how many retry calls in a row a task may be refused as a whole before it is
// left alone until it changes.
const maxRefusals = 2

// standing is how a task stands: what has to change before it is tried again.
func standing(t iotda.Task) string { return fmt.Sprintf("%s %+v", t.Status, t.Progress) }

// decide gives a verdict for each row. Whether newer tasks have the devices is read only
// where something is due: it may take many calls.
func (t *taskSweep) decide(ctx context.Context, wave iotdaclient.Wave) ([]target, error) {
	targets, err := t.facts(ctx, wave.Subtasks, t.when(wave.Begun))
	if err != nil {
		return nil, err
	}
	return targets, t.judge(ctx, targets)
}

func (t *taskSweep) judge(ctx context.Context, targets []target) error {
	if t.verdicts(targets) == 0 {
		return nil
	}
	if t.p.Tasks.Superseded != policy.SupersededSkip {
		return nil
	}
	return t.supersede(ctx, targets)
}

// freshListing makes sure that a newer task which has come since the list was read is in it.
func (t *taskSweep) freshListing(ctx context.Context) error {
	if time.Since(t.listing.begun) <= listingAge {
		return nil
	}
	l, err := t.catchUp(ctx, t.listing, t.task.Type)
	if err == nil {
		t.listing = l
	}
	return err
}

// supersede decides again with what newer tasks have taken over.
func (t *taskSweep) supersede(ctx context.Context, targets []target) error {
	if err := t.freshListing(ctx); err != nil {
		return err
	}
	due := dueDevices(targets)
	newer := t.newer(ctx, slices.Sorted(maps.Keys(due)))
	for i := range targets {
		if by := newer.by(targets[i].Target.DeviceID); by != "" {
			targets[i].NewerBy = by
		}
		targets[i].NewerUnknown = newer.unknown
	}
	t.verdicts(targets)
	for device := range dueDevices(targets) {
		if !due[device] { // its time came meanwhile
			return t.supersede(ctx, targets)
		}
	}
	if slices.ContainsFunc(targets, func(row target) bool { return row.verdict.Detail == policy.Perhaps }) {
		t.detail = policy.Perhaps // how many of those that count as superseded are not, nobody knows
	}
	return nil
}

func dueDevices(targets []target) map[string]bool {
	devices := map[string]bool{}
	for _, row := range targets {
		if row.verdict.Reason == policy.Due {
			devices[row.Target.DeviceID] = true
		}
	}
	return devices
}

// cap holds what is due against the limits: never-tried targets first. One whose device has to
// be online, and is not, takes nothing of them.
func (t *taskSweep) cap(ctx context.Context, targets []target, reserved *reservation) error {
	usage, err := t.usage(ctx)
	if err != nil {
		return err
	}
	if t.past.Mode(t.p) == policy.ModeObserve { // what would have been retried by now
		usage.Claimed, usage.InFlight, usage.Open = usage.Claimed+t.observed, usage.InFlight+t.observed, usage.Open+t.counts[policy.Observed]
	}
	again, others := inTurn(targets, usage.Approved)
	allowance := func() (int, string) {
		u := usage
		if u.ApprovalCap >= 0 {
			u.ApprovalCap += len(again)
		}
		return t.past.Allowance(t.p, u)
	}
	allowed, _ := allowance()
	if again, err = t.lookUp(ctx, again, allowed, len(targets)); err != nil {
		return err
	}
	allowed, limit := allowance() // without what those that are offline would have used
	if others, err = t.lookUp(ctx, others, allowed-len(again), len(targets)); err != nil {
		return err
	}
	var due []*policy.Verdict
	for _, row := range slices.Concat(again, others) {
		due = append(due, &row.verdict)
	}
	through := t.past.Cap(t.p, due, allowed, limit)
	if t.past.Mode(t.p) == policy.ModeObserve {
		t.observed += through
		return nil
	}
	reserved.take(through)
	return nil
}

func anyDue(targets []target) bool {
	return slices.ContainsFunc(targets, func(row target) bool { return row.verdict.Reason == policy.Due })
}

// inTurn gives the due targets in the order in which limits let them through: again are those
// that the approval has been used for, then the ones that were never tried, then the others.
func inTurn(targets []target, approved map[string]int) (again, others []*target) {
	var tried []*target
	for i := range targets {
		switch row := &targets[i]; {
		case row.verdict.Reason != policy.Due:
		case approved[row.Target.DeviceID] > 0:
			again = append(again, row)
		case row.Record.Counted == 0:
			others = append(others, row)
		default:
			tried = append(tried, row)
		}
	}
	return again, append(others, tried...)
}

// takenOverBy tells whether the other task may take over devices of this one.
func (t *taskSweep) takenOverBy(other iotda.Task) bool {
	return other.Type == t.task.Type && other.Status != iotda.TaskStopped && other.NewerThan(t.task)
}

func (t *taskSweep) verdicts(targets []target) (due int) {
	now := t.o.Store.Now()
	for i := range targets {
		targets[i].verdict = t.p.Decide(targets[i].Facts, now)
		if targets[i].verdict.Reason == policy.Due {
			due++
		}
	}
	return due
}

func (t *taskSweep) facts(ctx context.Context, subtasks []iotda.Subtask, at time.Time) ([]target, error) {
	devices := make([]string, 0, len(subtasks))
	for _, s := range subtasks {
		devices = append(devices, s.Target)
	}
	known, err := t.ledger().Records(ctx, t.client.ProjectID(), t.task.ID, devices)
	if err != nil {
		return nil, err
	}
	targets := make([]target, 0, len(subtasks))
	var undone []string
	for _, s := range subtasks {
		id := policy.Target{ProjectID: t.client.ProjectID(), TaskID: t.task.ID, DeviceID: s.Target}
		r := known[s.Target]
		if t.dry != nil {
			r = t.dry.over(id, r)
		}
		f := policy.Facts{Target: id, Subtask: s, Record: r.Record, Past: t.past}
		if other, ok := t.listing.task(r.OpenTask); ok && t.takenOverBy(other) {
			f.NewerBy = other.ID // no need to read its members
		}
		closed := r.Closed
		if failsAgain(r, s, at) {
			f.Record = r.Reopened(at)
			undone, closed = append(undone, s.Target), false
		}
		targets = append(targets, target{Facts: f, closed: closed})
	}
	return targets, t.undo(ctx, undone, at)
}

// failsAgain tells whether a target that had succeeded, by a retry or otherwise, reads Fail in a read begun later.
func failsAgain(r store.Record, s iotda.Subtask, at time.Time) bool {
	succeeded := r.State == policy.Recovered || !r.Elsewhere.IsZero() && r.Elsewhere.Before(at)
	return succeeded && s.Status == iotda.SubtaskFail && r.OpenTask == ""
}

// undo notes targets that had succeeded and read Fail again.
func (t *taskSweep) undo(ctx context.Context, devices []string, at time.Time) error {
	if len(devices) == 0 || t.dry != nil {
		return nil
	}
	undone, err := t.ledger().Undo(ctx, t.client.ProjectID(), t.task.ID, devices, at)
	for _, device := range undone {
		t.wonder(surpriseBack, "a target that had succeeded reads Fail again", zap.String("task", t.task.ID), zap.String("device", device))
	}
	return err
}
