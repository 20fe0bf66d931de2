package policy

import (
	"fmt"
	"slices"
	"time"

	"retryd/internal/iotda"
)

// Reason names a decision. The same words stand in plan, log, metrics and docs.
type Reason string

// The reasons for which a whole task is left alone, in the order they are looked at. Whose a
// task is comes first: what a policy would think of another's task is nobody's concern.
const (
	OtherPolicy      Reason = "other_policy"      // an earlier policy in the file owns it
	TaskStatus       Reason = "task_status"       // in a state in which the platform or the policy takes no retry
	TaskAge          Reason = "task_age"          // older than tasks.max_age
	Backlog          Reason = "backlog"           // made before the policy was first seen
	ConnectionDown   Reason = "connection_down"   // its connection cannot be used now
	Paused           Reason = "paused"            // by a person; also a reason for one target
	OutsideWindow    Reason = "outside_window"    // outside every window, or in a blackout
	AwaitingApproval Reason = "awaiting_approval" // in mode approve, without a valid approval
	Halted           Reason = "halted"            // too many of its retries failed
)

// The reasons for one target, in the order they are looked at.
const (
	NotSelected  Reason = "not_selected" // its status is not in targets.statuses
	Excluded     Reason = "excluded"     // by targets.include or targets.exclude
	SupersededBy Reason = "superseded"   // a newer task of the same type has the device too
	InFlight     Reason = "in_flight"    // an attempt of the device is open
	Permanent    Reason = "permanent"    // it failed for a cause that no retry mends
	Exhausted    Reason = "exhausted"    // attempts.max reached
	Expired      Reason = "expired"      // attempts.give_up_after reached
	InBackoff    Reason = "backoff"      // rests until Verdict.NotBefore
	Offline      Reason = "offline"      // targets.require_online, and it is not
	Capped       Reason = "capped"       // due, but a limit is reached
	Observed     Reason = "observe"      // due, but the policy only observes
	Due          Reason = "due"          // to be retried now
)

// TaskReasons lists the reasons that close a whole task.
func TaskReasons() []Reason {
	return []Reason{OtherPolicy, TaskStatus, TaskAge, Backlog, ConnectionDown, Paused, OutsideWindow, AwaitingApproval, Halted}
}

// TargetReasons lists the reasons that a target can have beside those of its task.
func TargetReasons() []Reason {
	return []Reason{NotSelected, Excluded, SupersededBy, InFlight, Permanent, Exhausted, Expired, InBackoff, Offline, Capped, Observed, Due}
}

// Reasons lists every reason, in the order they are looked at.
func Reasons() []Reason { return slices.Concat(TaskReasons(), TargetReasons()) }

// Final tells whether the reason ends the target's retries until a person steps in.
func (r Reason) Final() bool { return r == Permanent || r == Exhausted || r == Expired }

// Verdict is the decision about one target, or about a whole task.
type Verdict struct {
	Reason    Reason
	Detail    string    // which task, rule, count; for a reader
	NotBefore time.Time // when it could be due; zero where no time alone makes it so
}

// Record is what the ledger knows of a target.
type Record struct {
	N       int       // number of the last attempt; 0 = none
	Counted int       // attempts that count against max
	FirstAt time.Time // claim of the first counted attempt
	State   State     // of the last attempt
	SeenAt  time.Time // start of the read, or the answer, that showed how the last counted attempt ended
	// RejectCode and RejectText are the platform's words where the last attempt was rejected.
	RejectCode, RejectText string
	Refused                bool      // rejected by a call that was refused for this target alone
	OpenTask               string    // the task in which the device has an open attempt; empty = none
	OpenN                  int       // its number; 0 = not known
	OpenSince              time.Time // when it was claimed
	Paused                 string    // why a person paused it; empty = not paused
	PauseEnds              time.Time // zero = when a person resumes it
}

// Facts are everything that is known of one target at the time of deciding.
type Facts struct {
	Target  Target
	Subtask iotda.Subtask
	Record  Record
	NewerBy string // the newer task that has the device too; empty = none
	// NewerUnknown is set where a newer task's members could not be read.
	NewerUnknown bool
	Past         Past
}

// TaskFacts are everything that is known of a task at the time of deciding.
type TaskFacts struct {
	Task      iotda.Task
	Owner     *Policy   // Owner's result
	FirstSeen time.Time // when the policy was first seen on the connection; zero = now
	Attempted bool      // the ledger has attempts of the task: it has been taken on
	Refused   bool      // the platform refused its retries twice, and it has not changed since
	Down      string    // why the connection cannot be used; empty = it can
	Paused    string    // why a person paused it; empty = not paused
	PauseEnds time.Time // zero = when a person resumes it
	Approval  string    // why there is no valid approval; empty = there is one, or none is needed
	Halted    string    // why it is halted; empty = it is not
	HaltEnds  time.Time // zero = when a person resumes it
	Past      Past
}

// DecideTask says whether the task is closed to the policy as a whole. The zero Verdict
// means that it is open and its targets are decided one by one.
func (p *Policy) DecideTask(f TaskFacts, now time.Time) Verdict {
	if v := p.decideSelection(f, now); v.Reason != "" {
		return v
	}
	if f.Down != "" {
		return Verdict{Reason: ConnectionDown, Detail: f.Down}
	}
	if f.Paused != "" {
		return Verdict{Reason: Paused, Detail: f.Paused, NotBefore: f.PauseEnds}
	}
	if v := f.Past.Outside(p, now); v.Reason != "" {
		return v
	}
	if f.Past.Mode(p) == ModeApprove && f.Approval != "" {
		return Verdict{Reason: AwaitingApproval, Detail: f.Approval}
	}
	if f.Halted != "" {
		return Verdict{Reason: Halted, Detail: f.Halted, NotBefore: f.HaltEnds}
	}
	return Verdict{}
}

