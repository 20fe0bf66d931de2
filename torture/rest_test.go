package torture

import (
	"fmt"
	"slices"

	"retryd/internal/iotda"
)

// atRest are the rules that hold when nothing goes wrong any more, and all had time to settle.
var atRest = []rule{
	{"nothing is stuck", (*evidence).stuck},
	{"each end is the right one", (*evidence).wrongEnds},
}

// waiting are the devices with an attempt that cannot have come to its outcome yet.
func (e *evidence) waiting() map[string]bool {
	devices := map[string]bool{}
	for _, a := range e.ledger.attempts {
		if a.open() && e.waits != nil && e.waits(a) {
			devices[a.device] = true
		}
	}
	return devices
}

func (e *evidence) stuck() (broken []string) {
	waiting, open, closed := e.waiting(), map[key]string{}, map[key]bool{}
	for _, a := range e.ledger.attempts {
		if a.open() {
			open[a.key] = fmt.Sprintf("attempt %d is %s, claimed %s, answered %s", a.n, a.state, clock(a.claimed), clock(a.answered))
		}
		if a.state == "claimed" { // no excuse for that
			broken = append(broken, fmt.Sprintf("%v: %s", a.key, open[a.key]))
		}
	}
	for _, t := range e.ledger.targets {
		closed[t.key] = slices.Contains([]string{"recovered", "exhausted", "permanent"}, t.outcome) && t.closedN == t.counted
	}
	for k, s := range e.subjects {
		switch {
		case s.never || waiting[k.device]:
		case open[k] != "":
			broken = append(broken, fmt.Sprintf("%v: %s", k, open[k]))
		case !s.ended && !closed[k]:
			broken = append(broken, fmt.Sprintf("%v has no attempt under way and no end; the platform says %s", k, e.status(k)))
		}
	}
	slices.Sort(broken)
	return broken
}

// wrongEnds holds what became of each target, by both records, against its fate.
func (e *evidence) wrongEnds() (broken []string) {
	accepted, waiting := map[key]int{}, e.waiting()
	for _, r := range e.later {
		if r.Accepted {
			accepted[key{r.TaskID, r.Target}]++
		}
	}
	for _, t := range e.ledger.targets {
		s := e.subjects[t.key]
		if s == nil || s.never || s.ended || waiting[t.device] {
			continue
		}
		status, outcomes := e.status(t.key), []string{"exhausted"}
		recovers := s.fate.RecoverAt > 0 && accepted[t.key] >= s.fate.RecoverAt
		switch {
		case recovers:
			outcomes = []string{"recovered"}
		case s.permanent(): // by a refusal, unless each call with it had no answer
			outcomes = []string{"permanent", "exhausted"}
		}
		switch {
		case recovers != (status == iotda.SubtaskSuccess):
			broken = append(broken, fmt.Sprintf("%v: the platform accepted %d retries, it recovers at %d, and is %s", t.key, accepted[t.key], s.fate.RecoverAt, status))
		case !slices.Contains(outcomes, t.outcome):
			broken = append(broken, fmt.Sprintf("%v ended as %q after %d accepted retries; it recovers at %d", t.key, t.outcome, accepted[t.key], s.fate.RecoverAt))
		case t.outcome == "exhausted" && t.counted != maxAttempts:
			broken = append(broken, fmt.Sprintf("%v was given up after %d counted attempts", t.key, t.counted))
		case (t.outcome == "recovered") != (t.state == "recovered"):
			broken = append(broken, fmt.Sprintf("%v ended as %q, and its last attempt is %q", t.key, t.outcome, t.state))
		}
	}
	return broken
}
