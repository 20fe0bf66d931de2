package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// refusal claims a device, and gives the gate that was closed.
func refusal(t *testing.T, s *store.Store, c store.Claim) *store.GateError {
	claimed, _, err := s.Claim(t.Context(), c)
	if err == nil {
		require.NotEmpty(t, claimed)
		return nil
	}
	var gate *store.GateError
	require.ErrorAs(t, err, &gate)
	require.Empty(t, claimed)
	return gate
}

func TestAPauseHoldsBackWhatItIsOfAndNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		other := scope("bb") // all different from that of task
		other.Policy, other.Connection, other.Identity = "others", "test", "host  q"
		n := 0
		for _, pause := range []store.Pause{
			{Scope: store.PauseAll},
			{Scope: store.PauseConnection, Connection: "prod", Identity: "host  p"},
			{Scope: store.PausePolicy, Policy: "upgrades"},
			{Scope: store.PauseTask, ProjectID: project, TaskID: task},
		} {
			n++
			pause.Who, pause.Why = "ann", "wrong package"
			action := store.Action{Who: "ann", Source: "terminal", What: "pause", Why: pause.Why}
			pauseNow(t, s, action, pause)
			held, err := s.Pauses(t.Context())
			require.NoError(t, err)
			require.Len(t, held, 1)
			pause.ID, pause.At = held[0].ID, p.now
			require.Equal(t, pause, held[0])
			text := string(pause.Scope) + ", by ann since 2026-11-25T12:00:00Z: wrong package"
			require.Equal(t, &store.GateError{Reason: policy.Paused, Detail: text}, refusal(t, s, claim(task, 99, store.Candidate{DeviceID: "d"})))
			gates, err := s.Gates(t.Context(), scope(task))
			require.NoError(t, err)
			require.Equal(t, text, gates.Paused)
			require.EqualError(t, gates.Err(), "paused: "+text)
			c := claim("bb", 99, store.Candidate{DeviceID: "elsewhere", LastN: n - 1})
			c.Scope = other
			if pause.Scope == store.PauseAll {
				require.NotNil(t, refusal(t, s, c))
				n--
			} else {
				require.Nil(t, refusal(t, s, c))
				_, err = s.Answered(t.Context(), project, "bb", []store.Answer{{Claimed: store.Claimed{DeviceID: "elsewhere", N: n}, State: policy.Rejected, AnsweredAt: p.now}})
				require.NoError(t, err)
			}
			narrower := store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "d"}
			_, err = s.Resume(t.Context(), action, narrower)
			require.ErrorIs(t, err, store.ErrNoPause, "it ends in its own scope only")
			would, err := s.WouldResume(t.Context(), pause)
			require.NoError(t, err)
			ended, err := s.Resume(t.Context(), action, pause)
			require.NoError(t, err)
			require.Equal(t, would, ended)
			require.Len(t, ended.Pauses, 1)
			require.Empty(t, ended.Halts)
			_, err = s.WouldResume(t.Context(), pause)
			require.ErrorIs(t, err, store.ErrNoPause)
			gates, err = s.Gates(t.Context(), scope(task))
			require.NoError(t, err)
			require.NoError(t, gates.Err())
		}
		var actions int
		require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM actions`).Scan(&actions))
		require.Equal(t, 8, actions, "each is on record, and what ended nothing is not")
	})
}

func TestAPausedDeviceIsDroppedAndTheRestGo(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		pause := store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "d", Who: "ann", Until: p.now.Add(time.Hour)}
		pauseNow(t, s, store.Action{Who: "ann"}, pause)
		r := record(t, s, task, "d")
		require.Equal(t, "device, by ann since 2026-11-25T12:00:00Z until 2026-11-25T13:00:00Z", r.Paused)
		require.Equal(t, pause.Until, r.PauseEnds)
		require.Equal(t, "device d in task "+task, pause.Subject())
		require.Empty(t, record(t, s, "bb", "d").Paused)
		claimed, dropped, err := s.Claim(t.Context(), claim(task, 1, store.Candidate{DeviceID: "d"}, store.Candidate{DeviceID: "e"}))
		require.NoError(t, err)
		require.Equal(t, []store.Claimed{{DeviceID: "e", N: 1}}, claimed)
		require.Equal(t, []store.Dropped{{DeviceID: "d", Why: "it is paused: " + r.Paused}}, dropped)
		p.sleep(time.Hour)
		require.Nil(t, refusal(t, s, claim(task, 1, store.Candidate{DeviceID: "d"})), "it has ended by itself")
		held, err := s.Pauses(t.Context())
		require.NoError(t, err)
		require.Empty(t, held)
	})
}

func TestAPauseSaysHowMuchItDoesNotCallBack(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "accepted", 0, policy.Accepted)
		attempt(t, s, "rejected", 0, policy.Rejected)
		c := claim("bb", 1, store.Candidate{DeviceID: "claimed"})
		c.Policy, c.Connection = "others", "test"
		require.Nil(t, refusal(t, s, c))
		for _, row := range []struct {
			pause store.Pause
			want  int
		}{
			{store.Pause{Scope: store.PauseAll}, 2},
			{store.Pause{Scope: store.PauseConnection, Connection: "prod"}, 1},
			{store.Pause{Scope: store.PausePolicy, Policy: "others"}, 1},
			{store.Pause{Scope: store.PausePolicy, Policy: "none"}, 0},
			{store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: task}, 1},
			{store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "accepted"}, 1},
			{store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "rejected"}, 0},
		} {
			n, which, err := s.OpenIn(t.Context(), row.pause)
			require.NoError(t, err)
			require.Equal(t, row.want, n, "%+v", row.pause)
			require.Len(t, which, n)
		}
	})
}

func TestAPauseOfAConnectionSaysWhatItDoesNotCallBackWhateverItWasCalledThen(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "as-prod", 0, policy.Accepted) // no list has shown its task yet
		for instance, id := range map[string]string{"host  p": "bb", "other  p": "cc"} {
			seen := listed(id, id)
			seen.Identity = instance
			require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{seen}))
			c := claim(id, 1, store.Candidate{DeviceID: "in-" + id})
			c.Connection = "before-" + id
			require.Nil(t, refusal(t, s, c))
		}
		elsewhere := claim("dd", 1, store.Candidate{DeviceID: "elsewhere"})
		elsewhere.ProjectID = "q"
		require.Nil(t, refusal(t, s, elsewhere))
		n, which, err := s.OpenIn(t.Context(), store.Pause{Scope: store.PauseConnection, Connection: "renamed", Identity: "host  p"})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, []string{"as-prod", "in-bb"}, []string{which[0].DeviceID, which[1].DeviceID})
	})
}

func TestAnApprovalIsForAPolicyAsItWasATimeAndSoManyTargets(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		c := claim(task, 9, store.Candidate{DeviceID: "a"}, store.Candidate{DeviceID: "b"}, store.Candidate{DeviceID: "c"})
		c.NeedsApproval = true
		require.Equal(t, &store.GateError{Reason: policy.AwaitingApproval, Detail: "not approved"}, refusal(t, s, c))
		approval := store.Approval{ProjectID: project, TaskID: task, Policy: "upgrades", PolicyHash: "h1", Targets: 2, Until: p.now.Add(time.Hour), Who: "ann"}
		approveNow(t, s, store.Action{What: "approve"}, approval)
		claimed, dropped, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		require.Len(t, claimed, 2)
		require.Equal(t, []store.Dropped{{DeviceID: "c", Why: "the approval is for no more targets"}}, dropped)
		for _, one := range claimed {
			state := policy.Rejected
			if one.DeviceID == "b" {
				state = policy.Released // it did not happen: its place is free again
			}
			_, err := s.Answered(t.Context(), project, task, []store.Answer{{Claimed: one, State: state, AnsweredAt: p.now}})
			require.NoError(t, err)
		}
		gates, err := s.Gates(t.Context(), c.Scope)
		require.NoError(t, err)
		require.Equal(t, 1, gates.ApprovalLeft)
		require.Equal(t, map[string]int{"a": 1}, gates.Approved)
		usage, err := s.Usage(t.Context(), c.Scope, &policy.Policy{}, p.now)
		require.NoError(t, err)
		require.Equal(t, 1, usage.ApprovalCap)
		require.Equal(t, gates.Approved, usage.Approved)
		again := claim(task, 9, store.Candidate{DeviceID: "c"}, store.Candidate{DeviceID: "a", LastN: 1})
		again.NeedsApproval = true
		claimed, _, err = s.Claim(t.Context(), again)
		require.NoError(t, err)
		require.Len(t, claimed, 2, "a target that it was used for may be retried again")

		changed := c
		changed.PolicyHash = "h2"
		require.Equal(t, "the policy has changed since it was approved", refusal(t, s, changed).Detail)
		p.sleep(time.Hour)
		require.Equal(t, "its approval ended at 2026-11-25T13:00:00Z", refusal(t, s, c).Detail)
		approval.Targets, approval.Until = 0, p.now.Add(time.Hour)
		approveNow(t, s, store.Action{}, approval)
		gates, err = s.Gates(t.Context(), c.Scope)
		require.NoError(t, err)
		require.NoError(t, gates.Err())
		require.Equal(t, -1, gates.ApprovalLeft, "any number")
		valid, err := s.Approvals(t.Context())
		require.NoError(t, err)
		require.Len(t, valid, 1)
		ended, _, err := s.EndApproval(t.Context(), store.Action{What: "revoke"}, valid[0].ID)
		require.NoError(t, err)
		require.Equal(t, valid[0], ended)
		_, _, err = s.EndApproval(t.Context(), store.Action{What: "revoke"}, valid[0].ID)
		require.ErrorIs(t, err, store.ErrNoPause)
		require.Equal(t, "not approved", refusal(t, s, c).Detail)
	})
}

func TestAnApprovalOfAWholeTaskIsWornByItsWeight(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		approval := store.Approval{ProjectID: project, TaskID: task, Policy: "upgrades", PolicyHash: "h1", Targets: 2, Until: p.now.Add(time.Hour)}
		approveNow(t, s, store.Action{}, approval)
		c := claim(task, 9, store.Candidate{DeviceID: policy.WholeTask})
		c.NeedsApproval, c.Covers = true, []string{"a", "b", "c"}
		_, dropped, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, []store.Dropped{{DeviceID: policy.WholeTask, Why: "the approval is for no more targets"}}, dropped)
		c.Covers = []string{"a", "b"}
		require.Nil(t, refusal(t, s, c))
		gates, err := s.Gates(t.Context(), c.Scope)
		require.NoError(t, err)
		require.Zero(t, gates.ApprovalLeft)
	})
}

var halt = policy.Halt{On: []policy.CauseClass{"firmware"}, FailureRatio: 0.5, MinOutcomes: 2, Window: 48 * time.Hour, Scope: policy.HaltTask}

// fails has a device fail for a class of causes.
func fails(t *testing.T, s *store.Store, device string, lastN int, class policy.CauseClass) {
	attempt(t, s, device, lastN, policy.Accepted)
	open, err := s.OpenAttempts(t.Context(), project, task)
	require.NoError(t, err)
	for _, a := range open {
		o := policy.Settlement{Attempt: a, At: s.Now(), Cause: policy.Cause{Name: "rule", Class: class}}
		o.State = policy.Failed
		_, err := s.Settle(t.Context(), []policy.Settlement{o})
		require.NoError(t, err)
	}
}

func TestFailuresOfTheNamedClassesHaltATaskUntilTheCooldownEnds(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		fails(t, s, "a", 0, "firmware")
		fails(t, s, "b", 0, "network")
		_, tripped, err := s.Trip(t.Context(), scope(task), policy.Halt{Scope: policy.HaltTask})
		require.NoError(t, err)
		require.False(t, tripped, "it halts on nothing")
		_, tripped, err = s.Trip(t.Context(), scope(task), halt)
		require.NoError(t, err)
		require.False(t, tripped, "a device that is offline is no bad firmware")
		fails(t, s, "a", 1, "firmware")
		o, tripped, err := s.Trip(t.Context(), scope(task), halt)
		require.NoError(t, err)
		require.False(t, tripped, "a device counts once")
		require.Equal(t, policy.Outcomes{Failed: 1}, o)

		attempt(t, s, "c", 0, policy.Accepted)
		open, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		supposed := policy.Settlement{Attempt: open[0], Cause: policy.Cause{Class: "firmware"}}
		supposed.State = policy.Failed
		for name, more := range map[string]policy.Settlement{"": supposed, "hostile \x00\xff": {Attempt: policy.Attempt{State: policy.Recovered}}} {
			more.ProjectID, more.TaskID = project, task
			if name != "" {
				more.DeviceID = name
			}
			o, trips, err := s.WouldTrip(t.Context(), scope(task), halt, []policy.Settlement{more})
			require.NoError(t, err)
			require.True(t, trips, "%q: %+v", name, o)
		}
		settle(t, s, "c", policy.Recovered)
		cooling := halt
		cooling.Cooldown = time.Hour
		o, tripped, err = s.Trip(t.Context(), scope(task), cooling)
		require.NoError(t, err)
		require.True(t, tripped)
		require.Equal(t, policy.Outcomes{Failed: 1, Recovered: 1}, o)
		_, tripped, err = s.Trip(t.Context(), scope(task), cooling)
		require.NoError(t, err)
		require.False(t, tripped, "it is halted")
		require.Equal(t, &store.GateError{Reason: policy.Halted, Detail: "1 of 2 retried targets failed again, since 2026-11-25T12:00:00Z"},
			refusal(t, s, claim(task, 9, store.Candidate{DeviceID: "d"})))
		gates, err := s.Gates(t.Context(), scope(task))
		require.NoError(t, err)
		require.Equal(t, p.now.Add(time.Hour), gates.HaltEnds)
		require.NotNil(t, gates.Err())
		require.Nil(t, refusal(t, s, claim("bb", 9, store.Candidate{DeviceID: "z"})), "another task goes on")
		held, err := s.HeldPolicies(t.Context())
		require.NoError(t, err)
		require.Empty(t, held, "no policy is halted as a whole")

		p.sleep(time.Hour)
		require.Nil(t, refusal(t, s, claim(task, 9, store.Candidate{DeviceID: "d"})))
		usage, err := s.Usage(t.Context(), scope(task), &policy.Policy{Halt: halt}, p.now)
		require.NoError(t, err)
		require.True(t, usage.AfterHalt)
		require.Zero(t, usage.Recovered, "what was before the halt's end is not held against the task")
	})
}

func TestAPolicyThatIsHeldIsNamedAndCanBeDropped(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		fails(t, s, "a", 0, "firmware")
		fails(t, s, "b", 0, "firmware")
		whole := halt
		whole.Scope = policy.HaltPolicy
		_, tripped, err := s.Trip(t.Context(), scope(task), whole)
		require.NoError(t, err)
		require.True(t, tripped)
		require.Equal(t, policy.Halted, refusal(t, s, claim("bb", 9, store.Candidate{DeviceID: "d"})).Reason, "all its tasks are halted")
		pauseNow(t, s, store.Action{Who: "ann"}, store.Pause{Scope: store.PausePolicy, Policy: "nightly", Who: "ann"})
		pauseNow(t, s, store.Action{Who: "ann"}, store.Pause{Scope: store.PauseAll, Who: "ann"})
		held, err := s.HeldPolicies(t.Context())
		require.NoError(t, err)
		require.Equal(t, []store.Held{
			{Policy: "nightly", Why: "paused: policy, by ann since 2026-11-25T12:00:00Z"},
			{Policy: "upgrades", Why: "halted: 2 of 2 retried targets failed again, since 2026-11-25T12:00:00Z"},
		}, held)
		require.NoError(t, s.DropPolicies(t.Context(), []string{"nightly", "upgrades"}, store.Action{What: "drop"}))
		held, err = s.HeldPolicies(t.Context())
		require.NoError(t, err)
		require.Empty(t, held)
		pauses, err := s.Pauses(t.Context())
		require.NoError(t, err)
		require.Len(t, pauses, 1, "the pause of everything holds")
	})
}

func TestAPersonEndsAHalt(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		fails(t, s, "a", 0, "firmware")
		fails(t, s, "b", 0, "firmware")
		for _, scoped := range []policy.HaltScope{policy.HaltTask, policy.HaltPolicy} {
			h := halt
			h.Scope = scoped
			_, tripped, err := s.Trip(t.Context(), scope(task), h)
			require.NoError(t, err)
			require.True(t, tripped, scoped)
			pause := store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: task}
			if scoped == policy.HaltPolicy {
				pause = store.Pause{Scope: store.PausePolicy, Policy: "upgrades"}
			}
			ended, err := s.Resume(t.Context(), store.Action{What: "resume"}, pause)
			require.NoError(t, err)
			require.Len(t, ended.Halts, 1)
			_, tripped, err = s.Trip(t.Context(), scope(task), h)
			require.NoError(t, err)
			require.False(t, tripped, "what it was halted for is settled with it")
			p.sleep(time.Minute)
			fails(t, s, "a", record(t, s, task, "a").N, "firmware")
			fails(t, s, "b", record(t, s, task, "b").N, "firmware")
		}
		usage, err := s.Usage(t.Context(), scope(task), &policy.Policy{Halt: halt}, p.now)
		require.NoError(t, err)
		require.True(t, usage.AfterHalt)
	})
}

func TestUsageCountsWhatIsInUseNow(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		tick := p.now
		one := func(taskID, device string, state policy.State, change func(*store.Claim)) {
			c := claim(taskID, 9, store.Candidate{DeviceID: device})
			c.Tick = tick
			if change != nil {
				change(&c)
			}
			claimed, dropped, err := s.Claim(t.Context(), c)
			require.NoError(t, err)
			require.Empty(t, dropped)
			_, err = s.Answered(t.Context(), project, taskID, []store.Answer{{Claimed: claimed[0], State: state, AnsweredAt: p.now}})
			require.NoError(t, err)
		}
		one(task, "long-open", policy.Accepted, func(c *store.Claim) { c.Tick = tick.Add(-time.Hour) })
		p.sleep(2 * time.Hour)
		one(task, "open", policy.Accepted, nil)
		one("bb", "open-in-another", policy.Unknown, nil)
		one("bb", "of-another-policy", policy.Accepted, func(c *store.Claim) { c.Policy = "others" })
		one(task, "rejected", policy.Rejected, nil)
		one(task, "released", policy.Released, nil)
		one(task, "recovers", policy.Accepted, nil)
		settle(t, s, "recovers", policy.Recovered)
		p2 := &policy.Policy{Halt: halt, Limits: policy.Limits{TargetsPerSweep: 9, InFlight: 9, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 1}}}
		usage, err := s.Usage(t.Context(), scope(task), p2, tick)
		require.NoError(t, err)
		require.Equal(t, policy.Usage{Claimed: 4, InFlight: 2, Open: 1, Recovered: 1, ApprovalCap: -1}, usage)
		p2.Limits.InFlightFor = 0 // however long
		usage, err = s.Usage(t.Context(), scope(task), p2, tick)
		require.NoError(t, err)
		require.Equal(t, policy.Usage{Claimed: 4, InFlight: 3, Open: 2, Recovered: 1, ApprovalCap: -1}, usage)
		p.sleep(49 * time.Hour)
		usage, err = s.Usage(t.Context(), scope(task), p2, p.now)
		require.NoError(t, err)
		require.Zero(t, usage.Recovered, "that was before the window")
		require.Zero(t, usage.Claimed, "that was another sweep")
		usage, err = s.Usage(t.Context(), scope(task), &policy.Policy{Halt: halt}, tick)
		require.NoError(t, err)
		require.Equal(t, policy.Usage{ApprovalCap: -1}, usage, "nothing is held to anything")
	})
}
