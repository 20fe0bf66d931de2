package scheduler

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// overlay is what a dry run would have written, kept in memory so that later decisions
// of the same run see it.
type overlay struct {
	mu      sync.Mutex
	settled map[policy.Target]policy.Settlement
	taken   map[string]string // device -> task of an attempt that would be open
	byTask  map[string]int    // what was taken
	byName  map[string]int    // by policy
}

func newOverlay() *overlay {
	return &overlay{settled: map[policy.Target]policy.Settlement{}, taken: map[string]string{}, byTask: map[string]int{}, byName: map[string]int{}}
}

func (o *overlay) settle(settlements []policy.Settlement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range settlements {
		if !s.State.Open() {
			o.settled[s.Target] = s
		}
	}
}

func (o *overlay) take(policyName, taskID, device string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken[device] = taskID
	o.byTask[taskID]++
	o.byName[policyName]++
}

// use adds what was taken, and would be open, to what is.
func (o *overlay) use(u *policy.Usage, p *policy.Policy, taskID string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u.Claimed += o.byName[p.Name]
	u.InFlight += o.byName[p.Name]
	u.Open += o.byTask[taskID]
	if u.ApprovalCap >= 0 {
		u.ApprovalCap = max(0, u.ApprovalCap-o.byTask[taskID])
	}
	for t, s := range o.settled { // attempts that are open in the ledger, and would not be
		counted := p.Limits.InFlightFor <= 0 || !s.ClaimedAt.Before(now.Add(-p.Limits.InFlightFor))
		if counted && s.Policy == p.Name {
			u.InFlight--
		}
		if t.TaskID != taskID {
			continue
		}
		if counted {
			u.Open--
		}
		if s.State == policy.Recovered {
			u.Recovered++
		}
	}
}

// trip gives what stands in for the ledger's Trip: it counts outcomes that are not written.
func (o *overlay) trip(s *store.Store) func(context.Context, store.Scope, policy.Halt) (policy.Outcomes, bool, error) {
	return func(ctx context.Context, sc store.Scope, h policy.Halt) (policy.Outcomes, bool, error) {
		o.mu.Lock()
		supposed := slices.Collect(maps.Values(o.settled))
		o.mu.Unlock()
		return s.WouldTrip(ctx, sc, h, supposed)
	}
}

// stillOpen tells whether an attempt that is open in the ledger would be open.
func (o *overlay) stillOpen(t policy.Target) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, settled := o.settled[t]
	return !settled
}

// over gives the record as it would be.
func (o *overlay) over(t policy.Target, r store.Record) store.Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.settled[t]; ok {
		r.State, r.SeenAt = s.State, s.At
	}
	if _, ok := o.settled[policy.Target{ProjectID: t.ProjectID, TaskID: r.OpenTask, DeviceID: t.DeviceID}]; ok {
		r.OpenTask, r.OpenN, r.OpenSince = "", 0, time.Time{}
	}
	if task := o.taken[t.DeviceID]; task != "" { // by an attempt that has no number yet
		r.OpenTask, r.OpenN, r.OpenSince = task, 0, time.Time{}
	}
	return r
}