// decideSelection holds the task against what the policy says about tasks.
func (p *Policy) decideSelection(f TaskFacts, now time.Time) Verdict {
	t, created := f.Task, f.Task.Created()
	switch {
	case f.Owner != p:
		return Verdict{Reason: OtherPolicy, Detail: f.Owner.Name}
	case !t.Status.Retryable() || !slices.Contains(p.Tasks.Statuses, t.Status):
		return Verdict{Reason: TaskStatus, Detail: iotda.Clip(string(t.Status), 40)}
	case f.Refused:
		return Verdict{Reason: TaskStatus, Detail: string(t.Status) + ", and the platform refused its retries twice: left alone until it changes"}
	case f.Past.Named: // however old it is
	case p.Tasks.MaxAge > 0 && created.IsZero():
		return Verdict{Reason: TaskAge, Detail: "its create_time cannot be read"}
	case p.Tasks.MaxAge > 0 && now.Sub(created) > p.Tasks.MaxAge:
		return Verdict{Reason: TaskAge, Detail: "created " + created.Format(time.RFC3339)}
	case p.isBacklog(f, now):
		return Verdict{Reason: Backlog, Detail: "created " + created.Format(time.RFC3339) + ", before this policy was first seen"}
	}
	return Verdict{}
}

// isBacklog: a task that has been taken on is finished, also under a policy's new name.
func (p *Policy) isBacklog(f TaskFacts, now time.Time) bool {
	if p.Tasks.Backlog || p.Tasks.Particular() || f.Attempted {
		return false
	}
	since := f.FirstSeen
	if since.IsZero() {
		since = now
	}
	return f.Task.Created().Before(since)
}

// Perhaps is the detail of superseded targets of which that is not sure.
const Perhaps = "perhaps: a newer task's members could not be read"

// Decide says what is to be done about one target of an open task, limits apart. It
// depends on its arguments only: the same facts at the same now give the same verdict.
func (p *Policy) Decide(f Facts, now time.Time) Verdict {
	device, r := f.Target.DeviceID, f.Record
	switch {
	case !f.Subtask.Status.Retryable() || !slices.Contains(p.Targets.Statuses, f.Subtask.Status):
		return Verdict{Reason: NotSelected, Detail: iotda.Clip(string(f.Subtask.Status), 40)}
	case !p.Targets.included(device):
		return Verdict{Reason: Excluded, Detail: "not in targets.include"}
	case p.Targets.excluded(device):
		return Verdict{Reason: Excluded, Detail: "in targets.exclude"}
	case p.Tasks.Superseded == SupersededSkip && f.NewerBy != "":
		return Verdict{Reason: SupersededBy, Detail: "by task " + f.NewerBy}
	case p.Tasks.Superseded == SupersededSkip && f.NewerUnknown:
		return Verdict{Reason: SupersededBy, Detail: Perhaps}
	case r.Paused != "":
		return Verdict{Reason: Paused, Detail: r.Paused, NotBefore: r.PauseEnds}
	case r.OpenTask != "":
		return r.InFlight(f.Target.TaskID)
	}
	return p.decideByRecord(f, now)
}

// InFlight is the verdict on a target of the task whose device has an open attempt.
func (r Record) InFlight(taskID string) Verdict {
	detail := "in this task"
	if r.OpenTask != taskID {
		detail = "in task " + r.OpenTask
	}
	if r.OpenN > 0 {
		detail += fmt.Sprintf(": attempt %d, since %s", r.OpenN, r.OpenSince.UTC().Format(time.RFC3339))
	}
	return Verdict{Reason: InFlight, Detail: detail}
}

func (p *Policy) decideByRecord(f Facts, now time.Time) Verdict {
	r, cause := f.Record, p.CauseOf(f)
	switch {
	case cause.Never:
		return Verdict{Reason: Permanent, Detail: cause.Name}
	case r.Counted == 0:
		return Verdict{Reason: Due, Detail: "first attempt", NotBefore: now}
	case r.Counted >= cause.Max:
		return Verdict{Reason: Exhausted, Detail: fmt.Sprintf("%d of %d attempts%s", r.Counted, cause.Max, cause.byRule())}
	case p.Attempts.GiveUpAfter > 0 && !f.Past.Max && now.Sub(r.FirstAt) >= p.Attempts.GiveUpAfter:
		return Verdict{Reason: Expired, Detail: "first attempt at " + r.FirstAt.UTC().Format(time.RFC3339)}
	}
	notBefore := r.SeenAt.Add(cause.Backoff.After(r.Counted, r.N, f.Target))
	v := Verdict{Reason: Due, Detail: fmt.Sprintf("attempt %d of %d%s", r.Counted+1, cause.Max, cause.byRule()), NotBefore: notBefore}
	if now.Before(notBefore) {
		v.Reason = InBackoff
	}
	return v
}

func (c Cause) byRule() string {
	if !c.own {
		return ""
	}
	return ", rule " + c.Name
}

// Failure gives the platform's words for how the target failed last.
func (f Facts) Failure() (code, text string) {
	if f.Record.State == Rejected {
		return f.Record.RejectCode, f.Record.RejectText
	}
	return f.Subtask.Cause()
}

// refused is the cause of a target for which alone the platform refused the whole call.
const refused = "refused"

// CauseOf says why the target failed last: the platform's refusal of the last attempt
// where it refused it, else the sub-task's own error.
func (p *Policy) CauseOf(f Facts) Cause {
	c := p.Cause(f.Failure())
	if f.Record.State == Rejected && f.Record.Refused && !c.own {
		c.Name, c.Class, c.Never = refused, iotda.CausePlatform, true
	}
	return f.Past.cause(c, f.Record)
}
