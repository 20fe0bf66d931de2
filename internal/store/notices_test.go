package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func subscribed(name string) store.Subscription {
	return store.Subscription{Name: name, Events: store.Events(), All: true, Holder: "one", Hold: time.Minute}
}

// digest gives what is to be sent now, nil if nothing is.
func digest(t testing.TB, s *store.Store, sub store.Subscription) *store.Digest {
	d, dropped, _, err := s.NextDigest(t.Context(), sub)
	require.NoError(t, err)
	require.Zero(t, dropped)
	return d
}

// ends are closings of devices of a task that have had no attempt.
func ends(taskID, outcome string, devices ...string) store.Closings {
	c := store.Closings{ProjectID: project, TaskID: taskID, TaskType: "firmwareUpgrade", Policy: "upgrades", Connection: "prod"}
	for _, d := range devices {
		c.Targets = append(c.Targets, store.Closing{
			DeviceID: d, Outcome: outcome, Detail: "5 of 5", Code: "X.1", Text: "offline", Cause: policy.Cause{Name: "device-offline", Class: "device"},
		})
	}
	return c
}

// decided are closings of devices as they stand now.
func decided(t testing.TB, s *store.Store, c store.Closings) store.Closings {
	for i, target := range c.Targets {
		r := record(t, s, c.TaskID, target.DeviceID)
		c.Targets[i].LastN, c.Targets[i].Attempts = r.N, r.Counted
	}
	return c
}

func closed(t testing.TB, s *store.Store, devices ...string) {
	_, err := s.CloseTargets(t.Context(), decided(t, s, ends(task, "exhausted", devices...)))
	require.NoError(t, err)
}

func TestEachTargetThatIsReallyClosedIsANotice(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "fw-9")}))
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		require.Nil(t, digest(t, s, subscribed("chat")))
		attempt(t, s, "d1", 0, policy.Rejected)
		for range 2 { // a sweep closes what it finds closed again and again
			closed(t, s, "d1", "d2")
		}
		p.sleep(time.Second)
		_, err := s.CloseTargets(t.Context(), ends("bb", "permanent", "d3"))
		require.NoError(t, err)
		d := digest(t, s, subscribed("chat"))
		require.Equal(t, map[store.Event]int{store.TargetExhausted: 2, store.TargetPermanent: 1}, d.Events)
		require.Equal(t, 3, d.Count())
		require.Equal(t, []time.Time{epoch, epoch.Add(time.Second)}, []time.Time{d.From, d.To})
		require.Equal(t, store.Notice{
			ID: 1, At: epoch, Event: store.TargetExhausted, Policy: "upgrades", Connection: "prod", ProjectID: project, TaskID: task, TaskName: "fw-9",
			DeviceID: "d1", Attempts: 1, Detail: "5 of 5", Code: "X.1", Text: "offline", Rule: "device-offline", Class: "device",
		}, d.Targets[0])
		require.Equal(t, []store.DigestTask{
			{Policy: "upgrades", Connection: "prod", ProjectID: project, TaskID: task, Name: "fw-9", Targets: 2},
			{Policy: "upgrades", Connection: "prod", ProjectID: project, TaskID: "bb", Targets: 1},
		}, d.Tasks)
		require.Equal(t, 2, d.TaskCount)
		require.Equal(t, []store.DigestCause{{Rule: "device-offline", Class: "device", Targets: 3}}, d.Causes)
		require.Equal(t, 1, d.CauseCount)
		require.Empty(t, d.Others)
	})
}

func TestAHaltIsANoticeOfItsTaskOrOfItsPolicy(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		fails(t, s, "a", 0, "firmware")
		fails(t, s, "b", 0, "firmware")
		cooling, whole := halt, halt
		cooling.Cooldown, whole.Scope = time.Hour, policy.HaltPolicy
		for range 2 { // it is halted once
			_, _, err := s.Trip(t.Context(), scope(task), cooling)
			require.NoError(t, err)
		}
		p.sleep(time.Hour + time.Second)
		fails(t, s, "a", 1, "firmware")
		fails(t, s, "b", 1, "firmware")
		_, tripped, err := s.Trip(t.Context(), scope(task), whole)
		require.NoError(t, err)
		require.True(t, tripped)
		others := digest(t, s, subscribed("chat")).Others
		require.Len(t, others, 2)
		require.Equal(t, []string{task, ""}, []string{others[0].TaskID, others[1].TaskID})
		require.Equal(t, "2 of 2 retried targets failed again; until 2026-11-25T13:00:00Z", others[0].Detail)
		require.Equal(t, "2 of 2 retried targets failed again; until somebody resumes it", others[1].Detail)
		require.Equal(t, "upgrades", others[1].Policy)
	})
}

