package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

func TestAListOfTasksSaysHowEachStands(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		shown := listed(task, "fw-2.1")
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{shown, listed("bb", "fw-2.2")}))
		attempt(t, s, "open", 0, policy.Accepted)
		attempt(t, s, "recovered", 0, policy.Accepted)
		settle(t, s, "recovered", policy.Recovered)
		attempt(t, s, "again", 0, policy.Rejected)
		closed(t, s, "again", "ended", "ended-too")
		want := store.TaskRow{ProjectID: project, Task: shown, FirstSeen: p.now, LastSeen: p.now, Counts: map[string]int{}, Limits: map[string]int{}, Open: 1}
		want.Ended = map[string]int{"recovered": 1, "exhausted": 3}
		one := func() store.TaskRow {
			rows, next, err := s.ListTasks(t.Context(), store.TaskFilter{TaskID: task}, store.Page{Limit: 2})
			require.NoError(t, err)
			require.Len(t, rows, 1)
			require.Empty(t, next)
			return rows[0]
		}
		require.Equal(t, want, one())

		p.sleep(time.Minute)
		counts := store.TaskCounts{TaskID: task, Policy: "upgrades", Connection: "prod", Counts: map[string]int{"due": 3, "capped": 2}, Limits: map[string]int{"ramp": 2}, Detail: "why"}
		require.NoError(t, s.CountTasks(t.Context(), project, []store.TaskCounts{counts}))
		attempt(t, s, "again", 1, policy.Rejected)
		want.Policy, want.Connection, want.Counts, want.Limits, want.Detail, want.CountedAt = "upgrades", "prod", counts.Counts, counts.Limits, "why", p.now
		want.Ended = map[string]int{"recovered": 1, "exhausted": 2}
		require.Equal(t, want, one(), "a target that is retried once more has not come to its end")

		require.NoError(t, s.TaskGone(t.Context(), project, task))
		rows, _, err := s.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 2})
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, "bb", rows[0].ID)
		rows, _, err = s.ListTasks(t.Context(), store.TaskFilter{Gone: true}, store.Page{Limit: 2})
		require.NoError(t, err)
		require.Len(t, rows, 2)
		want.GoneAt = p.now
		require.Equal(t, want, rows[1])
	})
}

func TestAListOfTargetsAndAttemptsSaysWhatIsKnown(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "fw-2.1")}))
		c := claim(task, 9, store.Candidate{DeviceID: "d"})
		c.Tick, c.SendBy = epoch.Add(-time.Second), epoch.Add(time.Minute)
		claimed, _, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		p.sleep(time.Second)
		_, err = s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: p.now, RequestID: "r1"}})
		require.NoError(t, err)
		p.sleep(time.Minute)
		open, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		o := policy.Settlement{Attempt: open[0], At: p.now, Detail: "seen twice", Code: "IOTDA.1", Text: "no power", Cause: policy.Cause{Name: "battery", Class: "device"}}
		o.State, o.FailSeenAt, o.MotionSeen = policy.Failed, time.Time{}, false
		_, err = s.Settle(t.Context(), []policy.Settlement{o})
		require.NoError(t, err)

		attempts, _, err := s.ListAttempts(t.Context(), store.AttemptFilter{}, store.Page{Limit: 5})
		require.NoError(t, err)
		require.Len(t, attempts, 1)
		made := store.AttemptRow{
			Attempt: open[0], SettledAt: p.now, Tick: c.Tick, Code: "IOTDA.1", Text: "no power", Detail: "seen twice", Rule: "battery", Class: "device", RequestID: "r1", Weight: 1,
		}
		made.State = policy.Failed
		require.Equal(t, made, attempts[0])

		one := func() store.TargetRow {
			targets, _, err := s.ListTargets(t.Context(), store.TargetFilter{}, store.Page{Limit: 5})
			require.NoError(t, err)
			require.Len(t, targets, 1)
			return targets[0]
		}
		want := store.TargetRow{
			Target: open[0].Target, TaskType: "firmwareUpgrade", TaskName: "fw-2.1", Policy: "upgrades", Connection: "prod", Record: record(t, s, task, "d"),
			CauseCode: "IOTDA.1", CauseText: "no power", Rule: "battery", Class: "device", LastClaimed: epoch, LastAnswered: epoch.Add(time.Second), LastSettled: p.now,
		}
		require.Equal(t, want, one())

		p.sleep(time.Minute)
		_, err = s.CloseTargets(t.Context(), store.Closings{ProjectID: project, TaskID: task, Policy: "renamed", Connection: "test", Targets: []store.Closing{
			{DeviceID: "d", Outcome: "permanent", Detail: "rule own", LastN: 1, Attempts: 1, Code: "IOTDA.2", Text: "no such version", Cause: policy.Cause{Name: "own", Class: iotda.CauseFirmware}},
		}})
		require.NoError(t, err)
		want.Record = record(t, s, task, "d")
		want.Ended, want.EndedAt, want.EndDetail = "permanent", p.now, "rule own"
		want.CauseCode, want.CauseText, want.Rule, want.Class = "IOTDA.2", "no such version", "own", string(iotda.CauseFirmware)
		require.Equal(t, want, one())

		attempt(t, s, "d", 1, policy.Rejected)
		row := one()
		require.Equal(t, []string{"", "", "IOTDA.1", "why"}, []string{row.Ended, row.EndDetail, row.CauseCode, row.CauseText}, "it goes on, and failed for another cause")
		require.Zero(t, row.EndedAt)
	})
}

