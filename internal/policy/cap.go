package policy

import "time"

// Cap lets through the first of the due verdicts that the allowance has room for, and gives
// the others the reason why they have to wait. In mode observe those that are let through
// are marked as that. It returns how many it let through. The order is the caller's.
func (p *Policy) Cap(due []*Verdict, allowed int, limit string) (through int) {
	for _, v := range due {
		switch {
		case through >= allowed:
			v.Reason, v.Detail, v.NotBefore = Capped, limit, time.Time{}
		case p.Mode == ModeObserve:
			v.Reason = Observed
			through++
		default:
			through++
		}
	}
	return through
}
