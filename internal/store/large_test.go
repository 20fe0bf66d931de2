package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/store"
)

// numbers is a table with the column i: 0 to n - 1.
func (p *place) numbers(n int) string {
	if p.o.URL != "" {
		return fmt.Sprintf(`generate_series(0, %d) AS numbers (i)`, n-1)
	}
	return fmt.Sprintf(`(WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < %d) SELECT i FROM numbers) AS numbers`, n-1)
}

// large fills a ledger as a fleet does in a month, with three attempts for each of n targets: 20
// projects with a connection each, 10 tasks in each of them, 4 policies, and sweeps and hours in
// proportion, 500 and 720 of each policy for 100,000. Most targets have come to an
// end, one in fifty has an open attempt.
func (p *place) large(t testing.TB, n int) {
	db, numbers := p.raw(t), p.numbers
	padded := func(number string) string {
		return `substr('00000000' || ` + number + `, length('x' || ` + number + `))`
	}
	begin := epoch.Add(-30 * 24 * time.Hour).UnixMicro()
	at := func(of int, number string) string {
		return fmt.Sprintf(`(%d + CAST(%s AS BIGINT) * %d)`, begin, number, (30*24*time.Hour).Microseconds()/int64(of))
	}
	const in, task, name, connection = `'project-' || (i % 20)`, `'task-' || (i / 20 % 10)`, `'policy-' || (i / 20 % 4)`, `'connection-' || (i % 20)`
	device := `'device-' || ` + padded(`CAST(i AS TEXT)`)
	statements := []string{
		`INSERT INTO policies (policy, connection, first_seen) SELECT ` + strings.Join([]string{name, connection, "1"}, ", ") + ` FROM ` + numbers(80),
		`INSERT INTO tasks (project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen, policy, connection)
			SELECT ` + strings.Join([]string{in, task, `'fw-' || i`, `'firmwareUpgrade'`, `'Fail'`, "100", "1", "99", "1", "1", "1", name, connection}, ", ") + ` FROM ` + numbers(200),
		`INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted, state, closed_outcome, closed_n, closed_at)
			SELECT ` + strings.Join([]string{in, task, device, `'firmwareUpgrade'`, name, connection, "3", "3"}, ", ") + `,
				CASE i % 50 WHEN 0 THEN 'accepted' WHEN 1 THEN 'rejected' ELSE 'recovered' END, CASE WHEN i % 50 < 2 THEN '' WHEN i % 50 < 40 THEN 'recovered' ELSE 'exhausted' END,
				CASE WHEN i % 50 < 2 THEN -1 ELSE 3 END, 1 FROM ` + numbers(n),
		`INSERT INTO ends (project_id, task_id, outcome, count) SELECT project_id, task_id, ended, count(*) FROM targets WHERE ended <> '' GROUP BY project_id, task_id, ended`,
	}
	for try := 1; try <= 3; try++ { // the tries of a target are ten days apart
		state := `'failed'`
		if try == 3 {
			state = `CASE i % 50 WHEN 0 THEN 'accepted' WHEN 1 THEN 'rejected' ELSE 'recovered' END`
		}
		claimed := at(3*n, fmt.Sprintf(`(i + %d)`, (try-1)*n))
		settled := `CASE WHEN i % 50 = 0 AND ` + fmt.Sprint(try) + ` = 3 THEN 0 ELSE ` + claimed + ` END`
		statements = append(statements, `INSERT INTO attempts
			(project_id, task_id, device_id, n, state, task_type, policy, connection, tick, claimed_at, answered_at, settled_at, send_by, settle, stale_after, wait_retry_fails)
			SELECT `+strings.Join([]string{in, task, device, fmt.Sprint(try), state, `'firmwareUpgrade'`, name, connection, "1", claimed, claimed, settled, "1", "1", "1", "FALSE"}, ", ")+` FROM `+numbers(n))
	}
	sweeps, hours := n/200, n*720/100_000
	statements = append(statements,
		`INSERT INTO ticks (policy, connection, tick, started_at, finished_at, result)
			SELECT `+name+`, `+connection+`, i, `+at(80*sweeps, "i")+`, `+at(80*sweeps, "i")+` + 1, CASE (i / 80) % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'partial' ELSE 'complete' END FROM `+numbers(80*sweeps),
		`INSERT INTO hours (hour, policy, connection, outcome, n, count)
			SELECT `+at(hours, "(i / 80)")+`, `+name+`, `+connection+`, 'recovered', 1, 3 FROM `+numbers(80*hours),
		`INSERT INTO actions (at, who, source, what, subject, why, project_id, task_id)
			SELECT `+at(n/10, "i")+`, 'ann', 'terminal', 'pause', 'task', 'why', `+in+`, `+task+` FROM `+numbers(n/10))
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	if p.o.URL != "" { // SQLite plans without
		_, err := db.Exec(`ANALYZE`)
		require.NoError(t, err)
	}
}

// BenchmarkLists reads what a page shows first, of a ledger with 100,000 targets and 300,000 attempts.
func BenchmarkLists(b *testing.B) {
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		b.Run(kind, func(b *testing.B) {
			p := &place{now: epoch}
			if p.o.Path = filepath.Join(b.TempDir(), "retryd.db"); kind == "PostgreSQL" {
				p.o = store.Options{URL: pgtest.Database(b)}
			}
			s := p.open(b)
			p.large(b, 100_000)
			for _, l := range lists(s) {
				b.Run(l.name, func(b *testing.B) {
					for b.Loop() {
						if _, err := l.page(b.Context(), store.Page{Limit: 50}); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
