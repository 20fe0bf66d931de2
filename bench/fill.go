package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// filling is history for a ledger: targets that were retried some times, and recovered at last.
type filling struct {
	attempts  int
	perTarget int           // attempts of each target
	perTask   int           // targets of each task
	age       time.Duration // they are spread from there to now
}

// fill writes history into a ledger that retryd has made, task by task and in the order of time. If it
// is cut off the ledger is of no use: nothing is synced. Indices are made at the end.
func fill(ctx context.Context, path string, f filling) error {
	address := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=journal_mode(OFF)&_pragma=synchronous(0)&_pragma=cache_size(-262144)"}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	made, err := indices(ctx, db)
	if err != nil {
		return err
	}
	var statements []string
	for name := range made {
		statements = append(statements, "DROP INDEX "+name)
	}
	statements = append(statements, f.statements(time.Now())...)
	for _, statement := range made {
		statements = append(statements, statement)
	}
	statements = append(statements, "PRAGMA journal_mode = WAL")
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill the ledger: %w: %s", err, statement)
		}
	}
	return nil
}

// statements fill the tables. i counts rows; a task's attempts come sweep by sweep.
func (f filling) statements(now time.Time) []string {
	targets := f.attempts / f.perTarget
	replace := strings.NewReplacer(
		"@project", "'"+projectID(0)+"'", "@attempts", fmt.Sprint(f.attempts), "@targets", fmt.Sprint(targets), "@tasks", fmt.Sprint((targets+f.perTask-1)/f.perTask),
		"@perTask", fmt.Sprint(f.perTask), "@perTarget", fmt.Sprint(f.perTarget), "@of_task", fmt.Sprint(f.perTask*f.perTarget),
		"@now", fmt.Sprint(now.UnixMicro()), "@begun", fmt.Sprint(now.Add(-f.age).UnixMicro()),
		"@step", fmt.Sprint(f.age.Microseconds()/int64(f.attempts)),
		"@series", `WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < `,
		"@task_id", `printf('5e%022x', t)`, "@device", `printf('%024x_h%06d', t, t * `+fmt.Sprint(f.perTask)+` + d)`,
	)
	return []string{
		replace.Replace(`@series @tasks - 1) INSERT INTO tasks (project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen)
			SELECT @project, @task_id, 'history-' || t, 'firmwareUpgrade', 'Success', @perTask, @perTask, 0, @begun, @begun, @now FROM (SELECT i AS t FROM i)`),
		replace.Replace(`@series @targets - 1) INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted,
				first_at, state, seen_at, closed_outcome, closed_n, closed_at)
			SELECT @project, @task_id, @device, 'firmwareUpgrade', 'p00', 'c0000', @perTarget, @perTarget, @begun, 'recovered', @now, 'recovered', @perTarget, @now
			FROM (SELECT i / @perTask AS t, i % @perTask AS d FROM i)`),
		replace.Replace(`@series @attempts - 1) INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, tick, claimed_at, send_by,
				answered_at, settled_at, settle, stale_after, wait_retry_fails, budget, token, request_id)
			SELECT @project, @task_id, @device, n, CASE n WHEN @perTarget THEN 'recovered' ELSE 'failed' END, 'firmwareUpgrade', 'p00', 'c0000',
				ended / 300000000 * 300000000, ended - 60000000, ended, ended - 59000000, ended, 300000000, 604800000000, 0, 'http://127.0.0.1', 1, printf('%032x', i)
			FROM (SELECT i, i / @of_task AS t, i % @of_task % @perTask AS d, i % @of_task / @perTask + 1 AS n,
				@begun + i * @step AS ended FROM i)`),
	}
}

// since gives for how long history has to be kept so that so many of the oldest attempts go.
func since(ctx context.Context, path string, attempts int) (time.Duration, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}).String())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var at int64
	err = db.QueryRowContext(ctx, `SELECT settled_at FROM attempts WHERE settled_at > 0 ORDER BY settled_at LIMIT 1 OFFSET ?`, attempts).Scan(&at)
	return time.Since(time.UnixMicro(at)), err
}

// indices gives the statements that made them, by name.
func indices(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('attempts', 'targets') AND sql IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	made := map[string]string{}
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return nil, err
		}
		made[name] = statement
	}
	return made, rows.Err()
}
