package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func check(t *testing.T, s *store.Store) []store.Finding {
	found, err := s.Check(t.Context(), true)
	require.NoError(t, err)
	return found
}

func TestNothingIsWrongWithALedgerThatOnlyRetrydHasWritten(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		furnish(t, s)
		for _, state := range []policy.State{policy.Rejected, policy.Released, policy.Unknown} {
			attempt(t, s, "d", record(t, s, task, "d").N, state)
			p.sleep(keep / 2)
			_, err := s.Forget(t.Context(), keep)
			require.NoError(t, err)
		}
		settle(t, s, "d", policy.Gone)
		require.Equal(t, 2, record(t, s, task, "d").Counted)
		o := p.o
		o.ReadOnly = true
		before := p.dump(t)
		require.Empty(t, check(t, p.with(t, o)))
		p.sleep(2 * keep)
		_, err := s.Forget(t.Context(), keep)
		require.NoError(t, err)
		require.Empty(t, check(t, s))
		require.NotEqual(t, before, p.dump(t))
	})
}

func TestEachThingThatIsWrongWithALedgerIsFound(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for n := range 3 {
			attempt(t, s, "d", n, policy.Rejected)
		}
		attempt(t, s, "open", 0, policy.Accepted)
		lease := acquire(t, s, "account", replica("a", budgets)).Lease
		_, _, err := s.Under(lease).Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "claimed"}))
		require.NoError(t, err)
		db := p.raw(t)
		where := "project p, task " + task + ", device "
		const of = ` WHERE device_id = 'd'`
		for _, row := range []struct {
			damage, repair string
			late           time.Duration
			want           store.Finding
		}{
			{`UPDATE targets SET counted = 2` + of, `UPDATE targets SET counted = 3` + of, 0,
				store.Finding{Kind: store.FoundLow, Where: where + "d", What: "2 attempts are counted, and 3 on record count"}},
			{`UPDATE targets SET counted = 4` + of, `UPDATE targets SET counted = 3` + of, 0,
				store.Finding{Kind: store.FoundHigh, Where: where + "d", What: "4 attempts are counted, and 3 on record count"}},
			{`UPDATE targets SET last_n = 7` + of, `UPDATE targets SET last_n = 3` + of, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "the last attempt is number 7, and the highest on record is 3"}},
			{`UPDATE attempts SET n = 9` + of + ` AND n = 2`, `UPDATE attempts SET n = 2` + of + ` AND n = 9`, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "the last attempt is number 3, and the highest on record is 9"}},
			{`UPDATE attempts SET n = -5` + of + ` AND n = 2`, `UPDATE attempts SET n = 2` + of + ` AND n = -5`, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "of the attempts -5 to 3 only 3 are on record"}},
			{`UPDATE attempts SET state = 'accepted'` + of + ` AND n = 1`, `UPDATE attempts SET state = 'rejected'` + of + ` AND n = 1`, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "an attempt before the last is open"}},
			{`UPDATE attempts SET settled_at = 0` + of + ` AND n = 1`, `UPDATE attempts SET settled_at = answered_at` + of + ` AND n = 1`, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "attempt 1 is rejected, and was never settled"}},
			{`UPDATE targets SET last_n = 9, counted = 8, forgiven_n = 2 WHERE device_id = 'open'; DELETE FROM attempts WHERE device_id = 'open'`,
				`UPDATE targets SET last_n = 9, counted = 7, forgiven_n = 2 WHERE device_id = 'open'`, 0,
				store.Finding{Kind: store.FoundHigh, Where: where + "open", What: "8 attempts are counted, and 7 were made since it was forgiven"}},
			{`UPDATE targets SET forgiven_n = 12, counted = 0 WHERE device_id = 'open'`, `UPDATE targets SET forgiven_n = 2 WHERE device_id = 'open'`, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "open", What: "attempts up to number 12 are forgiven, and the last is 9"}},
			{`UPDATE targets SET closed_n = 4` + of, `UPDATE targets SET closed_n = -1` + of, 0,
				store.Finding{Kind: store.FoundNumbers, Where: where + "d", What: "it was closed at 4 attempts, and 3 are counted"}},
			{`UPDATE targets SET device_id = 'lost' WHERE device_id = 'claimed'`, `UPDATE targets SET device_id = 'claimed' WHERE device_id = 'lost'`, 0,
				store.Finding{Kind: store.FoundOrphan, Where: where + "claimed", What: "attempt 1 is open, and the target has no record"}},
			{`UPDATE leases SET expires_at = expires_at + 7200000000`, `UPDATE leases SET expires_at = 0`, 61 * time.Minute,
				store.Finding{Kind: store.FoundClaim, Where: where + "claimed", What: "attempt 1 is claimed, and its call was over at 2026-11-25T12:00:40Z"}},
			{`UPDATE targets SET state = 'lost'` + of, `UPDATE targets SET state = 'rejected'` + of, 0,
				store.Finding{Kind: store.FoundWord, Where: "table targets, column state", What: `"lost", in 1 rows`}},
			{`INSERT INTO ends (project_id, task_id, outcome, count) VALUES ('p', 'bb', 'exhausted', 2)`, `DELETE FROM ends`, 0,
				store.Finding{Kind: store.FoundSum, Where: "project p, task bb", What: "2 targets are summed up as exhausted, and 0 are that"}},
			{`ALTER TABLE ticks ADD COLUMN more TEXT`, `ALTER TABLE ticks DROP COLUMN more`, 0,
				store.Finding{Kind: store.FoundSchema}},
			{`DROP INDEX attempts_open_whole; CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id, n)
				WHERE settled_at = 0 AND device_id = '*'`,
				`DROP INDEX attempts_open_whole; ` + openWhole, 0, store.Finding{Kind: store.FoundSchema}},
			{`DROP INDEX attempts_open_whole; CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id)
				WHERE settled_at = 0 AND state = 'accepted' AND device_id = '*'`,
				`DROP INDEX attempts_open_whole; ` + openWhole, 0, store.Finding{Kind: store.FoundSchema}},
			{`DROP INDEX attempts_open_device`, ``, 0,
				store.Finding{Kind: store.FoundSchema, Where: "index attempts_open_device", What: "it is missing"}},
		} {
			_, err := db.Exec(row.damage)
			require.NoError(t, err, row.damage)
			p.sleep(row.late)
			found := check(t, s)
			require.NotEmpty(t, found, row.damage)
			require.Equal(t, row.want.Kind, found[0].Kind, "%s: %v", row.damage, found)
			if row.want.What != "" {
				require.Contains(t, found, row.want)
			}
			require.NotEmpty(t, found[0].Do())
			p.sleep(-row.late)
			_, err = db.Exec(row.repair)
			require.NoError(t, err, row.repair)
			if row.repair != "" {
				require.Empty(t, check(t, s), row.damage)
			}
		}
		_, err = db.Exec(`UPDATE attempts SET device_id = 'claimed', task_id = 'bb', state = 'accepted' WHERE device_id = 'd' AND n = 3`)
		require.NoError(t, err)
		require.Contains(t, check(t, s), store.Finding{Kind: store.FoundTwice, Where: "project p, device claimed", What: "2 attempts are open at once"})
		_, err = db.Exec(`UPDATE targets SET counted = -1`)
		require.NoError(t, err)
		require.NotEmpty(t, check(t, s))
	})
}

