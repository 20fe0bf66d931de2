package policy

import (
	"time"

	"retryd/internal/iotda"
)

// Observation is what one read showed of one target.
type Observation struct {
	At         time.Time           // start of the request
	Status     iotda.SubtaskStatus // empty: the task was read, the target was not found
	TaskStatus iotda.TaskStatus
	Code, Text string // of the failure
}

// Settlement is what an observation changes of an open attempt.
type Settlement struct {
	Attempt           // with State, FailSeenAt and MotionSeen as they are from now on
	At      time.Time // when it settled: the start of the read that first showed the outcome
	Detail  string    // why it is gone
	Code    string    // of the failure
	Text    string
	Cause   Cause // of the failure, as the caller names it
}

// NoOutcome is the detail of an attempt that was closed after Terms.StaleAfter.
const NoOutcome = "no_outcome"

// Observe says what an observation makes of an open attempt, and whether that is any
// change. The caller has checked nothing: an attempt that is not open, or that the
// observation is too early for, stays as it is.
func Observe(a Attempt, o Observation) (Settlement, bool) {
	s := Settlement{Attempt: a, At: o.At, Code: o.Code, Text: o.Text}
	if (a.State != Accepted && a.State != Unknown) || o.At.Before(a.AnsweredAt) {
		return s, false
	}
	if inMotion(a, o.Status) && (!a.MotionSeen || !a.FailSeenAt.IsZero()) {
		s.MotionSeen, s.FailSeenAt = true, time.Time{}
	}
	if !o.At.Before(a.AnsweredAt.Add(a.Terms.Settle)) {
		s.settle(o)
	}
	return s, s.Attempt != a
}

// inMotion: a retried target that is not in motion reads Fail, so FailWaitRetry, where
// it is no failure to the policy, shows that the platform has tried since.
func inMotion(a Attempt, status iotda.SubtaskStatus) bool {
	return status.InMotion() || (status == iotda.SubtaskFailWaitRetry && !a.Terms.WaitRetryFails)
}

func (s *Settlement) settle(o Observation) {
	switch {
	case o.Status == iotda.SubtaskSuccess:
		s.State = Recovered
	case o.Status == iotda.SubtaskFail, o.Status == iotda.SubtaskFailWaitRetry && s.Terms.WaitRetryFails:
		s.settleFailed(o)
	case o.Status == iotda.SubtaskStopped, o.Status == iotda.SubtaskRemoved:
		s.State, s.Detail = Gone, string(o.Status)
	case o.TaskStatus.Ending():
		s.State, s.Detail = Gone, "task "+string(o.TaskStatus)
	case !o.At.Before(s.AnsweredAt.Add(s.Terms.StaleAfter)):
		s.State, s.Detail = Gone, NoOutcome
	}
}

// settleFailed: an accepted attempt that reads Fail may not have begun yet, so it takes
// a second read, or one that showed it in motion, to tell that it failed again.
func (s *Settlement) settleFailed(o Observation) {
	switch {
	case s.State == Unknown, s.MotionSeen:
		s.State = Failed
	case s.FailSeenAt.IsZero():
		s.FailSeenAt = o.At
	case o.At.After(s.FailSeenAt):
		s.State, s.At = Failed, s.FailSeenAt
	}
}

// Pass is one whole reading of a task's failed sub-tasks, page by page.
type Pass struct {
	Before, After iotda.Progress // in the replies to the first and the last page
	Failed        int            // distinct targets read as Fail
	FirstRead     time.Time      // start of the first page's request
	Posted        bool           // a retry was sent to the task in between
	Uneven        bool           // a page had too many rows, or too few: that their sum is right proves nothing
}

// Complete tells whether everything that the pass did not show as Fail has succeeded,
// for attempts whose last answer, or send deadline, was at lastAnswer. Being absent
// from a filtered list alone proves nothing: a row may move between pages, or be in
// motion.
func (p Pass) Complete(lastAnswer time.Time, settle time.Duration) bool {
	return p.Before == p.After && p.After.Settled() && p.Failed == p.After.Fail && !p.Posted && !p.Uneven &&
		!p.FirstRead.Before(lastAnswer.Add(settle))
}