func TestAListOfPoliciesSaysHowTheirSweepsWent(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for _, name := range []string{"upgrades", "configs"} {
			_, err := s.Baseline(t.Context(), name, "prod")
			require.NoError(t, err)
		}
		sweep := func(result string) *store.Tick {
			p.sleep(time.Hour)
			tick := store.Tick{
				Policy: "upgrades", Connection: "prod", Tick: p.now, Started: p.now, Counts: map[string]int{"due": 2}, States: map[string]int{"active": 1},
				Limits: map[string]int{"ramp": 1}, Sent: map[string]int{"accepted": 1}, Problems: []string{"task x: no answer"},
			}
			_, err := s.StartTick(t.Context(), tick)
			require.NoError(t, err)
			if result != "" {
				tick.Finished, tick.Result = p.now.Add(time.Minute), result
				require.NoError(t, s.FinishTick(t.Context(), tick))
			}
			return &tick
		}
		complete, partial := sweep("complete"), sweep("partial")
		rows := func() []store.PolicyRow {
			rows, err := s.PolicyRows(t.Context())
			require.NoError(t, err)
			return rows
		}
		want := []store.PolicyRow{{Policy: "configs", Connection: "prod", FirstSeen: epoch}, {Policy: "upgrades", Connection: "prod", FirstSeen: epoch, Last: partial, LastComplete: complete}}
		require.Equal(t, want, rows())

		running := sweep("")
		got := rows()[1].Running
		require.NotNil(t, got)
		require.Equal(t, running.Tick, got.Tick)
		require.Equal(t, partial, rows()[1].Last)
		list, _, err := s.ListSweeps(t.Context(), store.SweepFilter{Result: "running"}, store.Page{Limit: 5})
		require.NoError(t, err)
		require.Equal(t, []store.Tick{*got}, list)

		_, err = s.StartTick(t.Context(), *partial) // an older one is swept again
		require.NoError(t, err)
		require.Equal(t, running.Tick, rows()[1].Running.Tick)
		last := sweep("complete")
		require.Nil(t, rows()[1].Running)
		require.Equal(t, last, rows()[1].LastComplete)
	})
}

