package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// taskCases are in the order in which DecideTask looks at them: each makes its reason apply.
var taskCases = []struct {
	reason policy.Reason
	detail string
	apply  func(*policy.Policy, *policy.TaskFacts)
}{
	{policy.OtherPolicy, "first", func(_ *policy.Policy, f *policy.TaskFacts) { f.Owner = &policy.Policy{Name: "first"} }},
	{policy.TaskStatus, "Stopped", func(_ *policy.Policy, f *policy.TaskFacts) { f.Task.Status = iotda.TaskStopped }},
	{policy.TaskAge, "created 2026-01-30T11:59:59Z", func(_ *policy.Policy, f *policy.TaskFacts) {
		f.Task.CreateTime = now.Add(-30*24*time.Hour - time.Second).Format(iotda.TimeLayout)
	}},
	{policy.Backlog, "created 2026-03-01T11:00:00Z, before this policy was first seen", func(p *policy.Policy, f *policy.TaskFacts) {
		p.Tasks.Backlog, f.FirstSeen = false, now.Add(-59*time.Minute)
	}},
	{policy.ConnectionDown, "auth: HTTP 401", func(_ *policy.Policy, f *policy.TaskFacts) { f.Down = "auth: HTTP 401" }},
	{policy.Paused, "policy, by ops", func(_ *policy.Policy, f *policy.TaskFacts) { f.Paused = "policy, by ops" }},
	{policy.OutsideWindow, "blackout until 2026-03-02T00:00:00Z: freeze", func(p *policy.Policy, _ *policy.TaskFacts) {
		p.Blackouts = []policy.Blackout{{From: now, To: now.Add(12 * time.Hour), Why: "freeze"}}
	}},
	{policy.AwaitingApproval, "not approved", func(p *policy.Policy, f *policy.TaskFacts) { p.Mode, f.Approval = policy.ModeApprove, "not approved" }},
	{policy.Halted, "9 of 20", func(_ *policy.Policy, f *policy.TaskFacts) { f.Halted, f.HaltEnds = "9 of 20", now.Add(time.Hour) }},
}

func taskFacts(p *policy.Policy) policy.TaskFacts {
	return policy.TaskFacts{Owner: p, Task: iotda.Task{
		ID: "a", Name: "fw", Type: iotda.FirmwareUpgrade, Status: iotda.TaskFail, CreateTime: now.Add(-time.Hour).Format(iotda.TimeLayout),
	}}
}

func TestEachReasonOfATaskAppliesAndWinsOverAllThatComeAfterIt(t *testing.T) {
	for i, c := range taskCases {
		for j := i; j < len(taskCases); j++ {
			p := newPolicy()
			f := taskFacts(p)
			taskCases[j].apply(p, &f)
			c.apply(p, &f)
			v := p.DecideTask(f, now)
			require.Equal(t, c.reason, v.Reason, "with %s", taskCases[j].reason)
			if i == j {
				require.Equal(t, c.detail, v.Detail)
			}
		}
	}
	require.Len(t, taskCases, len(policy.TaskReasons()), "a reason has no case")
	p := newPolicy()
	require.Zero(t, p.DecideTask(taskFacts(p), now))
}

func TestATaskThatIsNamedOrTakenOnIsNoBacklog(t *testing.T) {
	p := newPolicy()
	p.Tasks.Backlog = false
	f := taskFacts(p)
	require.Equal(t, policy.Backlog, p.DecideTask(f, now).Reason, "a policy that was never seen is seen now")
	f.Attempted = true
	require.Zero(t, p.DecideTask(f, now))
	f.Attempted, f.FirstSeen = false, now.Add(-time.Hour)
	require.Zero(t, p.DecideTask(f, now), "made at the very moment")
	f.FirstSeen = now
	for _, name := range []func(*policy.TaskRules){
		func(r *policy.TaskRules) { r.IDs = []string{"a"} }, func(r *policy.TaskRules) { r.Names = must("fw") },
		func(r *policy.TaskRules) { r.Apps = []string{"x"} }, func(r *policy.TaskRules) { r.AppNames = []string{"x"} },
	} {
		named := newPolicy()
		named.Tasks.Backlog = false
		name(&named.Tasks)
		f.Owner = named
		require.Zero(t, named.DecideTask(f, now))
	}
}

