package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/store"
)

func TestAnActionWithAKeyHappensOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "open", 0, policy.Accepted)
		a := store.Action{Who: "ann", What: "pause", Why: "a storm", Key: "k1", Fingerprint: "f"}
		pause := store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: task, Until: p.now.Add(time.Hour)}
		first, err := s.PauseNow(t.Context(), a, pause, store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "open"})
		require.NoError(t, err)
		require.False(t, first.Again)
		require.Len(t, first.Pauses, 2)
		require.Equal(t, 1, first.Accepted)
		require.Equal(t, []policy.Target{{ProjectID: project, TaskID: task, DeviceID: "open"}}, first.Which)
		before := p.dump(t)
		last, err := s.LastAction(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, last)
		news, err := s.ActionsAfter(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, news, 1)
		require.EqualValues(t, 2, news[0].ID)

		again, err := s.PauseNow(t.Context(), a, pause)
		require.NoError(t, err)
		require.True(t, again.Again)
		again.Again = false
		require.Equal(t, first, again, "the answer of the first time")
		a.Fingerprint = "another"
		_, err = s.PauseNow(t.Context(), a, pause)
		require.ErrorIs(t, err, store.ErrKeyReused)
		_, _, err = s.Approve(t.Context(), a, store.Approval{ProjectID: project, TaskID: task, Policy: "upgrades", Until: p.now.Add(time.Hour)})
		require.ErrorIs(t, err, store.ErrKeyReused)
		require.Equal(t, before, p.dump(t), "nothing has changed")

		actions, _, err := s.ListActions(t.Context(), store.ActionFilter{}, store.Page{Limit: 10})
		require.NoError(t, err)
		require.Len(t, actions, 2, "one for each pause")
		require.Equal(t, store.ActionRow{ID: 2, At: p.now, Action: store.Action{
			Who: "ann", What: "pause", Why: "a storm", Subject: "device open in task " + task, ProjectID: project, TaskID: task, DeviceID: "open",
		}}, actions[0])
	})
}

func TestActionsOnATaskAreThoseOnMoreThanItTooThatHoldForIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		a := store.Action{Who: "ann", What: "pause", Why: "a storm"}
		_, err := s.PauseNow(t.Context(), a, store.Pause{Scope: store.PauseAll},
			store.Pause{Scope: store.PauseConnection, Connection: "prod", Identity: "host  p"}, store.Pause{Scope: store.PauseConnection, Connection: "edge", Identity: "host  q"},
			store.Pause{Scope: store.PausePolicy, Policy: "upgrades"}, store.Pause{Scope: store.PausePolicy, Policy: "others"},
			store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: task}, store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: "another"})
		require.NoError(t, err)
		actions, _, err := s.ListActions(t.Context(), store.ActionFilter{ProjectID: project, TaskID: task, Wider: &store.Wider{Policy: "upgrades", Connection: "prod"}}, store.Page{Limit: 10})
		require.NoError(t, err)
		var on []string
		for _, a := range actions {
			on = append(on, a.Subject)
		}
		require.Equal(t, []string{"task " + task, "policy upgrades", "connection prod", "all"}, on)
	})
}

func TestOnePauseOrHaltIsEndedByItsNumber(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		h := policy.Halt{On: []policy.CauseClass{iotda.CauseFirmware}, FailureRatio: 0.3, MinOutcomes: 1, Window: time.Hour, Scope: policy.HaltTask}
		fails(t, s, "d", 0, iotda.CauseFirmware)
		_, tripped, err := s.Trip(t.Context(), scope(task), h)
		require.NoError(t, err)
		require.True(t, tripped)
		for _, who := range []string{"ann", "bob"} {
			pauseNow(t, s, store.Action{Who: who}, store.Pause{Scope: store.PauseAll})
		}
		pauses, err := s.Pauses(t.Context())
		require.NoError(t, err)
		halts, err := s.Halts(t.Context())
		require.NoError(t, err)
		require.Len(t, halts, 1)
		require.Equal(t, "1 of 1 retried targets failed again, since 2026-11-25T12:00:00Z", halts[0].String())

		ended, err := s.EndPause(t.Context(), store.Action{Who: "cat", What: "resume", Key: "k"}, pauses[0].ID)
		require.NoError(t, err)
		require.Equal(t, pauses[:1], ended.Pauses)
		require.Empty(t, ended.Halts)
		left, err := s.Pauses(t.Context())
		require.NoError(t, err)
		require.Equal(t, pauses[1:], left)
		ended, err = s.EndPause(t.Context(), store.Action{Who: "cat", What: "resume", Key: "k"}, pauses[0].ID)
		require.NoError(t, err)
		require.True(t, ended.Again)
		_, err = s.EndPause(t.Context(), store.Action{Who: "cat"}, pauses[0].ID)
		require.ErrorIs(t, err, store.ErrNoPause)

		_, err = s.EndHalt(t.Context(), store.Action{Who: "cat"}, halts[0].ID+1)
		require.ErrorIs(t, err, store.ErrNoPause)
		ended, err = s.EndHalt(t.Context(), store.Action{Who: "cat", What: "resume"}, halts[0].ID)
		require.NoError(t, err)
		require.Equal(t, halts, ended.Halts)
		halts, err = s.Halts(t.Context())
		require.NoError(t, err)
		require.Empty(t, halts)
	})
}

