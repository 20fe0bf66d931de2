package store_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// older makes a ledger of schema 3, with targets in each state that matters to what
// the upgrade counts.
func (p *place) older(t testing.TB) (version, latest int64) {
	folder, dialect := "migrations/sqlite", goose.DialectSQLite3
	if p.o.URL != "" {
		folder, dialect = "migrations/postgres", goose.DialectPostgres
	}
	db := p.raw(t)
	migrations, err := goose.NewProvider(dialect, db, os.DirFS(folder))
	require.NoError(t, err)
	sources := migrations.ListSources()
	version, latest = 3, sources[len(sources)-1].Version
	_, err = migrations.UpTo(t.Context(), version)
	require.NoError(t, err)
	exec := func(statement string, values ...any) {
		_, err := db.Exec(fmt.Sprintf(statement, values...))
		require.NoError(t, err)
	}
	exec(`INSERT INTO meta (key, value) VALUES ('created_at', '%s'), ('announced', '')`, epoch.Format(time.RFC3339))
	at := epoch.UnixMicro()
	exec(`INSERT INTO tasks (project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen)
		VALUES ('%s', '%s', 'one', 'firmwareUpgrade', 'Fail', 9, 2, 7, %d, %d, %d)`, project, task, at, at, at)
	for _, row := range []struct {
		device, state, outcome string
		n, closedN             int
	}{
		{"recovered", "recovered", "recovered", 3, 3},
		{"undone", "failed", "recovered", 1, 1}, // it read Fail again
		{"exhausted", "rejected", "exhausted", 2, 2},
		{"exhausted-too", "failed", "exhausted", 25, 25},
		{"again", "failed", "exhausted", 3, 2},
		{"going", "accepted", "", 1, -1},
		{policy.WholeTask, "gone", "gone", 1, 1},
	} {
		closedAt := int64(0)
		if row.outcome != "" {
			closedAt = at
		}
		exec(`INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted, first_at, state, seen_at, closed_outcome, closed_n, closed_at)
			VALUES ('%s', '%s', '%s', 'firmwareUpgrade', 'upgrades', 'prod', %d, %d, %d, '%s', %d, '%s', %d, %d)`,
			project, task, row.device, row.n, row.n, at, row.state, at, row.outcome, row.closedN, closedAt)
		for n := 1; n <= row.n; n++ {
			state, settled := "failed", at
			if n == row.n {
				state = row.state
			}
			if state == "accepted" {
				settled = 0
			}
			exec(`INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, claimed_at, send_by, answered_at, settled_at, settle, stale_after, wait_retry_fails)
				VALUES ('%s', '%s', '%s', %d, '%s', 'firmwareUpgrade', 'upgrades', 'prod', %d, %d, %d, %d, 1, 1, FALSE)`,
				project, task, row.device, n, state, at, at, at, settled)
		}
	}
	return version, latest
}

func TestAnUpgradeCountsWhatThereIs(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		p.older(t)
		s := p.open(t)
		require.False(t, s.Created())
		require.Empty(t, check(t, s))
		tasks, _, err := s.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 5})
		require.NoError(t, err)
		require.Len(t, tasks, 1)
		require.Equal(t, map[string]int{"recovered": 1, "exhausted": 2}, tasks[0].Ended)
		require.Equal(t, 1, tasks[0].Open)
		require.Zero(t, tasks[0].CountedAt)
		progress, err := s.TaskProgress(t.Context(), project, task, epoch)
		require.NoError(t, err)
		require.Equal(t, []store.Progress{{At: epoch, Total: 9, Success: 2, Fail: 7}}, progress)
		hours, err := s.Hours(t.Context(), epoch)
		require.NoError(t, err)
		sums := map[string]int{}
		for _, h := range hours {
			require.Equal(t, epoch, h.Hour)
			require.LessOrEqual(t, h.N, 20)
			sums[h.Outcome] += h.Count
		}
		require.Equal(t, map[string]int{"recovered": 1, "rejected": 1, "gone": 1, "failed": 2 + 1 + 1 + 25 + 3, "exhausted": 3}, sums)
		targets, _, err := s.ListTargets(t.Context(), store.TargetFilter{Is: "exhausted"}, store.Page{Limit: 5})
		require.NoError(t, err)
		require.Len(t, targets, 2)
	})
}

func TestAnUpgradeLetsATargetComeToItsEndWhoseRecoveryWasUndone(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		p.older(t)
		s := p.open(t)
		r := record(t, s, task, "undone")
		require.False(t, r.Closed)
		require.Equal(t, policy.Failed, r.State)
		closed, err := s.CloseTargets(t.Context(), decided(t, s, ends(task, "exhausted", "undone", "exhausted-too", "recovered")))
		require.NoError(t, err)
		require.Len(t, closed, 1, "and no other one comes to another")
		tasks, _, err := s.ListTasks(t.Context(), store.TaskFilter{}, store.Page{Limit: 5})
		require.NoError(t, err)
		require.Equal(t, map[string]int{"recovered": 1, "exhausted": 3}, tasks[0].Ended)
		require.Empty(t, check(t, s))
	})
}

