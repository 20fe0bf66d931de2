package scheduler

import (
	"context"
	"slices"
	"sync"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// pending is the targets that limits have let through and the ledger does not have as claimed yet:
// the next wave is decided about while they are on their way.
type pending struct {
	claiming sync.RWMutex // held for reading by a claim, until what it took is pending no more

	mu    sync.Mutex
	all   int
	tasks map[string]int
}

// pendingOf gives what is pending under a policy: of its ticks, and of sweeps by hand beside them.
func (c *connection) pendingOf(policyName string) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		c.pending = map[string]*pending{}
	}
	if c.pending[policyName] == nil {
		c.pending[policyName] = &pending{}
	}
	return c.pending[policyName]
}

func (p *pending) add(task string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tasks == nil {
		p.tasks = map[string]int{}
	}
	p.all += n
	if p.tasks[task] += n; p.tasks[task] == 0 {
		delete(p.tasks, task)
	}
}

// reservation is what is pending of one wave.
type reservation struct {
	of   *pending
	task string

	mu sync.Mutex
	n  int
}

func (r *reservation) take(n int) {
	if r == nil || n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n += n
	r.of.add(r.task, n)
}

// claim runs what claims some of it: from then on those are the ledger's to count.
func (r *reservation) claim(targets int, claim func() error) error {
	if r == nil {
		return claim()
	}
	r.of.claiming.RLock()
	defer r.of.claiming.RUnlock()
	err := claim()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(targets, r.n)
	r.n -= n
	r.of.add(r.task, -n)
	return err
}

// drop gives back what was never claimed.
func (r *reservation) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of.add(r.task, -r.n)
	r.n = 0
}

// usage gives how much of the limits is in use, with what is on its way to the ledger.
func (t *taskSweep) usage(ctx context.Context) (policy.Usage, error) {
	t.pending.claiming.Lock() // no claim is half there
	defer t.pending.claiming.Unlock()
	u, err := t.ledger().Usage(ctx, t.scope(), t.p, t.at)
	if err != nil {
		return u, err
	}
	t.pending.mu.Lock()
	all, own := t.pending.all, t.pending.tasks[t.task.ID]
	t.pending.mu.Unlock()
	u.Claimed, u.InFlight, u.Open = u.Claimed+all, u.InFlight+all, u.Open+own
	if u.ApprovalCap >= 0 {
		u.ApprovalCap = max(0, u.ApprovalCap-own)
	}
	if t.dry != nil {
		t.dry.use(&u, t.p, t.task.ID, t.o.Store.Now())
	}
	return u, nil
}

// anyOrder tells whether the tasks may be swept in any order, several at a time: whatever is due in them,
// limits have room for all of it, or for none, and no device can be due in two of them. Else the newest
// comes first, as a plan shows it. targets is how many they have at most. Where the ledger cannot tell, each
// of them meets its error too.
func (w *sweep) anyOrder(ctx context.Context, tasks []iotda.Task, targets int) bool {
	another := func(t iotda.Task) bool { return t.Type != tasks[0].Type }
	if w.p.Tasks.Superseded != policy.SupersededSkip || slices.ContainsFunc(tasks, another) {
		return false
	}
	if w.dry != nil || w.hand != nil || w.p.Targets.Mode == policy.TargetsAll || w.past.Mode(w.p) == policy.ModeObserve {
		return false
	}
	limits := &policy.Policy{Limits: w.p.Limits}
	limits.Limits.Ramp = policy.Ramp{} // it is of each task
	u, err := w.ledger().Usage(ctx, store.Scope{ProjectID: w.client.ProjectID(), Policy: w.p.Name, Connection: w.name}, limits, w.at)
	if err != nil {
		return false
	}
	allowed, _ := limits.Allowance(policy.Usage{Claimed: u.Claimed, InFlight: u.InFlight, ApprovalCap: -1})
	return allowed == 0 || allowed >= targets
}
