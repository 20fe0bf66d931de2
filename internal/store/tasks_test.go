package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func listed(id, name string) store.Task {
	return store.Task{
		ID: id, Name: name, Type: "firmwareUpgrade", Status: "Fail", Total: 3, Success: 1, Fail: 2,
		CreatedAt: epoch.Add(-time.Hour), Identity: "host  p", AppID: "app1", AppName: "lamps",
	}
}

func known(t *testing.T, s *store.Store) map[string]store.KnownTask {
	all, err := s.KnownTasks(t.Context(), project)
	require.NoError(t, err)
	return all
}

func TestATaskIsKnownAsItWasListedLast(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, nil))
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "one"), listed("bb", "two")}))
		attempt(t, s, "d", 0, policy.Released)
		p.sleep(time.Hour)
		again := listed("aa", "renamed")
		again.Status, again.Success, again.Fail = "PartialSuccess", 2, 1
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{again}))
		require.Equal(t, map[string]store.KnownTask{
			"aa": {Task: again, LastSeen: p.now},
			"bb": {Task: listed("bb", "two"), LastSeen: epoch},
		}, known(t, s))
		others, err := s.KnownTasks(t.Context(), "another")
		require.NoError(t, err)
		require.Empty(t, others)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "tried")}))
		require.False(t, known(t, s)[task].Attempted, "the one that there was did not happen")
		attempt(t, s, "d", 1, policy.Rejected)
		require.True(t, known(t, s)[task].Attempted)
	})
}

func TestATaskIsFoundByIdOrElseByName(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "bb"), listed("bb", "twin"), listed("cc", "twin"), listed("dd", "gone")}))
		require.NoError(t, s.TaskGone(t.Context(), project, "dd"))
		for text, want := range map[string][]string{"bb": {"bb"}, "twin": {"cc", "bb"}, "gone": nil, "dd": nil, "": nil, "' OR 1=1 --": nil, "%": nil} {
			found, err := s.FindTasks(t.Context(), text)
			require.NoError(t, err)
			var ids []string
			for _, f := range found {
				require.Equal(t, project, f.ProjectID)
				ids = append(ids, f.ID)
			}
			require.Equal(t, want, ids, text)
		}
	})
}

func TestRefusalsOfATaskInOneStateAddUp(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "one")}))
		for _, step := range []struct {
			as   string
			want int
		}{{"Fail 1/3", 1}, {"Fail 1/3", 2}, {"Fail 2/3", 1}, {"", 0}, {"Fail 2/3", 1}} {
			require.NoError(t, s.RefuseTask(t.Context(), project, "aa", step.as))
			require.Equal(t, step.want, known(t, s)["aa"].Refusals)
			require.Equal(t, step.as, known(t, s)["aa"].RefusedAs)
		}
	})
}

func TestATaskThatIsMissedKeepsWhenThatBegan(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "one"), listed("bb", "two")}))
		require.NoError(t, s.MissTasks(t.Context(), project, nil, nil))
		require.NoError(t, s.MissTasks(t.Context(), project, []string{"aa"}, nil))
		p.sleep(time.Minute)
		require.NoError(t, s.MissTasks(t.Context(), project, []string{"aa"}, []string{"bb"}))
		require.Equal(t, epoch, known(t, s)["aa"].MissingSince)
		require.Equal(t, p.now, known(t, s)["bb"].LastSeen)
		require.NoError(t, s.MissTasks(t.Context(), project, nil, []string{"aa"}))
		require.True(t, known(t, s)["aa"].MissingSince.IsZero())
		require.NoError(t, s.TaskGone(t.Context(), project, "aa"))
		require.NotContains(t, known(t, s), "aa")
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "one")}))
		require.Contains(t, known(t, s), "aa", "it is back")
	})
}