func TestATaskWhoseRetriesWereRefusedTwiceIsLeftAlone(t *testing.T) {
	p := newPolicy()
	f := taskFacts(p)
	f.Refused = true
	require.Equal(t, policy.Verdict{Reason: policy.TaskStatus, Detail: "Fail, and the platform refused its retries twice: left alone until it changes"}, p.DecideTask(f, now))
}

func TestThePolicysAppsSelectTasksThatWereListedUnderThem(t *testing.T) {
	p := newPolicy()
	p.Tasks.Apps, p.Tasks.AppNames = []string{"id1"}, []string{"lamps"}
	task := taskFacts(p).Task
	require.False(t, p.Owns("prod", task), "its app is not known")
	task.AppID, task.AppName = "id2", "pumps"
	require.False(t, p.Owns("prod", task))
	task.AppName = "lamps"
	require.True(t, p.Owns("prod", task))
	task.AppID, task.AppName = "id1", "x"
	require.True(t, p.Owns("prod", task))
}

func TestTheFirstRuleThatMatchesDecidesHowOftenAndWhen(t *testing.T) {
	p := newPolicy()
	p.Rules = []policy.Rule{
		{Name: "flash", Code: must("IOTDA\\.9.*")[0], Class: iotda.CauseDevice, Never: true},
		{Name: "offline", Message: find("(?i)offline|not online"), Class: iotda.CauseNetwork, Max: 10, Backoff: &policy.Backoff{Delays: []time.Duration{time.Hour, 6 * time.Hour}}},
		{Name: "both", Code: must("X")[0], Message: find("b"), Class: iotda.CauseFirmware},
		{Name: "late", Message: find("offline"), Class: iotda.CausePlatform, Never: true},
		{Name: "package", Message: find("Unsupported package type"), Class: iotda.CauseFirmware},
	}
	with := func(code, message string, r policy.Record) policy.Verdict {
		f := facts()
		f.Subtask.Error, f.Record = &iotda.SubtaskError{Code: code, Message: message}, r
		return p.Decide(f, now)
	}
	require.Equal(t, policy.Verdict{Reason: policy.Permanent, Detail: "flash"}, with("IOTDA.90", "x", policy.Record{}))
	after := func(n int) policy.Record {
		return policy.Record{N: n, Counted: n, FirstAt: now, SeenAt: now, State: policy.Failed}
	}
	require.Equal(t, policy.Verdict{Reason: policy.InBackoff, Detail: "attempt 2 of 10, rule offline", NotBefore: now.Add(time.Hour)}, with("", "device is OFFLINE", after(1)))
	require.Equal(t, now.Add(6*time.Hour), with("", "device is OFFLINE", after(2)).NotBefore)
	require.Equal(t, now.Add(6*time.Hour), with("", "device is OFFLINE", after(9)).NotBefore, "the last delay stays")
	require.Equal(t, policy.Verdict{Reason: policy.Exhausted, Detail: "10 of 10 attempts, rule offline"}, with("", "offline", after(10)))
	require.Equal(t, policy.Verdict{Reason: policy.Exhausted, Detail: "9 of 3 attempts"}, with("", "low battery", after(9)), "the current error decides, and all attempts count")
	require.Equal(t, policy.Due, with("", "Unsupported package type", policy.Record{}).Reason, "a rule comes before the built-in table")
	require.Equal(t, "both", p.Cause("X", "abc").Name)
	require.Equal(t, "other", p.Cause("Y", "abc").Name, "a rule with code and message needs both")
	require.Equal(t, policy.Cause{Name: "no-space", Class: iotda.CauseDevice, Max: 3, Backoff: p.Attempts.Backoff}, p.Cause("", "Not enough storage"), "the built-in table does not change how often")
}

