package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/store"
)

const keep = 90 * 24 * time.Hour

// reject makes closed attempts, one of each of n devices of a task.
func reject(t testing.TB, s *store.Store, taskID string, n int) {
	for devices := range slices.Chunk(numbered(n), 1000) {
		claimed, dropped, err := s.Claim(t.Context(), claim(taskID, 9, devices...))
		require.NoError(t, err)
		require.Empty(t, dropped)
		answers := make([]store.Answer, len(claimed))
		for i, c := range claimed {
			answers[i] = store.Answer{Claimed: c, State: policy.Rejected, AnsweredAt: s.Now(), Code: "IOTDA.014016", Text: "the device is not online"}
		}
		_, err = s.Answered(t.Context(), project, taskID, answers)
		require.NoError(t, err)
	}
}

func numbered(n int) []store.Candidate {
	devices := make([]store.Candidate, n)
	for i := range devices {
		devices[i].DeviceID = fmt.Sprintf("device-%08d", i)
	}
	return devices
}

// counts gives the sum of the counts of a task's targets.
func (p *place) counts(t *testing.T, taskID string) (n int) {
	require.NoError(t, p.raw(t).QueryRow(`SELECT coalesce(sum(counted), 0) FROM targets WHERE task_id = '`+taskID+`'`).Scan(&n))
	return n
}

func TestRetentionDeletesHistoryAndNoCount(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for n := range 3 {
			attempt(t, s, "d", n, policy.Rejected)
		}
		attempt(t, s, "open", 0, policy.Accepted)
		before := record(t, s, task, "d")
		p.sleep(keep + time.Hour)
		n, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.Equal(t, before, record(t, s, task, "d"))
		_, dropped, err := s.Claim(t.Context(), claim(task, 3, store.Candidate{DeviceID: "d", LastN: 3}))
		require.NoError(t, err)
		require.Len(t, dropped, 1)
		require.Equal(t, task, record(t, s, task, "open").OpenTask)
	})
}

func TestRetentionKeepsTheLastSweepWithEachResult(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		var want []store.Tick
		for i, result := range []string{"failed", "complete", "complete", "partial", "", "skipped"} {
			tick := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Started: p.now, Finished: p.now, Result: result}
			switch result {
			case "":
				_, err := s.StartTick(t.Context(), tick)
				require.NoError(t, err)
			case "skipped":
				require.NoError(t, s.SkipTick(t.Context(), tick))
			default:
				_, err := s.StartTick(t.Context(), tick)
				require.NoError(t, err)
				require.NoError(t, s.FinishTick(t.Context(), tick))
			}
			if i != 1 && result != "" {
				want = append(want, tick)
			}
			p.sleep(time.Hour)
		}
		p.sleep(keep)
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		ticks, err := s.Ticks(t.Context(), "p", "c")
		require.NoError(t, err)
		require.Equal(t, want, ticks)
	})
}

func TestRetentionDeletesWhatHasEndedAndNothingThatHolds(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		count := func() (n []int) {
			for _, table := range []string{"pauses", "approvals", "halts"} {
				var rows int
				require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM `+table).Scan(&rows))
				n = append(n, rows)
			}
			return n
		}
		cooling := halt
		cooling.Cooldown = time.Hour
		for i, h := range []policy.Halt{cooling, halt} {
			fails(t, s, "a", i, "firmware")
			fails(t, s, "b", i, "firmware")
			_, tripped, err := s.Trip(t.Context(), scope(task), h)
			require.NoError(t, err)
			require.True(t, tripped)
			p.sleep(2 * time.Hour)
		}
		for _, until := range []time.Time{{}, p.now.Add(time.Hour)} {
			pauseNow(t, s, store.Action{}, store.Pause{Scope: store.PauseAll, Until: until})
		}
		pauseNow(t, s, store.Action{}, store.Pause{Scope: store.PauseTask, TaskID: "x"})
		_, err := s.Resume(t.Context(), store.Action{}, store.Pause{Scope: store.PauseTask, TaskID: "x"})
		require.NoError(t, err)
		for _, until := range []time.Duration{time.Hour, 2 * keep} {
			approveNow(t, s, store.Action{}, store.Approval{TaskID: until.String(), Until: p.now.Add(until)})
		}
		require.Equal(t, []int{3, 2, 2}, count())
		p.sleep(keep / 2)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, []int{3, 2, 2}, count())
		p.sleep(keep)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, []int{1, 1, 1}, count(), "what holds until a person ends it, and what has not ended")
	})
}

func TestTheCountsOfATaskThatIsGoneForGoodAreDeletedUnlessOneIsOpen(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("aa", "gone"), listed("bb", "open"), listed("cc", "there")}))
		for _, id := range []string{"aa", "bb", "cc"} {
			reject(t, s, id, 3)
			require.NoError(t, s.TaskGone(t.Context(), project, id))
		}
		_, _, err := s.Claim(t.Context(), claim("bb", 9, store.Candidate{DeviceID: "open"}))
		require.NoError(t, err)
		p.sleep(keep)
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed("cc", "there")}))
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, 3, p.counts(t, "aa"), "it has not been gone for longer than that")
		p.sleep(time.Second)
		_, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Zero(t, p.counts(t, "aa"))
		require.Equal(t, 4, p.counts(t, "bb"))
		require.Equal(t, 3, p.counts(t, "cc"))
		var tasks int
		require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM tasks`).Scan(&tasks))
		require.Equal(t, 2, tasks)
	})
}

