package policy

import (
	"slices"
	"time"

	"retryd/internal/iotda"
)

// State is where an attempt is in its life.
type State string

// The states of an attempt.
const (
	Claimed   State = "claimed"   // durable; the request may or may not have left
	Accepted  State = "accepted"  // the platform took it
	Rejected  State = "rejected"  // the platform refused this target; counted
	Unknown   State = "unknown"   // no proof either way; counted
	Released  State = "released"  // proof that nothing happened; not counted
	Recovered State = "recovered" // Success was read after it
	Failed    State = "failed"    // it failed again
	Gone      State = "gone"      // stopped, removed, or without any outcome
)

// transitions is the whole life of an attempt. What is not in it cannot happen.
var transitions = map[State][]State{
	Claimed:  {Accepted, Rejected, Unknown, Released},
	Accepted: {Recovered, Failed, Gone},
	Unknown:  {Recovered, Failed, Gone},
}

// States lists every state of an attempt.
func States() []State {
	return []State{Claimed, Accepted, Rejected, Unknown, Released, Recovered, Failed, Gone}
}

// CanBecome tells whether an attempt in state s may go on to next.
func (s State) CanBecome(next State) bool { return slices.Contains(transitions[s], next) }

// Open tells whether the attempt's outcome is still to come.
func (s State) Open() bool { return len(transitions[s]) > 0 }

// Counted tells whether an attempt in this state counts against attempts.max: all do
// but those that are proven to have had no effect.
func (s State) Counted() bool { return s != Released }

// Attempt is one request to re-run one target.
type Attempt struct {
	Target
	N          int
	State      State
	TaskType   iotda.TaskType
	Policy     string // names at the time of the claim: labels, not identity
	Connection string
	ClaimedAt  time.Time
	// AnsweredAt is when the answer came, or when the wait for it ended; for a claim that
	// a dead process left behind, when its request can no longer have been under way.
	AnsweredAt time.Time
	FailSeenAt time.Time // start of the first read that showed it failed, not yet confirmed
	MotionSeen bool      // read as in motion after the answer
	Terms      Terms
}

// Terms are the rules under which an attempt is observed. They are those of the policy
// that made it and stay with the attempt: the policy may be renamed or gone by then.
type Terms struct {
	Settle         time.Duration
	StaleAfter     time.Duration
	WaitRetryFails bool // FailWaitRetry counts as a failure: the policy names it
}

// Terms gives the terms under which the policy's attempts are observed.
func (p *Policy) Terms() Terms {
	return Terms{
		Settle:         p.Attempts.Settle,
		StaleAfter:     p.Attempts.StaleAfter,
		WaitRetryFails: slices.Contains(p.Targets.Statuses, iotda.SubtaskFailWaitRetry),
	}
}
