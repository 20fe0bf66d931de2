package policy

import (
	"regexp"
	"time"

	"retryd/internal/iotda"
)

// Rule is the operator's word on failures of one kind. The first rule that matches counts,
// and each comes before the built-in table.
type Rule struct {
	Name    string
	Code    *regexp.Regexp // matches the whole error code; nil = any
	Message *regexp.Regexp // is found in the text; nil = any
	Class   iotda.CauseClass
	Never   bool
	Max     int      // of all counted attempts of the target; 0 = the policy's
	Backoff *Backoff // nil = the policy's
}

func (r Rule) matches(code, text string) bool {
	return (r.Code == nil || r.Code.MatchString(code)) && (r.Message == nil || r.Message.MatchString(text))
}

// Cause is why a target failed, and what follows from it under the policy.
type Cause struct {
	Name    string // of the rule, or of the row of the built-in table
	Class   iotda.CauseClass
	Never   bool
	Max     int
	Backoff Backoff
	own     bool // a rule of the operator
}

// Cause gives the cause of a failure. Only the operator's own rules change how often and
// when a target is tried; the built-in table names causes and knows those that no retry
// mends.
func (p *Policy) Cause(code, text string) Cause {
	c := Cause{Max: p.Attempts.Max, Backoff: p.Attempts.Backoff}
	for _, r := range p.Rules {
		if !r.matches(code, text) {
			continue
		}
		c.Name, c.Class, c.Never, c.own = r.Name, r.Class, r.Never, true
		if r.Max > 0 {
			c.Max = r.Max
		}
		if r.Backoff != nil {
			c.Backoff = *r.Backoff
		}
		return c
	}
	known := iotda.CauseOf(code, text)
	c.Name, c.Class, c.Never = known.Name, known.Class, known.Never
	return c
}

// Limits bound what one policy does on one connection. 0 means no such limit.
type Limits struct {
	TargetsPerSweep int
	InFlight        int           // open attempts of the last InFlightFor
	InFlightFor     time.Duration //
	Ramp            Ramp
}

// Ramp lets a campaign's retries grow with its successes: open attempts of a task are at
// most the larger of Initial and Factor times those that recovered lately. Initial 0
// means no ramp.
type Ramp struct {
	Initial int
	Factor  float64
}

// Halt stops a task, or a policy, whose retries fail too often for causes of the named
// classes. An empty On means never.
type Halt struct {
	On           []iotda.CauseClass
	FailureRatio float64
	MinOutcomes  int
	Window       time.Duration
	Cooldown     time.Duration // 0 = until a person resumes it
	Scope        HaltScope
}

// HaltScope says what a halt stops.
type HaltScope string

// The scopes of a halt.
const (
	HaltTask   HaltScope = "task"
	HaltPolicy HaltScope = "policy"
)

// Outcomes counts distinct targets by how their last attempt ended.
type Outcomes struct{ Recovered, Failed int }

// Trips tells whether outcomes are bad enough to halt.
func (h Halt) Trips(o Outcomes) bool {
	total := o.Recovered + o.Failed
	return len(h.On) > 0 && total >= max(h.MinOutcomes, 1) && float64(o.Failed) >= h.FailureRatio*float64(total)
}

// Usage is how much of a policy's limits is in use when a wave is decided.
type Usage struct {
	Claimed     int            // in this sweep
	InFlight    int            // open attempts of the policy on the connection, claimed within InFlightFor
	Open        int            // open attempts of the task, claimed within InFlightFor
	Recovered   int            // targets of the task that recovered in the halt's window, since the last halt ended
	AfterHalt   bool           // a halt of the task, or of its policy, ended in the window
	ApprovalCap int            // further targets that the task's approval allows; -1 = any number
	Approved    map[string]int // devices that the approval has been used for, with the targets that each stands for
}

// The limits that a target can be capped by.
const (
	CapSweep    = "targets_per_sweep"
	CapInFlight = "in_flight"
	CapRamp     = "ramp"
	CapApproval = "approval"
)

// Allowance gives how many more targets of a task may be claimed now, and which limit says
// so; an empty name means no limit.
func (p *Policy) Allowance(u Usage) (n int, limit string) {
	n = int(^uint(0) >> 1)
	take := func(allowed int, name string) {
		if allowed = max(allowed, 0); allowed < n {
			n, limit = allowed, name
		}
	}
	if l := p.Limits.TargetsPerSweep; l > 0 {
		take(l-u.Claimed, CapSweep)
	}
	if l := p.Limits.InFlight; l > 0 {
		take(l-u.InFlight, CapInFlight)
	}
	ramp := p.Limits.Ramp
	if ramp.Initial == 0 && u.AfterHalt { // what was halted starts again in small steps
		ramp = Ramp{Initial: max(p.Halt.MinOutcomes, 1), Factor: 2}
	}
	if ramp.Initial > 0 {
		take(max(ramp.Initial, int(ramp.Factor*float64(u.Recovered)))-u.Open, CapRamp)
	}
	if u.ApprovalCap >= 0 {
		take(u.ApprovalCap, CapApproval)
	}
	return n, limit
}