func TestWhatSomebodyElseResolvedIsClosedOnceAndIsNoRecovery(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		fails(t, s, "d", 0, "device")
		found, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		require.Equal(t, []store.Unresolved{{DeviceID: "d", TaskType: "firmwareUpgrade", Policy: "upgrades", Connection: "prod"}}, found)
		closed, err := s.ResolvedElsewhere(t.Context(), project, task, nil)
		require.NoError(t, err)
		require.Empty(t, closed)
		for _, want := range []int{1, 0} {
			closed, err = s.ResolvedElsewhere(t.Context(), project, task, found)
			require.NoError(t, err)
			require.Len(t, closed, want)
		}
		require.True(t, record(t, s, task, "d").Closed)
		totals, err := s.Totals(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Totals{Attempts: 1, Targets: 1}, totals)
		left, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestWhatIsGivenUpAndMendedElsewhereIsGivenUpNoMore(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "one")}))
		fails(t, s, "tried", 0, "device")
		_, err := s.CloseTargets(t.Context(), ends(task, "exhausted", "tried"))
		require.NoError(t, err)
		_, err = s.CloseTargets(t.Context(), ends(task, "permanent", "untried"))
		require.NoError(t, err)
		found, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		require.Len(t, found, 2)
		closed, err := s.ResolvedElsewhere(t.Context(), project, task, found)
		require.NoError(t, err)
		require.Equal(t, found, closed)
		rows, _, err := s.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, map[string]int{"resolved_elsewhere": 2}, rows[0].Ended)
		left, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		require.Empty(t, left)
		// One of them fails again: a person can name it.
		done, err := s.Forgive(t.Context(), store.Action{Who: "ann", What: "forgive", Why: "it failed again"}, store.Forgiveness{ProjectID: project, TaskID: task, Devices: []string{"tried"}})
		require.NoError(t, err)
		require.Equal(t, []string{"tried"}, done.Devices)
		require.Empty(t, check(t, s), "the sums agree with the rows")
	})
}

func TestOpenTasksAndTotalsSumUp(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "one")}))
		oldest, err := s.OldestOpen(t.Context())
		require.NoError(t, err)
		require.Empty(t, oldest)
		attempt(t, s, "a", 0, policy.Accepted)
		p.sleep(time.Hour)
		attempt(t, s, "b", 0, policy.Unknown)
		attempt(t, s, "c", 0, policy.Accepted)
		settle(t, s, "c", policy.Recovered)
		attempt(t, s, "d", 0, policy.Released)
		_, _, err = s.Claim(t.Context(), claim("ff", 9, store.Candidate{DeviceID: "e"}))
		require.NoError(t, err)
		open, err := s.OpenTasks(t.Context(), project)
		require.NoError(t, err)
		require.Equal(t, []store.OpenTask{{ID: task, TaskType: "firmwareUpgrade", Attempts: 2, Identity: "host  p"}}, open, "a claim is not answered yet")
		oldest, err = s.OldestOpen(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]time.Time{project: epoch}, oldest)
		totals, err := s.Totals(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Totals{Attempts: 4, Targets: 4, Open: 3, Recovered: 1}, totals)
	})
}

func TestASuccessThatIsTakenBackIsReopened(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Accepted)
		settle(t, s, "d", policy.Recovered)
		p.sleep(time.Hour)
		for _, want := range [][]string{{"d"}, nil} {
			undone, err := s.Undo(t.Context(), project, task, []string{"d", "unknown"}, p.now)
			require.NoError(t, err)
			require.Equal(t, want, undone)
		}
		r := record(t, s, task, "d")
		require.Equal(t, policy.Failed, r.State)
		require.Equal(t, p.now, r.SeenAt)
		require.Equal(t, 1, r.Counted)
	})
}

// TestAnEndThatIsTakenBackStaysInTheSumOfItsHour: that counts what happened, as the metrics do, and not how
// targets stand now. What did not happen to a target is not taken back either.
func TestAnEndThatIsTakenBackStaysInTheSumOfItsHour(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "one")}))
		attempt(t, s, "recovered", 0, policy.Accepted)
		settle(t, s, "recovered", policy.Recovered)
		fails(t, s, "elsewhere", 0, "device")
		_, err := s.CloseTargets(t.Context(), ends(task, "exhausted", "elsewhere"))
		require.NoError(t, err)
		_, err = s.CloseTargets(t.Context(), ends(task, "permanent", "untried"))
		require.NoError(t, err)
		found, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		_, err = s.ResolvedElsewhere(t.Context(), project, task, found)
		require.NoError(t, err)
		before, err := s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		names := []string{"elsewhere", "recovered", "untried"}
		undone, err := s.Undo(t.Context(), project, task, names, p.now)
		require.NoError(t, err)
		require.Equal(t, []string{"recovered"}, undone, "a read that began no later than the success was seen proves nothing")
		p.sleep(time.Hour)
		undone, err = s.Undo(t.Context(), project, task, names, p.now)
		require.NoError(t, err)
		require.Equal(t, []string{"elsewhere", "untried"}, undone)
		for name, want := range map[string]policy.Record{
			"elsewhere": {N: 1, Counted: 1, State: policy.Failed, FirstAt: epoch, SeenAt: p.now}, "untried": {SeenAt: p.now},
		} {
			r := record(t, s, task, name)
			require.Equal(t, want, r.Record, "its attempts count as before")
			require.False(t, r.Closed)
		}
		rows, _, err := s.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 1})
		require.NoError(t, err)
		require.Empty(t, rows[0].Ended)
		after, err := s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Empty(t, check(t, s))
	})
}

