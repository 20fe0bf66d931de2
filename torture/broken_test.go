package torture

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// base is when the records of this file begin.
var base = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }

var lamp = key{"t1", "lamp"}

// fine is a record that breaks no rule: lamp failed once more and then recovered.
func fine() *evidence {
	e := &evidence{
		subjects: map[key]*subject{lamp: {fate: emulator.Fate{RecoverAt: 2}}, {"t2", "lamp"}: {}, {"t1", "off"}: {never: true}},
		status: func(k key) iotda.SubtaskStatus {
			if k == lamp {
				return iotda.SubtaskSuccess
			}
			return iotda.SubtaskFail
		},
		starts: []time.Time{after(0)},
		reigns: []reign{{after(50), 1, "a", false}, {after(2500), 2, "b", false}, {after(3500), 3, "", true}, {after(5000), 4, "a", false}},
		ledger: rows{
			targets: []row{
				{key: lamp, lastN: 3, counted: 2, state: "recovered", outcome: "recovered", closedN: 2},
				{key: key{"t2", "lamp"}, lastN: 3, counted: 3, state: "failed", outcome: "exhausted", closedN: 3},
			},
			attempts: []attempt{
				{key: lamp, n: 1, state: "failed", claimed: after(100), answered: after(110), ended: after(500), sendBy: after(30000), moved: true},
				{key: lamp, n: 2, state: "released", claimed: after(1000), answered: after(1010), ended: after(1010), sendBy: after(31000)},
				{key: lamp, n: 3, state: "recovered", claimed: after(2000), answered: after(2010), ended: after(2500), sendBy: after(32000)},
				{key: key{"t2", "lamp"}, n: 1, state: "failed", claimed: after(3000), answered: after(3010), ended: after(3500), sendBy: after(33000)},
				{key: key{"t2", "lamp"}, n: 2, state: "rejected", claimed: after(4000), answered: after(4010), ended: after(4010), sendBy: after(34000)},
				{key: key{"t2", "lamp"}, n: 3, state: "failed", claimed: after(5000), answered: after(35000), ended: after(35500), sendBy: after(35000)},
			},
		},
	}
	e.posted(lamp, 105, 200, true)
	e.posted(lamp, 1005, 429, false)
	e.posted(lamp, 2005, 0, true)
	e.posted(key{"t2", "lamp"}, 3005, 502, false)
	e.posts = []post{{after(104), "a"}, {after(2004), "a"}, {after(3004), "b"}, {after(3600), "b"}}
	return e
}

// posted adds a retry call to the platform's record.
func (e *evidence) posted(k key, ms, status int, accepted bool) {
	e.calls = append(e.calls, emulator.Call{N: len(e.calls), At: after(ms), Op: "RetryBatchTask", TaskID: k.task, Targets: []string{k.device}, Status: status})
	e.arrivals = append(e.arrivals, after(ms))
	if accepted {
		e.retries = append(e.retries, emulator.Retry{At: after(ms), TaskID: k.task, Target: k.device, Accepted: true, From: iotda.SubtaskFail, TaskStatus: iotda.TaskFail})
		e.later = e.retries
	}
}