// TestAnUpgradeWaitsForWhatAnOlderReplicaIsDoing holds it up for longer than a session's statements
// may take.
func TestAnUpgradeWaitsForWhatAnOlderReplicaIsDoing(t *testing.T) {
	for name, does := range map[string][]string{
		"an answer":            {`SELECT pg_advisory_xact_lock_shared(1920234105)`, `UPDATE attempts SET text = 'no'`, `UPDATE targets SET reject_text = 'no'`},
		"it looks what it has": {`SELECT 1 FROM tasks`, `SELECT 1 FROM targets`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &place{o: store.Options{URL: pgtest.Database(t)}}
			p.older(t)
			db := p.raw(t)
			older, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			last := len(does) - 1
			for _, statement := range does[:last] {
				_, err := older.Exec(statement)
				require.NoError(t, err)
			}
			address, err := url.Parse(p.o.URL)
			require.NoError(t, err)
			q := address.Query()
			for _, limit := range []string{"statement_timeout", "lock_timeout"} {
				q.Set(limit, "1s")
			}
			address.RawQuery = q.Encode()
			upgraded := make(chan error, 1)
			go func() {
				s, err := store.Open(t.Context(), store.Options{URL: address.String()})
				if err == nil {
					err = s.Close()
				}
				upgraded <- err
			}()
			require.Eventually(t, func() (waits bool) {
				require.NoError(t, db.QueryRow(`SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
					AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > INTERVAL '1.2 seconds'`).Scan(&waits))
				return waits
			}, 20*time.Second, 20*time.Millisecond)
			_, err = older.Exec(does[last])
			require.NoError(t, err)
			require.NoError(t, older.Commit())
			require.NoError(t, <-upgraded)
		})
	}
}

// BenchmarkUpgrade brings a ledger up to date with three attempts for each of many targets.
func BenchmarkUpgrade(b *testing.B) {
	for name, p := range map[string]*place{
		"SQLite":     {o: store.Options{Path: filepath.Join(b.TempDir(), "retryd.db")}},
		"PostgreSQL": {o: store.Options{URL: pgtest.Database(b)}},
	} {
		targets := map[string]int{"SQLite": 100_000, "PostgreSQL": 1_000_000}[name]
		b.Run(fmt.Sprintf("%s/%d", name, targets), func(b *testing.B) {
			p.older(b)
			for _, query := range []string{
				`INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted, first_at, state, seen_at, closed_outcome, closed_n, closed_at)
					SELECT project_id, task_id || i % 900, device_id || '-' || i, task_type, policy, connection, last_n, counted, first_at, state, seen_at, closed_outcome, closed_n, closed_at
					FROM targets, ` + p.numbers(targets) + ` WHERE device_id = 'recovered'`,
				`INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, claimed_at, send_by, answered_at, settled_at, settle, stale_after, wait_retry_fails, text)
					SELECT project_id, task_id || i % 900, device_id || '-' || i, n, state, task_type, policy, connection, claimed_at + i, send_by, answered_at, settled_at, settle, stale_after, wait_retry_fails, 'Waiting for the device online timeout'
					FROM attempts, ` + p.numbers(targets) + ` WHERE device_id = 'recovered'`,
			} {
				_, err := p.raw(b).Exec(query)
				require.NoError(b, err)
			}
			for b.Loop() { // the second one would find nothing to do: -benchtime 1x
				s, err := store.Open(b.Context(), p.o)
				require.NoError(b, err)
				require.NoError(b, s.Close())
			}
		})
	}
}

func TestAnUpgradeKeepsACopyForItsUserOnly(t *testing.T) {
	p := &place{o: store.Options{Path: filepath.Join(t.TempDir(), "retryd.db")}}
	version, latest := p.older(t)
	_, err := store.Open(t.Context(), store.Options{Path: p.o.Path, ReadOnly: true})
	require.ErrorContains(t, err, fmt.Sprintf("has schema %d, this program reads %d: start `retryd run` once to bring it up to date", version, latest))
	backup := fmt.Sprintf("%s.schema-%d.bak", p.o.Path, version)
	require.NoError(t, os.WriteFile(backup, []byte("of an upgrade that was cut off"), 0o644))
	s := open(t, p.o.Path)
	require.Equal(t, backup, s.Backup())
	info, err := os.Stat(backup)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, 2+1, record(t, s, task, "exhausted").Counted, "and the whole task's")
	require.Empty(t, check(t, s))
	require.NoError(t, s.Close())
	s = open(t, p.o.Path)
	require.Empty(t, s.Backup())
	require.NoError(t, s.Close())
}

func TestAMigrationIsOneStatementToGoose(t *testing.T) {
	files, err := filepath.Glob("migrations/*/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), "-- +goose StatementBegin\n"), file)
		require.Equal(t, 1, strings.Count(string(text), "-- +goose StatementEnd\n"), file)
	}
}