func TestWhatPeopleDidIsOnRecord(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Act(t.Context(), store.Action{Who: "ann", Source: "run", What: "create ledger", Subject: "x", Why: "y"}))
		var at int64
		var who, source, what, subject, why string
		require.NoError(t, p.raw(t).QueryRow(`SELECT at, who, source, what, subject, why FROM actions`).Scan(&at, &who, &source, &what, &subject, &why))
		require.Equal(t, []any{epoch.UnixMicro(), "ann", "run", "create ledger", "x", "y"}, []any{at, who, source, what, subject, why})
	})
}

func TestALedgerTellsItsAgePlaceAndSize(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.True(t, s.Created())
		require.Empty(t, s.Backup())
		require.Equal(t, p.o.URL != "", s.Shared())
		require.NoError(t, s.Writable(t.Context()))
		require.Equal(t, epoch, s.Now())
		size, _ := s.Sizes()
		require.Positive(t, size)
		if p.o.URL == "" {
			require.Equal(t, p.o.Path, s.Where())
		} else {
			require.Regexp(t, `^postgres://postgres@127\.0\.0\.1:\d+/retryd_test_\d+_\d+$`, s.Where())
		}
		require.NoError(t, s.Close())
		p.sleep(time.Hour)
		s = p.open(t)
		require.True(t, s.Created(), "nobody has said so")
		require.NoError(t, s.Announce(t.Context(), store.Action{What: "create ledger"}))
		require.NoError(t, s.Close())
		s = p.open(t)
		require.False(t, s.Created())
		created, err := s.CreatedAt(t.Context())
		require.NoError(t, err)
		require.Equal(t, epoch, created)
		o := p.o
		o.ReadOnly = true
		reader := p.with(t, o)
		require.ErrorContains(t, reader.Writable(t.Context()), "the ledger is open for reading only")
		_, err = reader.Totals(t.Context())
		require.NoError(t, err)
	})
}

func TestATaskNeedNotBeReadUntilATargetOfItIsClaimedOrItsPassIsOver(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "fw")}))
		require.NoError(t, s.SeeLooked(t.Context(), project, task, 7))
		require.Equal(t, 7, known(t, s)[task].Looked)
		passed := func() map[string]store.TaskCounts {
			all, err := s.Passed(t.Context(), project)
			require.NoError(t, err)
			return all
		}
		pass := func() store.TaskCounts {
			c := store.TaskCounts{TaskID: task, Policy: "upgrades", Connection: "prod", Counts: map[string]int{"permanent": 3}, Limits: map[string]int{}}
			c.Pass = store.Pass{As: "Fail 1 2 3", After: known(t, s)[task].Changes, Until: p.now.Add(time.Hour)}
			return c
		}
		first := pass()
		require.NoError(t, s.CountTasks(t.Context(), project, []store.TaskCounts{first}))
		require.Equal(t, first.Counts, passed()[task].Counts)
		require.Equal(t, first.Pass.As, passed()[task].Pass.As)
		attempt(t, s, "d", 0, "rejected")
		require.Empty(t, passed(), "something was claimed")
		require.NoError(t, s.CountTasks(t.Context(), project, []store.TaskCounts{pass()}))
		require.Len(t, passed(), 1)
		attempt(t, s, "e", 0, "accepted")
		require.NoError(t, s.CountTasks(t.Context(), project, []store.TaskCounts{pass()}))
		require.Empty(t, passed(), "an attempt is open")
		settle(t, s, "e", "failed")
		require.NoError(t, s.CountTasks(t.Context(), project, []store.TaskCounts{pass()}))
		require.Len(t, passed(), 1)
		p.sleep(time.Hour)
		require.Empty(t, passed(), "it is over")
	})
}