func TestEachRuleCanBeBroken(t *testing.T) {
	other := key{"t2", "lamp"}
	for _, c := range []struct {
		rule, says string
		spoil      func(*evidence)
	}{
		{"never more than max", "was sent for the 4. time", func(e *evidence) {
			e.posted(lamp, 2006, 500, false)
			e.posted(lamp, 2007, 0, false)
		}},
		{"never more than max", "was sent for the 4. time", func(e *evidence) { e.subjects[lamp].spent = 2 }},
		{"never more than max", "has 4 counted attempts", func(e *evidence) { e.ledger.targets[0].counted = 4 }},
		{"only what may be retried", "nobody knows it", func(e *evidence) { e.retries[0].Target = "x" }},
		{"only what may be retried", "must not be retried", func(e *evidence) { e.retries[0].Target = "off" }},
		{"only what may be retried", "its task was Stopped", func(e *evidence) { e.retries[0].TaskStatus = iotda.TaskStopped }},
		{"only what may be retried", "it was Waitting", func(e *evidence) { e.retries[0].From = iotda.SubtaskWaitting }},
		{"only what may be retried", "in motion in task t2", func(e *evidence) { e.retries[0].Busy = "t2" }},
		{"every send has its attempt", "without any attempt", func(e *evidence) { e.calls[0].At = after(99) }},
		{"every send has its attempt", "which is released", func(e *evidence) { e.calls[1].Status = 503 }},
		{"every send has its attempt", "which had been sent already", func(e *evidence) { e.posted(lamp, 2100, 200, true) }},
		{"every send has its attempt", "which had to be sent by", func(e *evidence) { e.ledger.attempts[2].sendBy = after(2004) }},
		{"every send has its attempt", "attempt 3, which had been sent already", func(e *evidence) { // by one that woke up, after another has claimed
			e.posted(lamp, 2600, 200, true)
		}},
		{"every send has its attempt", "attempt 2, which is released", func(e *evidence) { e.posted(lamp, 1500, 200, true) }},
		{"only who holds the lease sends", `lease 2 is of "b"`, func(e *evidence) { e.posts = append(e.posts, post{after(2501), "a"}) }},
		{"only who holds the lease sends", `lease 3 is of ""`, func(e *evidence) { e.posts = append(e.posts, post{after(4501), "b"}) }},
		{"only who holds the lease sends", "nobody had any", func(e *evidence) { e.posts = append(e.posts, post{after(49), "a"}) }},
		{"what the ledger says has happened", "attempt 3 of lamp of task t1 is recovered", func(e *evidence) { e.later = e.later[:1] }},
		{"what the ledger says has happened", "attempt 1 of lamp of task t1 is failed, seen in motion: true", func(e *evidence) { e.later = e.later[1:] }},
		{"what the ledger says has happened", "attempt 1 of lamp of task t2 is accepted", func(e *evidence) { e.ledger.attempts[3].state = "accepted" }},
		{"one open attempt a device", "attempt 3 in task t1 is unknown", func(e *evidence) { e.ledger.attempts[2].state = "unknown" }},
		{"one open attempt a device", "attempt 1 in task t2 was claimed", func(e *evidence) { e.ledger.attempts[3].claimed = after(2499) }},
		{"not faster than the rate", "calls came too early", func(e *evidence) {
			for range burst + concurrency + 1 {
				e.arrivals = append(e.arrivals, after(6000))
			}
		}},
		{"counts are sums", "counted is 1 and last_n 3, its attempts are 2 of 3", func(e *evidence) { e.ledger.targets[0].counted = 1 }},
		{"counts are sums", "attempt 3 follows attempt 1", func(e *evidence) { e.ledger.attempts = append(e.ledger.attempts[:1:1], e.ledger.attempts[2:]...) }},
		{"counts are sums", "no row of its own", func(e *evidence) { e.ledger.targets = e.ledger.targets[:1] }},
		{"nothing is stuck", "attempt 3 is claimed", func(e *evidence) { e.ledger.attempts[5].state = "claimed" }},
		{"nothing is stuck", "attempt 3 is unknown", func(e *evidence) { e.ledger.attempts[5].state = "unknown" }},
		{"nothing is stuck", "no attempt under way and no end", func(e *evidence) { e.ledger.targets[1].closedN = 2 }},
		{"nothing is stuck", "no attempt under way and no end", func(e *evidence) { e.subjects[key{"t3", "pump"}] = &subject{} }},
		{"each end is the right one", "it recovers at 2, and is Fail", func(e *evidence) { e.status = func(key) iotda.SubtaskStatus { return iotda.SubtaskFail } }},
		{"each end is the right one", `ended as "exhausted"`, func(e *evidence) { e.ledger.targets[0].outcome = "exhausted" }},
		{"each end is the right one", `ended as "gone"`, func(e *evidence) { e.ledger.targets[1].outcome = "gone" }},
		{"each end is the right one", "given up after 2 counted", func(e *evidence) { e.ledger.targets[1].counted = 2 }},
		{"each end is the right one", `its last attempt is "failed"`, func(e *evidence) { e.ledger.targets[0].state = "failed" }},
		{"each end is the right one", `ended as "permanent"`, func(e *evidence) { e.ledger.targets[1].outcome = "permanent" }},
	} {
		t.Run(c.says, func(t *testing.T) {
			e := fine()
			c.spoil(e)
			require.Contains(t, e.broken()[c.rule], c.says)
		})
	}
	require.Empty(t, fine().broken())
	excused := fine()
	excused.ledger.attempts[5].state = "unknown"
	excused.waits = func(a attempt) bool { return a.key == other }
	require.Empty(t, excused.broken())
}

// broken gives what breaks each rule, as one text.
func (e *evidence) broken() map[string]string {
	broken := map[string]string{}
	for _, r := range append(append([]rule{}, always...), atRest...) {
		for _, what := range r.breaks(e) {
			broken[r.name] += what + "\n"
		}
	}
	return broken
}
