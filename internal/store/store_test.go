package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

const project, task = "p", "5f2bc5a1b2c3d4e5f6a7b8c9"

func open(t testing.TB, path string) *store.Store {
	s, err := store.Open(t.Context(), store.Options{Path: path, Create: true})
	require.NoError(t, err)
	return s
}

var terms = policy.Terms{Settle: 5 * time.Minute, StaleAfter: 7 * 24 * time.Hour, WaitRetryFails: true}

func scope(taskID string) store.Scope {
	return store.Scope{ProjectID: project, TaskID: taskID, Policy: "upgrades", Connection: "prod", Identity: "host  p", PolicyHash: "h1"}
}

func claim(taskID string, limit int, candidates ...store.Candidate) store.Claim {
	candidates = slices.Clone(candidates) // callers share them
	for i := range candidates {
		candidates[i].Max = limit
	}
	return store.Claim{
		Scope: scope(taskID), TaskType: "firmwareUpgrade", Terms: terms, SendBy: epoch.Add(40 * time.Second), Candidates: candidates,
	}
}

func pauseNow(t testing.TB, s *store.Store, a store.Action, p store.Pause) {
	t.Helper()
	_, err := s.PauseNow(t.Context(), a, p)
	require.NoError(t, err)
}

func approveNow(t testing.TB, s *store.Store, a store.Action, p store.Approval) {
	t.Helper()
	_, _, err := s.Approve(t.Context(), a, p)
	require.NoError(t, err)
}

func record(t testing.TB, s *store.Store, taskID, device string) store.Record {
	known, err := s.Records(t.Context(), project, taskID, []string{device})
	require.NoError(t, err)
	return known[device]
}

// attempt claims one device and answers it.
func attempt(t testing.TB, s *store.Store, device string, lastN int, state policy.State) {
	claimed, dropped, err := s.Claim(t.Context(), claim(task, 100, store.Candidate{DeviceID: device, LastN: lastN}))
	require.NoError(t, err)
	require.Empty(t, dropped)
	changed, err := s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: state, AnsweredAt: s.Now(), Code: "IOTDA.1", Text: "why"}})
	require.NoError(t, err)
	require.Len(t, changed, 1)
}

func settle(t testing.TB, s *store.Store, device string, state policy.State) []store.Settled {
	open, err := s.OpenAttempts(t.Context(), project, task)
	require.NoError(t, err)
	for _, a := range open {
		if a.DeviceID == device {
			o := policy.Settlement{Attempt: a, At: s.Now()}
			o.State = state
			settled, err := s.Settle(t.Context(), []policy.Settlement{o})
			require.NoError(t, err)
			return settled
		}
	}
	t.Fatalf("%s has no open attempt", device)
	return nil
}

func TestAClaimDropsWhatFailsACheckAndTakesTheRest(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "used-up", 0, policy.Rejected)
		attempt(t, s, "open", 0, policy.Accepted)
		attempt(t, s, "moved-on", 0, policy.Rejected)
		_, _, err := s.Claim(t.Context(), claim("aa", 1, store.Candidate{DeviceID: "open-elsewhere"}))
		require.NoError(t, err)
		claimed, dropped, err := s.Claim(t.Context(), claim(task, 1,
			store.Candidate{DeviceID: "used-up", LastN: 1}, store.Candidate{DeviceID: "open", LastN: 1}, store.Candidate{DeviceID: "moved-on", LastN: 0},
			store.Candidate{DeviceID: "open-elsewhere"}, store.Candidate{DeviceID: "new"}, store.Candidate{DeviceID: "new"}))
		require.NoError(t, err)
		require.Equal(t, []store.Claimed{{DeviceID: "new", N: 1}}, claimed)
		require.Equal(t, []store.Dropped{
			{DeviceID: "used-up", Why: "1 of 1 attempts are used"},
			{DeviceID: "open", Why: "the device has an open attempt in task " + task},
			{DeviceID: "moved-on", Why: "it was decided after attempt 0, and attempt 1 is on record"},
			{DeviceID: "open-elsewhere", Why: "the device has an open attempt in task aa"},
			{DeviceID: "new", Why: "the device has an open attempt in task " + task},
		}, dropped)
		other := claim(task, 1, store.Candidate{DeviceID: "open"})
		other.ProjectID = "another project"
		claimed, _, err = s.Claim(t.Context(), other)
		require.NoError(t, err)
		require.Len(t, claimed, 1, "projects are apart")
	})
}

func TestAReleasedAttemptIsAsIfItHadNotBeenButForItsNumber(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Released)
		r := record(t, s, task, "d")
		require.Equal(t, 1, r.N)
		require.Zero(t, r.Counted)
		require.True(t, r.FirstAt.IsZero())
		p.sleep(time.Hour)
		attempt(t, s, "d", 1, policy.Rejected)
		rejected := record(t, s, task, "d")
		require.Equal(t, s.Now(), rejected.FirstAt)
		p.sleep(time.Hour)
		attempt(t, s, "d", 2, policy.Released)
		r = record(t, s, task, "d")
		rejected.N = 3
		require.Equal(t, rejected, r, "the rejection before it is still what is known")
		require.Equal(t, policy.Rejected, r.State)
		require.Equal(t, "IOTDA.1", r.RejectCode)
	})
}

