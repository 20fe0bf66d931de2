package web

import (
	"context"
	"time"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// judged is a decision with what it was made from.
type judged struct {
	policy     *policy.Policy
	connection config.Connection
	zone       *time.Location
	now        time.Time
	baseline   time.Time // that ticks count from

	facts   policy.Facts
	task    policy.Verdict // about the task as a whole; zero = it is open
	target  policy.Verdict // about the target, were the task open
	verdict policy.Verdict // which of them counts
	next    time.Time      // the sweep that can retry it; zero = time alone brings none
	unread  bool           // a newer task may have the device too, and was not looked at
}

// judge decides about the device in one task as a sweep would now, by the same functions.
func (s *server) judge(ctx context.Context, q *questions, one *question) (Verdict, error) {
	out := Verdict{TaskID: one.ID, TaskName: one.Name, ProjectID: one.ProjectID}
	c, p := owner(q.config, one.TaskRow)
	out.Connection = c.Name
	records, err := s.Store.Records(ctx, one.ProjectID, one.ID, []string{q.device})
	if err != nil {
		return out, err
	}
	j := judged{policy: p, connection: c, now: q.now, facts: q.facts(one, records[q.device])}
	_, j.unread = q.newer(one)
	out.Status, out.Attempts = string(j.facts.Subtask.Status), j.facts.Record.Counted
	out.Code, out.Text = j.facts.Failure()
	if p == nil {
		j.verdict.Reason = policy.OtherPolicy
		out.Reason, out.Summary = string(policy.OtherPolicy), j.summary()
		return out, nil
	}
	j.zone, j.baseline = p.Schedule.Zone, q.baseline(p.Name, c.Name)
	if j.task, err = s.judgeTask(ctx, q, one, j); err != nil {
		return out, err
	}
	if err := s.judgeTarget(ctx, &j, one); err != nil {
		return out, err
	}
	j.decide()
	cause := p.CauseOf(j.facts)
	out.Policy, out.Max = p.Name, cause.Max
	if out.Code+out.Text != "" {
		out.Rule = cause.Name
	}
	out.Reason, out.Detail, out.Summary = string(j.verdict.Reason), j.verdict.Detail, j.summary()
	out.NotBefore, out.NextTick, out.Arithmetic = moment(j.verdict.NotBefore), moment(j.next.Truncate(time.Second)), j.arithmetic()
	return out, nil
}

// facts are what is known of the target: of the platform where that was read, else what the ledger
// knows of it.
func (q *questions) facts(one *question, r store.Record) policy.Facts {
	f := policy.Facts{Target: q.target(one), Record: r.Record}
	f.NewerBy, _ = q.newer(one)
	switch {
	case one.seen != nil && one.seen.Subtask != nil:
		f.Subtask = *one.seen.Subtask
	case one.seen != nil || one.gone: // the ledger knows it, and the platform does no more
		f.Subtask = iotda.Subtask{Target: q.device, Status: iotda.SubtaskRemoved}
	default:
		f.Subtask = rememberedAs(one.target)
	}
	if r.State == policy.Recovered && f.Subtask.Status == iotda.SubtaskFail && r.OpenTask == "" { // it has failed again by itself
		f.Record.State, f.Record.SeenAt = policy.Failed, one.asOf()
	}
	return f
}

// rememberedAs gives a sub-task as the ledger saw it last.
func rememberedAs(t *store.TargetRow) iotda.Subtask {
	s := iotda.Subtask{Target: t.DeviceID, Status: iotda.SubtaskFail, Error: &iotda.SubtaskError{Code: t.CauseCode, Message: t.CauseText}}
	switch {
	case t.Record.State == policy.Recovered, t.Ended == "resolved_elsewhere":
		s.Status, s.Error = iotda.SubtaskSuccess, nil
	case t.Record.State == policy.Gone && t.EndDetail != policy.NoOutcome:
		s.Status = iotda.SubtaskStopped
	}
	return s
}

// judgeTask decides about the task as a whole.
func (s *server) judgeTask(ctx context.Context, q *questions, one *question, j judged) (policy.Verdict, error) {
	tasks, err := s.Store.KnownTasks(ctx, one.ProjectID)
	if err != nil {
		return policy.Verdict{}, err
	}
	sc := scope(one.TaskRow, j.connection, j.policy)
	g, err := s.Store.Gates(ctx, sc)
	if err != nil {
		return policy.Verdict{}, err
	}
	f := policy.TaskFacts{
		Task: platformTask(one.TaskRow), Owner: j.policy, FirstSeen: q.policies[[2]string{sc.Policy, sc.Connection}].FirstSeen, Attempted: tasks[one.ID].Attempted,
		Down: q.down(sc.Identity), Paused: g.Paused, PauseEnds: g.PauseEnds, Approval: g.Approval, Halted: g.Halted, HaltEnds: g.HaltEnds,
	}
	if one.seen != nil {
		f.Task.Status, f.Task.Progress = one.seen.Task.Status, one.seen.Task.Progress
		f.Refused = scheduler.LeftAlone(tasks[one.ID], f.Task)
	}
	v := j.policy.DecideTask(f, j.now)
	if v.Reason == policy.OutsideWindow && j.policy.Mode == policy.ModeApprove && f.Approval != "" { // its window alone opens nothing
		v = policy.Verdict{Reason: policy.AwaitingApproval, Detail: f.Approval}
	}
	return v, nil
}

// judgeTarget decides about the target, and holds it against the limits where it is due.
func (s *server) judgeTarget(ctx context.Context, j *judged, one *question) error {
	j.target = j.policy.Decide(j.facts, j.now)
	if j.target.Reason != policy.Due {
		return nil
	}
	next := scheduler.NextSweep(j.policy, j.connection.Name, j.baseline, j.now)
	u, err := s.Store.Usage(ctx, scope(one.TaskRow, j.connection, j.policy), j.policy, next)
	if err != nil {
		return err
	}
	if u.Approved[j.facts.Target.DeviceID] > 0 { // the approval is used for it already
		u.ApprovalCap = -1
	}
	allowed, limit := j.policy.Allowance(u)
	j.policy.Cap([]*policy.Verdict{&j.target}, min(allowed, 1), limit)
	return nil
}

// decide says which of the two verdicts counts, and reckons when the target has its turn. What ends
// a target, or its own present state, counts whatever holds its task.
func (j *judged) decide() {
	j.verdict = j.target
	switch j.target.Reason {
	case policy.NotSelected, policy.Excluded, policy.SupersededBy, policy.InFlight, policy.Permanent, policy.Exhausted, policy.Expired:
		return
	}
	if j.task.Reason != "" {
		j.verdict = j.task
	}
	waits := false
	switch j.verdict.Reason {
	case policy.Due, policy.InBackoff, policy.OutsideWindow:
		waits = true
	case policy.Paused, policy.Halted:
		waits = !j.verdict.NotBefore.IsZero()
	}
	if !waits {
		return
	}
	from := j.now
	for _, t := range []time.Time{j.task.NotBefore, j.target.NotBefore} {
		if t.After(from) {
			from = t
		}
	}
	if from.After(j.now) {
		j.verdict.NotBefore = from
	}
	j.next = scheduler.NextOpenSweep(j.policy, j.connection.Name, j.baseline, from)
}
