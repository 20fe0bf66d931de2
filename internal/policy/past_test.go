package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// flags are what a person can say beside naming targets.
var flags = map[string]policy.Past{
	"nothing": {Named: true}, "past_window": {Named: true, Window: true}, "past_limit": {Named: true, Limit: true}, "past_max": {Named: true, Max: true},
	"all": {Named: true, Window: true, Limit: true, Max: true},
}

func TestWhatAPersonGoesPastForEachReasonOfATarget(t *testing.T) {
	passes := map[policy.Reason][]string{ // the flags that do; "nothing": naming does
		policy.Permanent: {"past_max", "all"}, policy.Exhausted: {"past_max", "all"}, policy.Expired: {"past_max", "all"},
		policy.InBackoff: {"nothing", "past_window", "past_limit", "past_max", "all"},
	}
	for _, c := range cases {
		if c.reason == policy.Due {
			continue
		}
		for name, past := range flags {
			p, f := newPolicy(), facts()
			c.apply(p, &f)
			f.Past = past
			v := p.Decide(f, now)
			if !slices.Contains(passes[c.reason], name) {
				require.Equal(t, c.reason, v.Reason, name)
				continue
			}
			require.Equal(t, policy.Due, v.Reason, "%s, %s", c.reason, name)
			require.Greater(t, p.CauseOf(f).Max, f.Record.Counted, "the claim takes it too")
			if past.Max {
				require.LessOrEqual(t, p.CauseOf(f).Max, max(p.Attempts.Max, f.Record.Counted+1), "one attempt more, and not another")
			}
		}
	}
}

func TestWhatAPersonGoesPastForEachReasonOfATask(t *testing.T) {
	all := []string{"nothing", "past_window", "past_limit", "past_max", "all"}
	tasks := []struct {
		reason policy.Reason
		passes []string
		apply  func(*policy.Policy, *policy.TaskFacts)
	}{
		{policy.OtherPolicy, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Owner = &policy.Policy{Name: "another"} }},
		{policy.TaskStatus, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Task.Status = iotda.TaskStopped }},
		{policy.TaskStatus, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Refused = true }},
		{policy.TaskAge, all, func(_ *policy.Policy, f *policy.TaskFacts) { f.Task.CreateTime = "20200101T000000Z" }},
		{policy.TaskAge, all, func(_ *policy.Policy, f *policy.TaskFacts) { f.Task.CreateTime = "soon" }},
		{policy.Backlog, all, func(p *policy.Policy, f *policy.TaskFacts) { p.Tasks.Backlog, f.FirstSeen = false, now }},
		{policy.ConnectionDown, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Down = "auth" }},
		{policy.Paused, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Paused = "by ann" }},
		{policy.OutsideWindow, []string{"past_window", "all"}, func(p *policy.Policy, _ *policy.TaskFacts) {
			p.Blackouts = []policy.Blackout{{From: now.Add(-time.Hour), To: now.Add(time.Hour)}}
		}},
		{policy.AwaitingApproval, all, func(p *policy.Policy, f *policy.TaskFacts) { p.Mode, f.Approval = policy.ModeApprove, "not approved" }},
		{policy.Halted, nil, func(_ *policy.Policy, f *policy.TaskFacts) { f.Halted = "9 of 10" }},
	}
	met := map[policy.Reason]bool{}
	for _, c := range tasks {
		met[c.reason] = true
		for name, past := range flags {
			p := newPolicy()
			f := policy.TaskFacts{Owner: p, Past: past, Task: iotda.Task{Type: iotda.FirmwareUpgrade, Status: iotda.TaskFail, CreateTime: now.Add(-time.Hour).Format(iotda.TimeLayout)}}
			c.apply(p, &f)
			if slices.Contains(c.passes, name) {
				require.Zero(t, p.DecideTask(f, now), "%s, %s", c.reason, name)
			} else {
				require.Equal(t, c.reason, p.DecideTask(f, now).Reason, name)
			}
			f.Past = policy.Past{}
			require.Equal(t, c.reason, p.DecideTask(f, now).Reason, "in a sweep")
		}
	}
	require.Len(t, met, len(policy.TaskReasons()), "a reason has no case")
}

func TestWhatAPersonGoesPastOfLimitsAndModes(t *testing.T) {
	for name, past := range flags {
		p := newPolicy()
		p.Mode = policy.ModeObserve
		p.Limits = policy.Limits{TargetsPerSweep: 3, InFlight: 2, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 1, Factor: 2}}
		u := policy.Usage{ApprovalCap: -1, AfterHalt: true}
		n, limit := past.Allowance(p, u)
		if past.Limit {
			require.Greater(t, n, 1<<30, name)
			require.Empty(t, limit)
		} else {
			require.Equal(t, 1, n, name)
			require.Equal(t, policy.CapRamp, limit)
		}
		due := []*policy.Verdict{{Reason: policy.Due}, {Reason: policy.Due}}
		require.Equal(t, 1, past.Cap(p, due, 1, "ramp"))
		require.Equal(t, []policy.Reason{policy.Due, policy.Capped}, []policy.Reason{due[0].Reason, due[1].Reason}, "whoever names targets does more than observe")
		require.Equal(t, 2, policy.Past{}.Cap(p, []*policy.Verdict{due[0], due[1]}, 2, "ramp"))
		require.Equal(t, policy.Observed, due[0].Reason)
		require.Equal(t, policy.ModeObserve, p.Mode)
	}
}
