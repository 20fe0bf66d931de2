package policy_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

func TestAnAttemptMovesOnlyAsTheTableSays(t *testing.T) {
	allowed := map[[2]policy.State]bool{
		{"claimed", "accepted"}: true, {"claimed", "rejected"}: true, {"claimed", "unknown"}: true, {"claimed", "released"}: true,
		{"accepted", "recovered"}: true, {"accepted", "failed"}: true, {"accepted", "gone"}: true,
		{"unknown", "recovered"}: true, {"unknown", "failed"}: true, {"unknown", "gone"}: true,
	}
	for _, from := range policy.States() {
		for _, to := range policy.States() {
			require.Equal(t, allowed[[2]policy.State{from, to}], from.CanBecome(to), "%s -> %s", from, to)
		}
		require.Equal(t, from == "claimed" || from == "accepted" || from == "unknown", from.Open())
		require.Equal(t, from != "released", from.Counted())
	}
}

func attempt(state policy.State, terms policy.Terms) policy.Attempt {
	return policy.Attempt{N: 1, State: state, AnsweredAt: now, Terms: terms}
}

var terms = policy.Terms{Settle: 5 * time.Minute, StaleAfter: 7 * 24 * time.Hour}

func TestWhatOneReadMakesOfAnOpenAttempt(t *testing.T) {
	waitFails := terms
	waitFails.WaitRetryFails = true
	for _, c := range []struct {
		status            iotda.SubtaskStatus
		task              iotda.TaskStatus
		accepted, unknown policy.State // after settle
		terms             policy.Terms
	}{
		{"Success", "Processing", "recovered", "recovered", terms},
		{"Fail", "Fail", "accepted", "failed", terms}, // an accepted one has to be seen twice
		{"FailWaitRetry", "Processing", "accepted", "unknown", terms},
		{"FailWaitRetry", "Processing", "accepted", "failed", waitFails},
		{"Processing", "Processing", "accepted", "unknown", terms},
		{"Waitting", "Processing", "accepted", "unknown", terms},
		{"Paused", "Processing", "accepted", "unknown", terms},
		{"Stopped", "Processing", "gone", "gone", terms},
		{"Removed", "Processing", "gone", "gone", terms},
		{"Processing", "Stopping", "gone", "gone", terms},
		{"", "Stopped", "gone", "gone", terms},
		{"", "Processing", "accepted", "unknown", terms},
		{"Success", "Stopped", "recovered", "recovered", terms},
	} {
		for state, want := range map[policy.State]policy.State{policy.Accepted: c.accepted, policy.Unknown: c.unknown} {
			o := policy.Observation{At: now.Add(5 * time.Minute), Status: c.status, TaskStatus: c.task}
			s, _ := policy.Observe(attempt(state, c.terms), o)
			require.Equal(t, want, s.State, "%s of a task %s, %s", c.status, c.task, state)
			o.At = now.Add(5*time.Minute - 1)
			s, _ = policy.Observe(attempt(state, c.terms), o)
			require.Equal(t, state, s.State, "nothing settles before settle has passed")
			o.At = now.Add(7 * 24 * time.Hour)
			s, _ = policy.Observe(attempt(state, c.terms), o)
			if want.Open() && c.unknown.Open() {
				require.Equal(t, policy.Gone, s.State)
				require.Equal(t, policy.NoOutcome, s.Detail)
			}
		}
	}
}

func TestAnAcceptedAttemptHasFailedWhenReadTwiceOrAfterMotion(t *testing.T) {
	a := attempt(policy.Accepted, terms)
	first := now.Add(5 * time.Minute)
	s, changed := policy.Observe(a, policy.Observation{At: first, Status: "Fail"})
	require.True(t, changed)
	require.Equal(t, first, s.FailSeenAt)
	s, _ = policy.Observe(s.Attempt, policy.Observation{At: first.Add(time.Minute), Status: "Fail", Code: "c", Text: "t"})
	require.Equal(t, policy.Failed, s.State)
	require.Equal(t, first, s.At, "it is dated by the first read that showed it")
	require.Equal(t, "c", s.Code)

	moving, changed := policy.Observe(a, policy.Observation{At: now.Add(time.Second), Status: "Processing"})
	require.True(t, changed)
	s, _ = policy.Observe(moving.Attempt, policy.Observation{At: first, Status: "Fail"})
	require.Equal(t, policy.Failed, s.State)

	seen, _ := policy.Observe(a, policy.Observation{At: first, Status: "Fail"})
	again, _ := policy.Observe(seen.Attempt, policy.Observation{At: first.Add(1), Status: "Waitting"})
	require.True(t, again.FailSeenAt.IsZero(), "it had not begun when it read Fail")
}