func TestATaskThatComesBackWhileItsCountsAreDeletedKeepsTheRest(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		left := 0
		var comeBack func()
		p.o.Observe = func(time.Duration, error) {
			if comeBack == nil || left > 0 {
				return
			}
			if n := p.counts(t, "aa"); n < 700 { // the first step
				left = n
				comeBack()
			}
		}
		s := p.open(t)
		back := []store.Task{listed("aa", "back"), listed("bb", "back")}
		require.NoError(t, s.SeeTasks(t.Context(), project, back))
		for _, task := range back {
			reject(t, s, task.ID, 700)
			require.NoError(t, s.TaskGone(t.Context(), project, task.ID))
		}
		p.sleep(keep + time.Second)
		comeBack = func() { require.NoError(t, s.SeeTasks(t.Context(), project, back)) }
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.NotZero(t, left)
		require.Equal(t, left, p.counts(t, "aa"), "all but what one step had deleted")
		require.Equal(t, 700, p.counts(t, "bb"))
		require.Len(t, known(t, s), 2)
	})
}

func TestWhatIsSummedUpOfATaskIsDeletedInTheSameStep(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		rows := func() (tasks, sums int) {
			require.NoError(t, p.raw(t).QueryRow(`SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM ends) + (SELECT count(*) FROM progress)`).Scan(&tasks, &sums))
			return tasks, sums
		}
		s := p.open(t)
		p.o.Observe = func(time.Duration, error) {
			if tasks, _ := rows(); tasks == 0 {
				cancel() // as when the process dies there
			}
		}
		require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{listed(task, "gone")}))
		closed(t, s, "d")
		require.NoError(t, s.TaskGone(t.Context(), project, task))
		p.sleep(keep + time.Second)
		_, err := p.beside(t).Forget(ctx, keep)
		require.ErrorIs(t, err, context.Canceled)
		tasks, sums := rows()
		require.Equal(t, []int{0, 0}, []int{tasks, sums})
	})
}

func TestRetentionEndsWithItsContextAndGoesOnTheNextTime(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		ctx, cancel := context.WithCancel(t.Context())
		steps := -1000 // not yet
		p.o.Observe = func(time.Duration, error) {
			if steps++; steps == 2 {
				cancel()
			}
		}
		s := p.open(t)
		reject(t, s, "aa", 1000)
		p.sleep(keep + time.Second)
		steps = 0
		n, err := s.Forget(ctx, keep)
		require.ErrorIs(t, err, context.Canceled)
		require.NotZero(t, n)
		require.Less(t, n, 1000)
		rest, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Equal(t, 1000, n+rest)
		before := steps
		n, err = s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, before, steps, "where there is nothing to delete, nothing is locked")
	})
}

