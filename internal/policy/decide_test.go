package policy_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPolicy() *policy.Policy {
	return &policy.Policy{
		Name: "p", Connections: []string{"prod"},
		Tasks:   policy.TaskRules{Types: policy.TaskTypes(), Statuses: policy.TaskStatuses(), MaxAge: 30 * 24 * time.Hour, Backlog: true, Superseded: policy.SupersededSkip},
		Targets: policy.TargetRules{Statuses: []iotda.SubtaskStatus{iotda.SubtaskFail}},
		Attempts: policy.AttemptRules{
			Max: 3, Backoff: policy.Backoff{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2},
			GiveUpAfter: 14 * 24 * time.Hour, Settle: 5 * time.Minute, StaleAfter: 7 * 24 * time.Hour,
		},
	}
}

func facts() policy.Facts {
	return policy.Facts{
		Target:  policy.Target{ProjectID: "p", TaskID: "t1", DeviceID: "d1"},
		Subtask: iotda.Subtask{Target: "d1", Status: iotda.SubtaskFail, Error: &iotda.SubtaskError{Message: "Task Conflict"}},
	}
}

// cases are in the order in which Decide looks at them: each makes its reason apply.
var cases = []struct {
	reason policy.Reason
	detail string
	apply  func(*policy.Policy, *policy.Facts)
}{
	{policy.NotSelected, "Processing", func(_ *policy.Policy, f *policy.Facts) { f.Subtask.Status = iotda.SubtaskProcessing }},
	{policy.Excluded, "in targets.exclude", func(p *policy.Policy, _ *policy.Facts) { p.Targets.Exclude = must("d.*") }},
	{policy.SupersededBy, "by task t2", func(_ *policy.Policy, f *policy.Facts) { f.NewerBy = "t2" }},
	{policy.Paused, "device, by ops", func(_ *policy.Policy, f *policy.Facts) { f.Record.Paused = "device, by ops" }},
	{policy.InFlight, "in task t9", func(_ *policy.Policy, f *policy.Facts) { f.Record.OpenTask = "t9" }},
	{policy.Permanent, "unsupported-package", func(_ *policy.Policy, f *policy.Facts) {
		f.Subtask.Error = &iotda.SubtaskError{Message: "Unsupported package type"}
	}},
	{policy.Exhausted, "3 of 3 attempts", func(_ *policy.Policy, f *policy.Facts) { f.Record.N, f.Record.Counted, f.Record.FirstAt = 3, 3, now }},
	{policy.Expired, "first attempt at 2026-02-15T12:00:00Z", func(_ *policy.Policy, f *policy.Facts) {
		f.Record.N, f.Record.Counted, f.Record.FirstAt = max(f.Record.N, 1), max(f.Record.Counted, 1), now.Add(-14*24*time.Hour)
	}},
	{policy.InBackoff, "attempt 2 of 3", func(_ *policy.Policy, f *policy.Facts) {
		f.Record.N, f.Record.Counted, f.Record.SeenAt = max(f.Record.N, 1), max(f.Record.Counted, 1), now
		if f.Record.FirstAt.IsZero() {
			f.Record.FirstAt = now
		}
	}},
	{policy.Due, "first attempt", func(*policy.Policy, *policy.Facts) {}},
}

func must(expr string) (out []*regexp.Regexp) {
	p, err := policy.Pattern(expr)
	if err != nil {
		panic(err)
	}
	return append(out, p)
}

func TestEachReasonAppliesAndWinsOverAllThatComeAfterIt(t *testing.T) {
	for i, c := range cases {
		for j := i; j < len(cases); j++ {
			p, f := newPolicy(), facts()
			cases[j].apply(p, &f)
			c.apply(p, &f)
			v := p.Decide(f, now)
			require.Equal(t, c.reason, v.Reason, "with %s", cases[j].reason)
			if i == j {
				require.Equal(t, c.detail, v.Detail)
			}
		}
	}
	// Paused is a reason for tasks too; offline, capped and observe come after Decide.
	require.Len(t, cases, len(policy.TargetReasons())+1-3, "a reason has no case")
}

func TestDetailsSayWhichTaskAndWhy(t *testing.T) {
	for _, c := range []struct {
		reason policy.Reason
		detail string
		apply  func(*policy.Policy, *policy.Facts)
	}{
		{policy.InFlight, "in this task", func(_ *policy.Policy, f *policy.Facts) { f.Record.OpenTask = "t1" }},
		{policy.Excluded, "not in targets.include", func(p *policy.Policy, _ *policy.Facts) { p.Targets.Include = must("d") }},
		{policy.SupersededBy, "perhaps: a newer task's members could not be read", func(_ *policy.Policy, f *policy.Facts) { f.NewerUnknown = true }},
		{policy.Permanent, "not-in-task", func(_ *policy.Policy, f *policy.Facts) {
			f.Record = policy.Record{N: 1, Counted: 1, State: policy.Rejected, RejectCode: "IOTDA.014219"}
		}},
		{policy.Due, "first attempt", func(p *policy.Policy, f *policy.Facts) {
			p.Tasks.Superseded, f.NewerBy = policy.SupersededRetry, "t2"
		}},
		{policy.Due, "first attempt", func(_ *policy.Policy, f *policy.Facts) { f.Record = policy.Record{N: 4, State: policy.Released} }},
	} {
		p, f := newPolicy(), facts()
		c.apply(p, &f)
		v := p.Decide(f, now)
		require.Equal(t, c.reason, v.Reason)
		require.Equal(t, c.detail, v.Detail)
	}
}

