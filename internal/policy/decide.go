package policy

import (
	"fmt"
	"slices"
	"time"

	"retryd/internal/iotda"
)

// Reason names a decision. The same words stand in plan, log, metrics and docs.
type Reason string

// The reasons for which a whole task is left alone, in the order they are looked at.
const (
	TaskStatus  Reason = "task_status"  // in a state in which the platform or the policy takes no retry
	TaskAge     Reason = "task_age"     // older than tasks.max_age
	OtherPolicy Reason = "other_policy" // an earlier policy in the file owns it
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
	Due          Reason = "due"          // to be retried now
)

// TaskReasons lists the reasons that close a whole task.
func TaskReasons() []Reason { return []Reason{TaskStatus, TaskAge, OtherPolicy} }

// TargetReasons lists the reasons that a target can have.
func TargetReasons() []Reason {
	return []Reason{NotSelected, Excluded, SupersededBy, InFlight, Permanent, Exhausted, Expired, InBackoff, Due}
}

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
	OpenTask               string // the task in which the device has an open attempt; empty = none
}

// Facts are everything that is known of one target at the time of deciding.
type Facts struct {
	Target  Target
	Subtask iotda.Subtask
	Record  Record
	NewerBy string // the newer task that has the device too; empty = none
	// NewerUnknown is set where a newer task's members could not be read.
	NewerUnknown bool
}

// DecideTask says whether the task is closed to the policy as a whole. The zero Verdict
// means that it is open and its targets are decided one by one. owner is Owner's result.
func (p *Policy) DecideTask(t iotda.Task, owner *Policy, now time.Time) Verdict {
	if !t.Status.Retryable() || !slices.Contains(p.Tasks.Statuses, t.Status) {
		return Verdict{Reason: TaskStatus, Detail: string(t.Status)}
	}
	if p.Tasks.MaxAge > 0 {
		switch created := t.Created(); {
		case created.IsZero():
			return Verdict{Reason: TaskAge, Detail: "its create_time cannot be read"}
		case now.Sub(created) > p.Tasks.MaxAge:
			return Verdict{Reason: TaskAge, Detail: "created " + created.Format(time.RFC3339)}
		}
	}
	if owner != p {
		return Verdict{Reason: OtherPolicy, Detail: owner.Name}
	}
	return Verdict{}
}

// Decide says what is to be done about one target of an open task. It depends on its
// arguments only: the same facts at the same now give the same verdict.
func (p *Policy) Decide(f Facts, now time.Time) Verdict {
	device, r := f.Target.DeviceID, f.Record
	switch {
	case !f.Subtask.Status.Retryable() || !slices.Contains(p.Targets.Statuses, f.Subtask.Status):
		return Verdict{Reason: NotSelected, Detail: string(f.Subtask.Status)}
	case len(p.Targets.Include) > 0 && !matchesAny(p.Targets.Include, device):
		return Verdict{Reason: Excluded, Detail: "not in targets.include"}
	case matchesAny(p.Targets.Exclude, device):
		return Verdict{Reason: Excluded, Detail: "in targets.exclude"}
	case p.Tasks.Superseded == SupersededSkip && f.NewerBy != "":
		return Verdict{Reason: SupersededBy, Detail: "by task " + f.NewerBy}
	case p.Tasks.Superseded == SupersededSkip && f.NewerUnknown:
		return Verdict{Reason: SupersededBy, Detail: "perhaps: a newer task's members could not be read"}
	case r.OpenTask == f.Target.TaskID:
		return Verdict{Reason: InFlight, Detail: "in this task"}
	case r.OpenTask != "":
		return Verdict{Reason: InFlight, Detail: "in task " + r.OpenTask}
	}
	if cause := f.cause(); cause.Never {
		return Verdict{Reason: Permanent, Detail: cause.Name}
	}
	return p.decideByRecord(f, now)
}

func (p *Policy) decideByRecord(f Facts, now time.Time) Verdict {
	r := f.Record
	if r.Counted == 0 {
		return Verdict{Reason: Due, Detail: "first attempt", NotBefore: now}
	}
	if r.Counted >= p.Attempts.Max {
		return Verdict{Reason: Exhausted, Detail: fmt.Sprintf("%d of %d attempts", r.Counted, p.Attempts.Max)}
	}
	if p.Attempts.GiveUpAfter > 0 && now.Sub(r.FirstAt) >= p.Attempts.GiveUpAfter {
		return Verdict{Reason: Expired, Detail: "first attempt at " + r.FirstAt.UTC().Format(time.RFC3339)}
	}
	notBefore := r.SeenAt.Add(p.Attempts.Backoff.After(r.Counted, r.N, f.Target))
	detail := fmt.Sprintf("attempt %d of %d", r.Counted+1, p.Attempts.Max)
	if now.Before(notBefore) {
		return Verdict{Reason: InBackoff, Detail: detail, NotBefore: notBefore}
	}
	return Verdict{Reason: Due, Detail: detail, NotBefore: notBefore}
}

// Cause names why the target failed last: the platform's refusal of the last attempt
// where it refused it, else the sub-task's own error.
func (f Facts) cause() iotda.Cause {
	if f.Record.State == Rejected {
		return iotda.CauseOf(f.Record.RejectCode, f.Record.RejectText)
	}
	return iotda.CauseOf(f.Subtask.Cause())
}