func TestRetentionDeletesFewerRowsAtOnceWhereThatTakesLong(t *testing.T) {
	slow, quick := time.Second, time.Millisecond
	require.Equal(t, 50, store.NextStep(100, slow))
	require.Equal(t, 25, store.NextStep(30, slow), "it goes on however slow the disk is")
	require.Equal(t, 150, store.NextStep(100, quick))
	require.Equal(t, 200, store.NextStep(190, quick), "each row is one that a claim may wait for")
	require.Equal(t, 100, store.NextStep(100, 15*time.Millisecond))
}

// BenchmarkRetention deletes 100,000 attempts while claims go on.
func BenchmarkRetention(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		benchmarkRetention(b, func() *place { return &place{o: store.Options{Path: filepath.Join(b.TempDir(), "retryd.db")}} })
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		benchmarkRetention(b, func() *place { return &place{o: store.Options{URL: pgtest.Database(b)}} })
	})
}

func benchmarkRetention(b *testing.B, where func() *place) {
	var steps int
	var longest, quiet, busy time.Duration
	for b.Loop() {
		b.StopTimer()
		p := where()
		var writes []time.Duration
		p.o.Observe = func(d time.Duration, _ error) { writes = append(writes, d) }
		s := p.open(b)
		p.history(b, 100_000)
		writes = nil // a step's own time: nobody else writes
		_, err := s.Forget(b.Context(), -time.Hour)
		require.NoError(b, err)
		steps, longest = len(writes), max(longest, slices.Max(writes))
		require.NoError(b, s.Close())

		p.o.Observe = nil
		s = p.open(b)
		p.history(b, 100_000)
		quiet = max(quiet, slices.Max(claimsBeside(b, s, "quiet", func() { time.Sleep(3 * time.Second) })))
		b.StartTimer()
		claims := claimsBeside(b, s, "busy", func() {
			n, err := s.Forget(b.Context(), -time.Hour)
			require.NoError(b, err)
			require.Equal(b, 100_000, n)
		})
		b.StopTimer()
		busy = max(busy, slices.Max(claims))
		b.StartTimer()
	}
	b.ReportMetric(float64(steps), "steps")
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-step")
	b.ReportMetric(float64(quiet.Microseconds())/1000, "ms/longest-claim-alone")
	b.ReportMetric(float64(busy.Microseconds())/1000, "ms/longest-claim-beside")
}

// history writes closed attempts of a year ago, faster than a daemon would.
func (p *place) history(b *testing.B, n int) {
	numbers := `generate_series(1, ` + fmt.Sprint(n) + `) AS numbers (i)`
	if p.o.URL == "" {
		numbers = `(WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ` + fmt.Sprint(n) + `) SELECT i FROM numbers) AS numbers`
	}
	_, err := p.raw(b).Exec(`INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, tick, rule, class,
			claimed_at, answered_at, settled_at, send_by, settle, stale_after, wait_retry_fails, code, text)
		SELECT '` + project + `', 'task-' || i % 50, 'device-' || i, 1, 'rejected', 'firmwareUpgrade', 'upgrades', 'prod', i / 1000, 'offline', 'network',
			1700000000000000 + i * 1000, 1700000000000000 + i * 1000, 1700000000000000 + i * 1000, 0, 0, 0, FALSE, 'IOTDA.014016', 'the device is not online'
		FROM ` + numbers)
	require.NoError(b, err)
}

// claimsBeside claims and answers 10 targets at a time while something goes on, and gives how
// long each claim took.
func claimsBeside(b *testing.B, s *store.Store, name string, something func()) (took []time.Duration) {
	done := make(chan struct{})
	go func() { defer close(done); something() }()
	for n := 0; ; n++ {
		select {
		case <-done:
			return took
		case <-time.After(20 * time.Millisecond):
		}
		id := fmt.Sprint(name, n)
		begun := time.Now()
		claimed, _, err := s.Claim(b.Context(), claim(id, 9, numbered(10)...))
		took = append(took, time.Since(begun))
		require.NoError(b, err)
		answers := make([]store.Answer, len(claimed))
		for i, c := range claimed {
			answers[i] = store.Answer{Claimed: c, State: policy.Rejected, AnsweredAt: s.Now().Add(2 * time.Hour)}
		}
		_, err = s.Answered(b.Context(), project, id, answers)
		require.NoError(b, err)
	}
}