func TestATargetRestsForItsBackoffAndIsThenDueToTheInstant(t *testing.T) {
	p, f := newPolicy(), facts()
	for n, base := range map[int]time.Duration{1: 30 * time.Minute, 2: 90 * time.Minute} {
		f.Record = policy.Record{N: n, Counted: n, FirstAt: now, SeenAt: now}
		v := p.Decide(f, now)
		require.Equal(t, policy.InBackoff, v.Reason)
		require.InDelta(t, float64(base), float64(v.NotBefore.Sub(now)), float64(base)*0.2)
		require.Equal(t, policy.InBackoff, p.Decide(f, v.NotBefore.Add(-1)).Reason)
		require.Equal(t, policy.Due, p.Decide(f, v.NotBefore).Reason)
		require.Equal(t, v, p.Decide(f, now), "deciding twice gives the same")
	}
}

func TestBackoffGrowsToItsMaxAndNeverOverflows(t *testing.T) {
	b := newPolicy().Attempts.Backoff
	rapid.Check(t, func(t *rapid.T) {
		counted, n := rapid.IntRange(1, 100000).Draw(t, "counted"), rapid.IntRange(1, 100000).Draw(t, "n")
		rest := b.After(counted, n, policy.Target{DeviceID: rapid.String().Draw(t, "device")})
		require.GreaterOrEqual(t, rest, time.Duration(0.8*float64(b.Initial)))
		require.LessOrEqual(t, rest, time.Duration(1.2*float64(b.Max)))
	})
	spread := map[time.Duration]bool{}
	for n := range 50 {
		spread[b.After(1, n, facts().Target)] = true
	}
	require.Greater(t, len(spread), 45, "the jitter differs between attempts")
}

func TestATaskBelongsToTheFirstPolicyThatSelectsItWhateverItsStatusAndAge(t *testing.T) {
	first, second := newPolicy(), newPolicy()
	first.Name, first.Tasks.Names = "first", must("fw-.*")
	first.Tasks.MaxAge = time.Hour
	second.Name = "second"
	all := []*policy.Policy{first, second}
	task := iotda.Task{ID: "a", Name: "fw-1", Type: iotda.FirmwareUpgrade, Status: iotda.TaskStopped, CreateTime: "20200101T000000Z"}
	require.Same(t, first, policy.Owner(all, "prod", task))
	require.Equal(t, policy.Verdict{Reason: policy.TaskStatus, Detail: "Stopped"}, first.DecideTask(policy.TaskFacts{Task: task, Owner: first}, now))
	task.Status = iotda.TaskFail
	require.Equal(t, policy.TaskAge, first.DecideTask(policy.TaskFacts{Task: task, Owner: first}, now).Reason)
	task.CreateTime = now.Add(-time.Minute).Format(iotda.TimeLayout)
	require.Zero(t, first.DecideTask(policy.TaskFacts{Task: task, Owner: first}, now))
	require.Equal(t, policy.Verdict{Reason: policy.OtherPolicy, Detail: "first"}, second.DecideTask(policy.TaskFacts{Task: task, Owner: first}, now))
	task.CreateTime = "soon"
	require.Equal(t, policy.TaskAge, first.DecideTask(policy.TaskFacts{Task: task, Owner: first}, now).Reason, "an age that is not known is too old")
	task.Name = "sw"
	require.Same(t, second, policy.Owner(all, "prod", task))
	require.Nil(t, policy.Owner(all, "other", task))
	second.Tasks.IDs = []string{"b"}
	require.Nil(t, policy.Owner(all, "prod", task))
	task.Status = "Paused"
	require.Equal(t, policy.TaskStatus, second.DecideTask(policy.TaskFacts{Task: task, Owner: second}, now).Reason, "a word that is not known is left alone")
}

func TestAPatternMatchesTheWholeText(t *testing.T) {
	for expr, texts := range map[string][2]string{"a|b": {"b", "ab"}, "fw": {"fw", "fw-1"}, "x.*": {"xyz", "yx"}} {
		re := must(expr)[0]
		require.True(t, re.MatchString(texts[0]))
		require.False(t, re.MatchString(texts[1]))
		require.False(t, re.MatchString(texts[0]+"\n"))
	}
	_, err := policy.Pattern("a(")
	require.ErrorContains(t, err, "`a(`")
}

func BenchmarkDecide(b *testing.B) {
	p := newPolicy()
	p.Targets.Exclude = must("test-.*")
	rows := make([]policy.Facts, 3000)
	for i := range rows {
		rows[i] = facts()
		rows[i].Target.DeviceID = fmt.Sprintf("device-%05d", i)
		if i%3 > 0 {
			rows[i].Record = policy.Record{N: i % 3, Counted: i % 3, FirstAt: now.Add(-time.Hour), SeenAt: now.Add(-time.Duration(i) * time.Minute)}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range rows {
			p.Decide(rows[i], now)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/target")
}
