package policy

import "time"

// Past is what a retry that a person asks for goes past, of what holds back those of sweeps. The
// zero value is nothing: that of a sweep.
//
// Nothing goes past what keeps devices and the platform from harm: the states in which the platform
// takes a retry, attempts that are open, newer tasks, a pause, a halt, a connection that is down.
type Past struct {
	// Named is set where a person names the targets, or their task. That is an approval, and more than
	// a policy knows that observes, or rests; nor does it matter then how old the task is.
	Named  bool `json:"-"`
	Window bool `json:"past_window,omitempty"` // windows and blackouts
	Limit  bool `json:"past_limit,omitempty"`  // the policy's limits; never the account's rate
	Max    bool `json:"past_max,omitempty"`    // one attempt more of what is given up
}

// Mode is how far the policy goes.
func (past Past) Mode(p *Policy) Mode {
	if past.Named {
		return ModeAuto
	}
	return p.Mode
}

// Outside says why the policy may not retry anything now.
func (past Past) Outside(p *Policy, now time.Time) Verdict {
	if past.Window {
		return Verdict{}
	}
	return p.Outside(now)
}

// Allowance gives how many more targets may be claimed now, and which limit says so.
func (past Past) Allowance(p *Policy, u Usage) (n int, limit string) {
	if past.Limit {
		p, u.AfterHalt = &Policy{}, false
	}
	return p.Allowance(u)
}

// Cap is the policy's, as far as it goes.
func (past Past) Cap(p *Policy, due []*Verdict, allowed int, limit string) (through int) {
	now := *p
	now.Mode = past.Mode(p)
	return now.Cap(due, allowed, limit)
}

// cause gives what follows from a failure.
func (past Past) cause(c Cause, r Record) Cause {
	if past.Named {
		c.Backoff = Backoff{}
	}
	if past.Max {
		c.Never, c.Max = false, max(c.Max, r.Counted+1)
	}
	return c
}