func TestATargetThatIsForgivenBeginsAnew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "failed", 0, policy.Accepted)
		settle(t, s, "failed", policy.Failed)
		attempt(t, s, "recovered", 0, policy.Accepted)
		settle(t, s, "recovered", policy.Recovered)
		closed(t, s, "spent")
		attempt(t, s, "open", 0, policy.Accepted)
		f := store.Forgiveness{ProjectID: project, TaskID: task, Devices: []string{"failed", "recovered", "spent", "open", "stranger"}}
		want := store.Forgiven{Devices: []string{"failed", "spent"}, Going: []string{"failed"}, Left: []store.Dropped{
			{DeviceID: "open", Why: "an attempt of it is open"}, {DeviceID: "recovered", Why: "it has come to its end: recovered"},
			{DeviceID: "stranger", Why: "it has never been retried in this task"},
		}}
		before := p.dump(t)
		would, err := s.WouldForgive(t.Context(), f)
		require.NoError(t, err)
		require.Equal(t, want, would)
		require.Equal(t, before, p.dump(t))
		all, err := s.WouldForgive(t.Context(), store.Forgiveness{ProjectID: project, TaskID: task})
		require.NoError(t, err)
		require.Equal(t, store.Forgiven{Devices: []string{"spent"}}, all, "all that are given up")

		a := store.Action{Who: "ann", What: "forgive", Key: "k"}
		for _, again := range []bool{false, true} {
			done, err := s.Forgive(t.Context(), a, f)
			require.NoError(t, err)
			require.Equal(t, again, done.Again)
			done.Again = false
			require.Equal(t, want, done)
		}
		r := record(t, s, task, "failed")
		require.Equal(t, []int{1, 0}, []int{r.N, r.Counted}, "its attempts stay on record")
		require.Zero(t, r.FirstAt)
		require.False(t, r.Closed)
		require.Empty(t, check(t, s))
		rows, _, err := s.ListTargets(t.Context(), store.TargetFilter{Is: string(policy.Exhausted)}, store.Page{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, rows)
		claimed, _, err := s.Claim(t.Context(), claim(task, 1, store.Candidate{DeviceID: "failed", LastN: 1}))
		require.NoError(t, err)
		require.Equal(t, []store.Claimed{{DeviceID: "failed", N: 2}}, claimed)

		actions, _, err := s.ListActions(t.Context(), store.ActionFilter{What: "forgive"}, store.Page{Limit: 10})
		require.NoError(t, err)
		require.Len(t, actions, 1)
		require.Equal(t, "2 targets in task "+task+": failed, spent", actions[0].Subject)
	})
}

func TestAttemptsOfAWholeTaskAreForgivenWithAllThatIsGivenUpOrNotAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		whole := claim(task, 9, store.Candidate{DeviceID: policy.WholeTask})
		whole.Covers = []string{"d1", "d2"}
		claimed, _, err := s.Claim(t.Context(), whole)
		require.NoError(t, err)
		_, err = s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: s.Now()}})
		require.NoError(t, err)
		closed(t, s, "d1", "d2")
		forgive := func(f store.Forgiveness, want store.Forgiven) {
			t.Helper()
			f.ProjectID, f.TaskID = project, task
			before := p.dump(t)
			would, err := s.WouldForgive(t.Context(), f)
			require.NoError(t, err)
			require.Equal(t, want, would)
			done, err := s.Forgive(t.Context(), store.Action{Who: "ann", What: "forgive"}, f)
			require.NoError(t, err)
			require.Equal(t, want, done)
			require.Equal(t, len(want.Devices) == 0, before == p.dump(t))
		}
		left := func(why string, devices ...string) (f store.Forgiven) {
			for _, d := range devices {
				f.Left = append(f.Left, store.Dropped{DeviceID: d, Why: why})
			}
			return f
		}
		const open, counts = "an attempt of it is open", "attempts of the whole task count for it: forgive all of the task"
		forgive(store.Forgiveness{}, left(open, "d1", "d2"))
		settle(t, s, policy.WholeTask, policy.Failed)
		require.Equal(t, 1, record(t, s, task, "d1").Counted)
		forgive(store.Forgiveness{Devices: []string{"d1", "stranger"}}, left(counts, "d1", "stranger"))
		forgive(store.Forgiveness{Is: "exhausted"}, left(counts, "d1", "d2"))
		forgive(store.Forgiveness{Is: "expired"}, store.Forgiven{})
		forgive(store.Forgiveness{}, store.Forgiven{Devices: []string{"d1", "d2", policy.WholeTask}})
		for _, device := range []string{"d1", "d2", "never-ended"} {
			r := record(t, s, task, device)
			require.Zero(t, r.Counted)
			require.False(t, r.Closed)
		}
		require.Empty(t, check(t, s))
		require.Equal(t, 2, digest(t, s, subscribed("chat")).Count())
		forgive(store.Forgiveness{}, store.Forgiven{})
	})
}

func TestManyTargetsAreForgivenByOneStatement(t *testing.T) { // each is a way to the database, and all other writers wait
	p := &place{o: store.Options{URL: pgtest.Database(t)}}
	s := p.open(t)
	closed(t, s, "a", "b", "c")
	_, err := s.CloseTargets(t.Context(), decided(t, s, ends(task, "expired", "d")))
	require.NoError(t, err)
	db := p.raw(t)
	_, err = db.Exec(`CREATE SEQUENCE updates;
		CREATE FUNCTION count_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('updates'); RETURN NULL; END $$;
		CREATE TRIGGER counts AFTER UPDATE ON targets FOR EACH STATEMENT EXECUTE FUNCTION count_update()`)
	require.NoError(t, err)
	done, err := s.Forgive(t.Context(), store.Action{Who: "ann"}, store.Forgiveness{ProjectID: project, TaskID: task})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c", "d"}, done.Devices)
	var updates int
	require.NoError(t, db.QueryRow(`SELECT last_value FROM updates WHERE is_called`).Scan(&updates))
	require.Equal(t, 1, updates)
}