func TestPeopleAreToldWhenAConnectionGoesDownWhenThatChangesAndWhenItIsUpAgain(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		say := func(reason, detail string, changes bool) {
			t.Helper()
			p.sleep(time.Minute)
			c := store.ConnectionRow{Identity: "h i p", Name: "prod", Reason: reason, Detail: detail, Remedy: "mend it"}
			if reason == "" {
				c.Remedy = ""
			} else {
				c.Until = epoch.Add(time.Hour).In(time.FixedZone("", 3600))
			}
			for _, want := range []bool{changes, false} {
				changed, err := s.SetConnection(t.Context(), c)
				require.NoError(t, err)
				require.Equal(t, want, changed)
			}
		}
		say("", "", true) // nobody is told that one is up that never was down
		say("transient", "no answer\x00", true)
		say("transient", "another\xff", true) // the same state
		say("auth", "401", true)
		say("", "", true)
		say("transient", "", true)
		d := digest(t, s, subscribed("chat"))
		require.Equal(t, map[store.Event]int{store.ConnectionDown: 3, store.ConnectionUp: 1}, d.Events)
		require.Equal(t, []string{"transient", "auth", "", "transient"}, []string{d.Others[0].Code, d.Others[1].Code, d.Others[2].Code, d.Others[3].Code})
		require.Equal(t, "no answer\ufffd", d.Others[0].Text)
		require.Equal(t, "mend it", d.Others[1].Detail)
		require.Equal(t, "it was down since 2026-11-25T12:04:00Z", d.Others[2].Detail)
		var since int64
		require.NoError(t, p.raw(t).QueryRow(`SELECT since FROM connections`).Scan(&since))
		require.Equal(t, epoch.Add(6*time.Minute).UnixMicro(), since)
	})
}

func TestPeopleAreToldOnceThatATaskAwaitsApprovalAndAgainWhenThatEndsOrThePolicyChanges(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		await := func(sc store.Scope, want bool) {
			t.Helper()
			p.sleep(time.Minute)
			news, err := s.AwaitApproval(t.Context(), sc, "not approved")
			require.NoError(t, err)
			require.Equal(t, want, news)
		}
		sc := scope(task)
		await(sc, true)
		await(sc, false)
		changed := sc
		changed.PolicyHash = "h2"
		await(changed, true)
		await(changed, false)
		await(scope("bb"), true)
		p.sleep(time.Minute)
		approveNow(t, s, store.Action{}, store.Approval{ProjectID: project, TaskID: task, Policy: sc.Policy, PolicyHash: sc.PolicyHash, Until: p.now.Add(time.Minute)})
		await(sc, true) // the approval has ended
		await(sc, false)
		await(scope("bb"), false)
		d := digest(t, s, subscribed("chat"))
		require.Equal(t, map[store.Event]int{store.AwaitingApproval: 4}, d.Events)
		require.Equal(t, []string{sc.PolicyHash, "h2"}, []string{d.Others[0].PolicyHash, d.Others[1].PolicyHash})
	})
}

func TestPeopleAreToldOnceThatATaskAwaitsApprovalWhereTheClockWasPutBack(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "waits")}))
		await := func(want bool) {
			t.Helper()
			p.sleep(time.Minute)
			news, err := s.AwaitApproval(t.Context(), scope(task), "not approved")
			require.NoError(t, err)
			require.Equal(t, want, news)
		}
		approve := func() {
			approveNow(t, s, store.Action{}, store.Approval{ProjectID: project, TaskID: task, Policy: "upgrades", PolicyHash: "old", Until: p.now.Add(time.Minute)})
		}
		await(true)
		p.sleep(48 * time.Hour)
		approve()
		p.now = epoch
		await(true)
		await(false)
		p.sleep(keep + 72*time.Hour)
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		await(false)
		approve() // SQLite gives it the number of the one that is deleted
		await(true)
		await(false)
	})
}

func TestOldNoticesAreDeletedButForTasksThatStillAwaitApproval(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "waits"), listed("bb", "gone")}))
		for _, id := range []string{"aa", "bb"} {
			_, err := s.AwaitApproval(t.Context(), scope(id), "not approved")
			require.NoError(t, err)
		}
		closed(t, s, "old")
		require.NoError(t, s.TaskGone(t.Context(), project, "bb"))
		p.sleep(7*24*time.Hour + time.Second)
		closed(t, s, "new")
		_, err := s.Forget(t.Context(), 365*24*time.Hour)
		require.NoError(t, err)
		d, dropped, _, err := s.NextDigest(t.Context(), subscribed("chat"))
		require.NoError(t, err)
		require.Equal(t, 1, dropped, "of those that are left")
		require.Equal(t, "new", d.Targets[0].DeviceID)
		news, err := s.AwaitApproval(t.Context(), scope("aa"), "not approved")
		require.NoError(t, err)
		require.False(t, news)
	})
}

func TestADigestNamesTheFirstAndCountsAll(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		for i := range 25 {
			var devices []string
			for n := range i + 1 {
				devices = append(devices, fmt.Sprintf("d%02d-%02d", i, n))
			}
			c := ends(fmt.Sprintf("t%02d", i), "expired", devices...)
			for j := range c.Targets {
				c.Targets[j].Cause.Name = fmt.Sprintf("rule-%02d", i)
			}
			_, err := s.CloseTargets(t.Context(), c)
			require.NoError(t, err)
			_, err = s.AwaitApproval(t.Context(), scope(fmt.Sprintf("t%02d", i)), "not approved")
			require.NoError(t, err)
		}
		d := digest(t, s, subscribed("chat"))
		require.Equal(t, map[store.Event]int{store.TargetExpired: 325, store.AwaitingApproval: 25}, d.Events)
		require.Len(t, d.Targets, 20)
		require.Len(t, d.Others, 20)
		require.Equal(t, "d00-00", d.Targets[0].DeviceID)
		require.Equal(t, 25, d.TaskCount)
		require.Len(t, d.Tasks, 20)
		require.Equal(t, []any{"t24", 25}, []any{d.Tasks[0].TaskID, d.Tasks[0].Targets})
		require.Equal(t, 25, d.CauseCount)
		require.Len(t, d.Causes, 20)
		require.Equal(t, store.DigestCause{Rule: "rule-24", Class: "device", Targets: 25}, d.Causes[0])
	})
}