func TestProgressIsKeptWheneverItChanges(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		see := func(success, fail int) {
			shown := listed(task, "fw")
			shown.Total, shown.Success, shown.Fail = 10, success, fail
			require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{shown, listed("bb", "other")}))
			p.sleep(time.Minute)
		}
		read := func(since time.Time) []store.Progress {
			progress, err := s.TaskProgress(t.Context(), project, task, since)
			require.NoError(t, err)
			return progress
		}
		for _, success := range []int{1, 1, 2, 2, 2, 5} {
			see(success, 3)
		}
		see(5, 4)
		want := []store.Progress{
			{At: epoch, Total: 10, Success: 1, Fail: 3}, {At: epoch.Add(2 * time.Minute), Total: 10, Success: 2, Fail: 3},
			{At: epoch.Add(5 * time.Minute), Total: 10, Success: 5, Fail: 3}, {At: epoch.Add(6 * time.Minute), Total: 10, Success: 5, Fail: 4},
		}
		require.Equal(t, want, read(epoch.Add(-time.Hour)))
		require.Equal(t, want[1:], read(epoch.Add(4*time.Minute)), "from the one that held then")
		require.Equal(t, want[3:], read(epoch.Add(time.Hour)))

		p.now = epoch.Add(keep + 3*time.Minute)
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, want[1:], read(epoch), "what held then, and what came later")
		p.sleep(10 * keep)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, want[3:], read(epoch), "what holds now")
	})
}

func TestOutcomesAreCountedByTheHour(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		p.sleep(59 * time.Minute)
		for n := range 22 {
			attempt(t, s, "d", n, policy.Rejected)
		}
		attempt(t, s, "e", 0, policy.Accepted)
		attempt(t, s, "f", 0, policy.Released)
		p.sleep(time.Minute)
		settle(t, s, "e", policy.Recovered)
		closed(t, s, "d", "never-tried")
		closed(t, s, "d")
		whole := claim("bb", 9, store.Candidate{DeviceID: policy.WholeTask})
		whole.Covers = []string{"x", "y", "z"}
		claimed, _, err := s.Claim(t.Context(), whole)
		require.NoError(t, err)
		_, err = s.Answered(t.Context(), project, "bb", []store.Answer{{Claimed: claimed[0], State: policy.Rejected, AnsweredAt: p.now}})
		require.NoError(t, err)

		hours, err := s.Hours(t.Context(), epoch.Add(30*time.Minute))
		require.NoError(t, err)
		var want []store.HourRow
		add := func(hour time.Time, outcome string, n, count int) {
			want = append(want, store.HourRow{Hour: hour, Policy: "upgrades", Connection: "prod", Outcome: outcome, N: n, Count: count})
		}
		for n := 1; n < 20; n++ {
			add(epoch, "rejected", n, 1)
		}
		add(epoch, "rejected", 20, 3)
		next := epoch.Add(time.Hour)
		add(next, "exhausted", 0, 1)
		add(next, "exhausted", 20, 1)
		add(next, "recovered", 1, 1)
		add(next, "rejected", 1, 3)
		require.Equal(t, want, hours, "a whole task is as many as it has targets, and an end is one once")

		p.sleep(23 * 30 * 24 * time.Hour)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		hours, err = s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		require.Equal(t, want, hours, "for longer than anything else")
		p.sleep(2 * 30 * 24 * time.Hour)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		hours, err = s.Hours(t.Context(), time.Time{})
		require.NoError(t, err)
		require.Empty(t, hours)
	})
}

func TestAnEndIsCountedWithTheAttemptsOfTheWholeTask(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Rejected)
		c := claim(task, 9, store.Candidate{DeviceID: policy.WholeTask})
		c.Covers = []string{"d", "e"}
		claimed, _, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		_, err = s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: p.now}})
		require.NoError(t, err)
		settle(t, s, policy.WholeTask, policy.Failed)
		closed(t, s, "d", "e")
		hours, err := s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		ends := map[int]int{}
		for _, h := range hours {
			if h.Outcome == "exhausted" {
				ends[h.N] = h.Count
			}
		}
		require.Equal(t, map[int]int{1: 1, 2: 1}, ends)
	})
}

func TestWhatIsSummedUpOfATaskGoesWithIt(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "fw"), listed("bb", "other")}))
		closed(t, s, "d", "e")
		require.NoError(t, s.TaskGone(t.Context(), project, task))
		p.sleep(2 * keep)
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Empty(t, check(t, s))
		var ends, progress int
		require.NoError(t, p.raw(t).QueryRow(`SELECT (SELECT count(*) FROM ends), (SELECT count(*) FROM progress)`).Scan(&ends, &progress))
		require.Equal(t, []int{0, 1}, []int{ends, progress})
	})
}