func TestNoSequenceOfReadsBreaksAnAttempt(t *testing.T) {
	statuses := append(iotda.SubtaskStatuses(), "", "Paused")
	rapid.Check(t, func(t *rapid.T) {
		a := attempt(rapid.SampledFrom([]policy.State{policy.Accepted, policy.Unknown}).Draw(t, "state"), terms)
		for range rapid.IntRange(1, 20).Draw(t, "reads") {
			before := a
			o := policy.Observation{
				At:     now.Add(time.Duration(rapid.IntRange(-60, 9*24*60).Draw(t, "minute")) * time.Minute),
				Status: rapid.SampledFrom(statuses).Draw(t, "status"), TaskStatus: rapid.SampledFrom(iotda.TaskStatuses()).Draw(t, "task"),
			}
			s, changed := policy.Observe(a, o)
			a = s.Attempt
			require.Equal(t, before != a, changed)
			if before.State != a.State {
				require.True(t, before.State.CanBecome(a.State))
				require.False(t, o.At.Before(now.Add(terms.Settle)))
			}
			if o.At.Before(now) || !before.State.Open() {
				require.Equal(t, before, a)
			}
			if before.State.Open() && o.Status == iotda.SubtaskSuccess && !o.At.Before(now.Add(terms.Settle)) {
				require.Equal(t, policy.Recovered, a.State)
			}
		}
	})
}

func TestAPassIsCompleteOnlyIfEachConditionHolds(t *testing.T) {
	progress := iotda.Progress{Total: 10, Success: 7, Fail: 3}
	good := policy.Pass{Before: progress, After: progress, Failed: 3, FirstRead: now.Add(5 * time.Minute)}
	require.True(t, good.Complete(now, 5*time.Minute))
	for name, spoil := range map[string]func(*policy.Pass){
		"progress moved":   func(p *policy.Pass) { p.Before.Fail = 4 },
		"some in motion":   func(p *policy.Pass) { p.Before.Success, p.After.Success = 6, 6 },
		"a row was missed": func(p *policy.Pass) { p.Failed = 2 },
		"a retry was sent": func(p *policy.Pass) { p.Posted = true },
		"pages are uneven": func(p *policy.Pass) { p.Uneven = true },
		"read too early":   func(p *policy.Pass) { p.FirstRead = p.FirstRead.Add(-1) },
		"an empty task":    func(p *policy.Pass) { p.Before, p.After, p.Failed = iotda.Progress{}, iotda.Progress{}, 0 },
	} {
		p := good
		spoil(&p)
		require.False(t, p.Complete(now, 5*time.Minute), name)
	}
}

// TestACompletePassNeverTakesAFailureForASuccess reads a task page by page while rows
// go on as a platform lets them: a failed one only moves when it is retried.
func TestACompletePassNeverTakesAFailureForASuccess(t *testing.T) {
	complete := 0
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		rows := make([]iotda.SubtaskStatus, rapid.IntRange(1, 30).Draw(t, "rows"))
		for i := range rows {
			rows[i] = []iotda.SubtaskStatus{"Success", "Success", "Fail", "Processing"}[r.IntN(4)]
			if rapid.Bool().Draw(t, "settled") && rows[i] == "Processing" {
				rows[i] = "Success"
			}
		}
		count := func() (p iotda.Progress) {
			p.Total = len(rows)
			for _, s := range rows {
				switch s {
				case "Success":
					p.Success++
				case "Fail":
					p.Fail++
				default:
					p.Processing++
				}
			}
			return p
		}
		failed := map[int]bool{}
		pass := policy.Pass{Before: count(), FirstRead: now.Add(time.Hour)}
		for i := len(rows) - 1; i >= 0; i-- { // a page of one row
			if rows[i] == "Fail" {
				failed[i] = true
			}
			pass.After = count()
			if r.IntN(3) == 0 {
				if j := r.IntN(len(rows)); rows[j] == "Processing" {
					rows[j] = []iotda.SubtaskStatus{"Success", "Fail"}[r.IntN(2)]
				}
			}
		}
		pass.Failed = len(failed)
		if !pass.Complete(now, time.Minute) {
			return
		}
		complete++
		for i, s := range rows {
			if !failed[i] {
				require.Equal(t, iotda.SubtaskSuccess, s)
			}
		}
	})
	require.NotZero(t, complete, "no pass was complete: the test shows nothing")
}