func TestAnAnswerCountsOnceAndOnlyForAClaim(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Accepted)
		late := store.Answer{Claimed: store.Claimed{DeviceID: "d", N: 1}, State: policy.Released, AnsweredAt: s.Now()}
		changed, err := s.Answered(t.Context(), project, task, []store.Answer{late})
		require.NoError(t, err)
		require.Empty(t, changed)
		require.Equal(t, 1, record(t, s, task, "d").Counted)
		late.State = policy.Recovered
		_, err = s.Answered(t.Context(), project, task, []store.Answer{late})
		require.ErrorContains(t, err, "cannot become recovered")
	})
}

func TestAnOutcomeIsFinalAndClosesOnce(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Unknown)
		before, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		settled := settle(t, s, "d", policy.Recovered)
		require.Len(t, settled, 1)
		require.True(t, settled[0].Closed)
		require.Equal(t, 1, settled[0].Counted)
		require.False(t, settled[0].FirstAt.IsZero())
		again := policy.Settlement{Attempt: before[0], At: s.Now()}
		again.State = policy.Failed
		second, err := s.Settle(t.Context(), []policy.Settlement{again})
		require.NoError(t, err)
		require.Empty(t, second)
		require.Equal(t, policy.Recovered, record(t, s, task, "d").State)
	})
}

func TestAttemptsThatNeverMoveInATaskWhereNothingDoesAreCounted(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		settled, err := s.Settle(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, settled)
		fail := func(device string, n int, motion bool) int {
			attempt(t, s, device, n-1, policy.Accepted)
			open, err := s.OpenAttempts(t.Context(), project, task)
			require.NoError(t, err)
			o := policy.Settlement{Attempt: open[0], At: p.now}
			o.MotionSeen = motion
			_, err = s.Settle(t.Context(), []policy.Settlement{o})
			require.NoError(t, err)
			o.State = policy.Failed
			settled, err := s.Settle(t.Context(), []policy.Settlement{o})
			require.NoError(t, err)
			require.Len(t, settled, 1)
			require.Equal(t, n, settled[0].Counted)
			return settled[0].Stuck
		}
		for n := range 3 {
			require.Equal(t, n+1, fail("d", n+1, false))
		}
		require.Zero(t, fail("e", 1, true))
		require.Zero(t, fail("d", 4, false), "another of the task has moved")
	})
}

func TestWhatWasSeenOfAnOpenAttemptIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		attempt(t, s, "d", 0, policy.Accepted)
		open, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		require.Equal(t, terms, open[0].Terms)
		o := policy.Settlement{Attempt: open[0]}
		o.MotionSeen, o.FailSeenAt = true, s.Now()
		settled, err := s.Settle(t.Context(), []policy.Settlement{o})
		require.NoError(t, err)
		require.Empty(t, settled)
		open, err = s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		require.Equal(t, o.Attempt, open[0])
	})
}

func TestATargetIsClosedOnceForEachNumberOfAttempts(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		closing := store.Closings{ProjectID: project, TaskID: task, Targets: []store.Closing{{DeviceID: "d", Outcome: "permanent"}}}
		for _, want := range []int{1, 0} {
			closed, err := s.CloseTargets(t.Context(), closing)
			require.NoError(t, err)
			require.Len(t, closed, want)
		}
		require.True(t, record(t, s, task, "d").Closed)
		attempt(t, s, "d", 0, policy.Rejected)
		require.False(t, record(t, s, task, "d").Closed)
		closed, err := s.CloseTargets(t.Context(), decided(t, s, closing))
		require.NoError(t, err)
		require.Len(t, closed, 1)
	})
}

func TestATargetThatWasForgivenOrRetriedSinceItWasDecidedOnIsNotClosed(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		for _, device := range []string{"closed before", "forgiven", "retried", "both"} {
			attempt(t, s, device, 0, policy.Rejected)
		}
		closed(t, s, "closed before")
		require.Equal(t, 1, digest(t, s, subscribed("chat")).Events[store.TargetExhausted])
		old := decided(t, s, ends(task, "exhausted", "closed before", "forgiven", "retried", "both"))
		f, err := s.Forgive(t.Context(), store.Action{Who: "ann"}, store.Forgiveness{ProjectID: project, TaskID: task, Devices: []string{"closed before", "forgiven", "both"}})
		require.NoError(t, err)
		require.Len(t, f.Devices, 3)
		attempt(t, s, "retried", 1, policy.Rejected)
		attempt(t, s, "both", 1, policy.Rejected)
		gone, err := s.CloseTargets(t.Context(), old)
		require.NoError(t, err)
		require.Empty(t, gone)
		rows, _, err := s.ListTargets(t.Context(), store.TargetFilter{Is: "exhausted"}, store.Page{Limit: 4})
		require.NoError(t, err)
		require.Empty(t, rows)
		gone, err = s.CloseTargets(t.Context(), decided(t, s, old))
		require.NoError(t, err)
		require.Len(t, gone, 4, "what is decided anew counts")
	})
}

