package scheduler

import (
	"fmt"
	"hash/fnv"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// passFor is how long a task's sub-tasks may be left unread at most, though nothing about it changes.
const passFor = 24 * time.Hour

// settledFor are reasons that stay while a task stands as it does: whatever would change them shows in its
// progress, in the newer tasks, in the policy, or in the ledger as a claim or as forgiven. One that backs off
// does so until a time that is known.
var settledFor = map[policy.Reason]bool{
	policy.NotSelected: true, policy.Excluded: true, policy.SupersededBy: true, policy.Permanent: true,
	policy.Exhausted: true, policy.Expired: true, policy.InBackoff: true,
}

// passed tells whether the sub-tasks may be left unread: nothing was left to do about them when they were
// read last, and nothing has changed since.
func (t *taskSweep) passed() bool {
	last, ok := t.unread[t.task.ID]
	if !ok || last.Pass.As != t.began || last.Policy != t.p.Name || last.Connection != t.name {
		return false
	}
	t.books.Lock()
	defer t.books.Unlock()
	for reason, n := range last.Counts {
		t.counts[policy.Reason(reason)] = n
	}
	t.pass = last.Pass
	return true
}

// standsAs says how the task stands, in all that verdicts about its targets depend on.
func (t *taskSweep) standsAs() string {
	newer := fnv.New64a()
	for _, other := range t.listing.tasks {
		if t.takenOverBy(other) {
			_, _ = newer.Write([]byte(other.ID + " "))
		}
	}
	return fmt.Sprintf("%s, policy %s, newer tasks %x", standing(t.now()), t.p.Hash, newer.Sum64())
}

// noteUntil notes until when the verdicts hold, once they have been counted.
func (t *taskSweep) noteUntil(targets []target) {
	for _, row := range targets {
		if !settledFor[row.verdict.Reason] || row.verdict.Reason == policy.SupersededBy && row.NewerUnknown && row.NewerBy == "" {
			t.unsettled = true
			return
		}
		ends := row.verdict.NotBefore
		if give := t.p.Attempts.GiveUpAfter; row.verdict.Reason == policy.InBackoff && give > 0 {
			if at := row.Record.FirstAt.Add(give); at.Before(ends) || ends.IsZero() {
				ends = at
			}
		}
		if !ends.IsZero() && (t.until.IsZero() || ends.Before(t.until)) {
			t.until = ends
		}
	}
}

// passNow gives what the next sweep may go by, once the task is done with. Where another number of sub-tasks
// was read than the task's progress has, some were missed.
func (t *taskSweep) passNow(closed policy.Reason) store.Pass {
	p := t.pass // it was not read this time: its day goes on
	if p.As == "" {
		if closed != "" || t.unsettled || t.p.Targets.Mode == policy.TargetsAll || t.left() != 0 || t.standsAs() != t.began {
			return store.Pass{}
		}
		p = store.Pass{As: t.began, Until: t.o.Store.Now().Add(passFor)}
		if !t.until.IsZero() && t.until.Before(p.Until) {
			p.Until = t.until
		}
	}
	p.After = t.known[t.task.ID].Changes
	return p
}

// none tells whether the task has no sub-task in a status: what its progress says of all of them adds up.
func none(t iotda.Task, status iotda.SubtaskStatus) bool {
	p := t.Progress
	sum := p.Processing + p.Success + p.Fail + p.Waitting + p.FailWaitRetry + p.Stopped + p.Removed
	return p.Of(status) == 0 && p.Total > 0 && sum == p.Total
}