func TestATargetForWhichAloneACallWasRefusedIsGivenUp(t *testing.T) {
	p, f := newPolicy(), facts()
	f.Record = policy.Record{N: 1, Counted: 1, State: policy.Rejected, RejectCode: "IOTDA.000006", Refused: true}
	require.Equal(t, policy.Verdict{Reason: policy.Permanent, Detail: "refused"}, p.Decide(f, now))
	names := map[string]bool{}
	for _, c := range policy.Causes() {
		names[c.Name] = true
	}
	require.True(t, names["refused"] && names["other"], "every cause that is counted has its series")
}

func TestTheTightestLimitCaps(t *testing.T) {
	p := newPolicy()
	open := policy.Usage{ApprovalCap: -1}
	n, limit := p.Allowance(open)
	require.Equal(t, "", limit)
	require.Greater(t, n, 1<<30)
	p.Limits = policy.Limits{TargetsPerSweep: 100, InFlight: 90, Ramp: policy.Ramp{Initial: 50, Factor: 2}}
	for _, c := range []struct {
		usage policy.Usage
		n     int
		limit string
	}{
		{open, 50, policy.CapRamp},
		{policy.Usage{Open: 50, ApprovalCap: -1}, 0, policy.CapRamp},
		{policy.Usage{Open: 60, ApprovalCap: -1}, 0, policy.CapRamp},
		{policy.Usage{Recovered: 40, Open: 10, ApprovalCap: -1}, 70, policy.CapRamp},
		{policy.Usage{Recovered: 400, InFlight: 10, ApprovalCap: -1}, 80, policy.CapInFlight},
		{policy.Usage{Recovered: 400, Claimed: 95, ApprovalCap: -1}, 5, policy.CapSweep},
		{policy.Usage{Recovered: 400, ApprovalCap: 3}, 3, policy.CapApproval},
	} {
		n, limit := p.Allowance(c.usage)
		require.Equal(t, c.n, n, "%+v", c.usage)
		require.Equal(t, c.limit, limit)
	}
	p.Limits.Ramp, p.Halt.MinOutcomes = policy.Ramp{}, 20
	n, limit = p.Allowance(policy.Usage{AfterHalt: true, ApprovalCap: -1})
	require.Equal(t, 20, n, "the first wave after a halt is small")
	require.Equal(t, policy.CapRamp, limit)
}

func TestCapLetsTheFirstThroughAndObserveSendsNone(t *testing.T) {
	due := func() []*policy.Verdict {
		return []*policy.Verdict{{Reason: policy.Due}, {Reason: policy.Due}, {Reason: policy.Due, Detail: "first attempt"}}
	}
	p, v := newPolicy(), due()
	require.Equal(t, 2, p.Cap(v, 2, policy.CapRamp))
	require.Equal(t, []*policy.Verdict{{Reason: policy.Due}, {Reason: policy.Due}, {Reason: policy.Capped, Detail: "ramp"}}, v)
	p.Mode, v = policy.ModeObserve, due()
	require.Equal(t, 1, p.Cap(v, 1, policy.CapSweep))
	require.Equal(t, []*policy.Verdict{{Reason: policy.Observed}, {Reason: policy.Capped, Detail: "targets_per_sweep"}, {Reason: policy.Capped, Detail: "targets_per_sweep"}}, v)
}

func TestAHaltTripsAtItsRatioAndNotBeforeItsMinimum(t *testing.T) {
	h := policy.Halt{On: []policy.CauseClass{iotda.CauseFirmware}, FailureRatio: 0.3, MinOutcomes: 20}
	require.False(t, h.Trips(policy.Outcomes{Failed: 19}))
	require.True(t, h.Trips(policy.Outcomes{Failed: 6, Recovered: 14}))
	require.False(t, h.Trips(policy.Outcomes{Failed: 5, Recovered: 15}))
	h.On = nil
	require.False(t, h.Trips(policy.Outcomes{Failed: 100}))
}
