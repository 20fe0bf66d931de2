package policy

import (
	"time"

	"retryd/internal/iotda"
)

// WholeTask is the device id under which an attempt of a whole task is kept: targets.mode
// all. It counts as one attempt of each of the task's targets.
const WholeTask = "*"

// ObserveWhole says what a read of the task, begun at, makes of an attempt of it as a whole,
// and whether that is any change. It stays open for as long as anything is in motion.
func ObserveWhole(a Attempt, at time.Time, t iotda.Task) (Settlement, bool) {
	s := Settlement{Attempt: a, At: at}
	if (a.State != Accepted && a.State != Unknown) || at.Before(a.AnsweredAt.Add(a.Terms.Settle)) {
		return s, false
	}
	p := t.Progress
	switch {
	case t.Status.Ending():
		s.State, s.Detail = Gone, "task "+string(t.Status)
	case p.Processing+p.Waitting+p.FailWaitRetry == 0 && p.Fail+p.Stopped == 0:
		s.State = Recovered
	case p.Processing+p.Waitting+p.FailWaitRetry == 0:
		s.State = Failed
	case !at.Before(a.AnsweredAt.Add(a.Terms.StaleAfter)):
		s.State, s.Detail = Gone, NoOutcome
	default:
		return s, false
	}
	return s, true
}