func TestManyFindingsOfOneKindAreCounted(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		reject(t, s, task, 100)
		_, err := p.raw(t).Exec(`UPDATE targets SET counted = 0`)
		require.NoError(t, err)
		found := check(t, s)
		require.Len(t, found, 21)
		require.Equal(t, store.Finding{Kind: store.FoundLow, Where: "elsewhere", What: "80 more of this kind"}, found[20])
	})
}

func TestACopyIsWholeThoughTheLedgerIsWrittenMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		copied := filepath.Join(t.TempDir(), "copy ' of?.db")
		o := p.o
		o.ReadOnly = true
		reader := p.with(t, o)
		if s.Shared() {
			require.ErrorIs(t, reader.CopyTo(t.Context(), copied), store.ErrNoCopy)
			return
		}
		reject(t, s, "aa", 5000)
		var copying atomic.Bool
		copying.Store(true)
		done := make(chan int)
		go func() {
			n := 0
			for ; copying.Load(); n++ {
				attempt(t, s, fmt.Sprint("d", n), 0, policy.Rejected)
			}
			done <- n
		}()
		err := reader.CopyTo(t.Context(), copied)
		copying.Store(false)
		require.Positive(t, <-done)
		require.NoError(t, err)
		info, err := os.Stat(copied)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		twin, err := store.Open(t.Context(), store.Options{Path: copied, ReadOnly: true})
		require.NoError(t, err)
		require.Empty(t, check(t, twin))
		totals, err := twin.Totals(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, totals.Targets, 5000)
		require.NoError(t, twin.Close())

		require.ErrorContains(t, reader.CopyTo(t.Context(), copied), "is there already, and is not overwritten")
		ended, end := context.WithCancel(t.Context())
		end()
		unmade := filepath.Join(t.TempDir(), "unmade.db")
		require.Error(t, reader.CopyTo(ended, unmade))
		require.NoFileExists(t, unmade)
		require.Error(t, reader.CopyTo(t.Context(), filepath.Join(unmade, "x.db")))

		restored, err := store.Open(t.Context(), store.Options{Path: copied}) // as it is
		require.NoError(t, err)
		require.NoError(t, restored.Writable(t.Context()))
		require.NoError(t, restored.Close())
	})
}

// openWhole is as the migrations have it.
const openWhole = `CREATE UNIQUE INDEX attempts_open_whole ON attempts (project_id, task_id) WHERE settled_at = 0 AND device_id = '*'`