func TestTheIndexRefusesASecondOpenAttemptOfADevice(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		attempt(t, p.open(t), "d", 0, policy.Accepted)
		_, err := p.raw(t).Exec(`INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, claimed_at, send_by, settle, stale_after, wait_retry_fails)
			VALUES ('` + project + `', 'bb', 'd', 1, 'claimed', '', '', '', 1, 1, 1, 1, FALSE)`)
		require.ErrorContains(t, err, "attempts")
		require.Contains(t, strings.ToLower(err.Error()), "unique")
	})
}

func TestOneProcessWritesALedgerAndOthersMayRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder with ? # and %20", "retryd.db")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	_, err := store.Open(t.Context(), store.Options{Path: path})
	require.ErrorIs(t, err, store.ErrNoLedger)
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	s := open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = store.Open(t.Context(), store.Options{Path: path})
	require.ErrorIs(t, err, store.ErrLocked)
	reader, err := store.Open(t.Context(), store.Options{Path: path, ReadOnly: true})
	require.NoError(t, err)
	attempt(t, s, "d", 0, policy.Accepted)
	require.Equal(t, 1, record(t, reader, task, "d").N)
	require.NoError(t, reader.Close())
	require.NoError(t, s.Close())
	_, err = store.Open(t.Context(), store.Options{Path: filepath.Join(path, "no", "x.db"), Create: true})
	require.ErrorContains(t, err, "its folder does not exist")
}

func TestALedgerOfANewerProgramIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		require.NoError(t, p.open(t).Close())
		_, err := p.raw(t).Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)`)
		require.NoError(t, err)
		for _, o := range []store.Options{{}, {ReadOnly: true}, {Join: true}} {
			o.Path, o.URL = p.o.Path, p.o.URL
			_, err = store.Open(t.Context(), o)
			require.ErrorIs(t, err, store.ErrNewer)
		}
	})
}

func TestAClaimOfAWholeTaskWaitsForEachOfItsDevices(t *testing.T) {
	whole := func(covers ...string) store.Claim {
		c := claim(task, 3, store.Candidate{DeviceID: policy.WholeTask})
		c.Covers = covers
		return c
	}
	for name, hold := range map[string]func(*testing.T, *store.Store){
		"open in another task": func(t *testing.T, s *store.Store) {
			_, _, err := s.Claim(t.Context(), claim("another", 3, store.Candidate{DeviceID: "b"}))
			require.NoError(t, err)
		},
		"another is open in the task": func(t *testing.T, s *store.Store) { attempt(t, s, "x", 0, policy.Accepted) },
		"paused": func(t *testing.T, s *store.Store) {
			p := store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: task, DeviceID: "b", Who: "ann"}
			pauseNow(t, s, store.Action{Who: "ann"}, p)
		},
		"exhausted": func(t *testing.T, s *store.Store) {
			for n := range 3 {
				attempt(t, s, "b", n, policy.Rejected)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, p *place) {
				s := p.open(t)
				hold(t, s)
				claimed, dropped, err := s.Claim(t.Context(), whole("a", "b"))
				require.NoError(t, err)
				require.Empty(t, claimed)
				require.Len(t, dropped, 1)
			})
		})
	}
}

func TestAWholeTasksAttemptIsOneOfEachOfItsDevices(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		c := claim(task, 3, store.Candidate{DeviceID: policy.WholeTask})
		c.Covers = []string{"a", "b"}
		claimed, _, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		require.Equal(t, task, record(t, s, "another", "a").OpenTask)
		require.Equal(t, 1, record(t, s, task, "b").Counted)
		require.Zero(t, record(t, s, "another", "b").Counted)
		require.Empty(t, record(t, s, "another", "c").OpenTask)
		_, dropped, err := s.Claim(t.Context(), claim("another", 3, store.Candidate{DeviceID: "a"}, store.Candidate{DeviceID: "c"}))
		require.NoError(t, err)
		require.Equal(t, []store.Dropped{{DeviceID: "a", Why: "the device has an open attempt in task " + task}}, dropped)
		open, _, err := s.OpenIn(t.Context(), store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: task})
		require.NoError(t, err)
		require.Equal(t, 2, open, "it weighs as much as its devices")
		_, err = s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: s.Now()}})
		require.NoError(t, err)
		settled := settle(t, s, policy.WholeTask, policy.Failed)
		require.Len(t, settled, 1)
		r := record(t, s, task, "a")
		require.Empty(t, r.OpenTask)
		require.Equal(t, policy.Failed, r.State)
		unresolved, err := s.Unresolved(t.Context(), project, task, "", 10)
		require.NoError(t, err)
		require.Empty(t, unresolved, "a whole task is no target")
	})
}
