package scheduler

import (
	"time"

	"retryd/internal/policy"
)

// Event is something that a person at a terminal would watch.
type Event struct {
	Kind       Kind
	Connection string
	Policy     string
	TaskID     string
	TaskName   string
	DeviceID   string
	Verdict    policy.Verdict // of Decided and Open
	State      policy.State   // of Answered, Settled and Open
	Attempt    int            // of Answered, Settled and Open
	Since      time.Time      // of Open: when it was claimed
	Code, Text string         // why, of Answered and Settled; of Decided why it failed last
	Rows       int            // of Read: sub-tasks in the wave
	Total      int            // of Reading: sub-tasks that the task has to read, as its progress says
}

// Kind is the kind of an event.
type Kind string

// The kinds of events.
const (
	Reading Kind = "reading" // a task's sub-tasks are going to be read
	Read    Kind = "read"    // a wave of them has been
	Decided Kind = "decided" // about one target
	// DecidedTask is about a task that is closed as a whole; Rows are its targets.
	DecidedTask Kind = "decided_task"
	// Open is about an attempt in the ledger that waits for its outcome. Plan tells of each.
	Open     Kind = "open"
	Answered Kind = "answered" // one target's attempt, by the platform
	Settled  Kind = "settled"  // one attempt, by observing
	Closed   Kind = "closed"   // one target is given up
)

// Report is what one sweep came to.
type Report struct {
	Policy, Connection string
	Result             string               // SweepComplete, SweepPartial or SweepFailed
	Tasks              int                  // of the policy
	Counts             map[string]int       // targets by reason
	Sent               map[policy.State]int // attempts by answer
	Problems           []error              // why it is not complete
	Duration           time.Duration
}

// The results of a sweep.
const (
	SweepComplete = "complete" // every task of the policy was read, and every call answered
	SweepPartial  = "partial"  // some were not
	SweepFailed   = "failed"   // the tasks could not be listed
)

// SweepResults lists the results of a sweep.
func SweepResults() []string { return []string{SweepComplete, SweepPartial, SweepFailed} }

// Kinds of replies that contradict what is known of the platform.
const (
	surpriseWord   = "unknown_word"
	surpriseDouble = "double_row"
	surpriseExtra  = "unasked_row"
	surpriseMarker = "marker"
	surpriseStuck  = "never_in_motion" // three accepted retries in a row, in a task of which none was ever seen in motion or recovered
	surpriseBack   = "success_undone"  // a target that had succeeded reads Fail
)

// Surprises lists the kinds of replies that contradict what is known of the platform.
func Surprises() []string {
	return []string{surpriseWord, surpriseDouble, surpriseExtra, surpriseMarker, surpriseStuck, surpriseBack}
}

// resolvedElsewhere is the end of a target that succeeded without an open attempt.
const resolvedElsewhere = "resolved_elsewhere"

// Endings lists the outcomes with which a target is closed.
func Endings() []string {
	return []string{string(policy.Recovered), string(policy.Exhausted), string(policy.Permanent), string(policy.Expired), string(policy.Gone), resolvedElsewhere}
}
