package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

// list is a list with a filter.
type list struct {
	name string
	page func(context.Context, store.Page) (next string, err error)
}

// lists gives each list with each of its filters, and some of them together.
func lists(s *store.Store) (all []list) {
	add := func(name string, page func(context.Context, store.Page) (string, error)) {
		all = append(all, list{name, page})
	}
	for name, f := range map[string]store.TaskFilter{
		"": {}, "of a project": {ProjectID: "project-7"}, "by id": {TaskID: "task-7"}, "by name": {Name: "fw-150"}, "of a policy": {Policy: "policy-3"},
		"of a connection": {Connection: "connection-7"}, "by status": {Status: "Success"}, "also gone": {Gone: true},
	} {
		add("tasks "+name, func(ctx context.Context, p store.Page) (string, error) {
			_, next, err := s.ListTasks(ctx, f, p)
			return next, err
		})
	}
	for name, f := range map[string]store.TargetFilter{
		"": {}, "of a project": {ProjectID: "project-7"}, "of a task": {ProjectID: "project-7", TaskID: "task-7"}, "of a task anywhere": {TaskID: "task-7"},
		"one": {ProjectID: "project-7", TaskID: "task-7", DeviceID: "device-00000147"}, "of a device": {DeviceID: "device-00000147"}, "of a policy": {Policy: "policy-3"},
		"of a connection": {Connection: "connection-7"}, "open": {Is: "open"}, "waiting": {Is: "waiting"}, "exhausted": {Is: "exhausted"}, "permanent": {Is: "permanent"},
		"open of a task": {ProjectID: "project-7", TaskID: "task-7", Is: "open"}, "waiting of a task": {ProjectID: "project-7", TaskID: "task-7", Is: "waiting"},
		"exhausted of a task": {ProjectID: "project-7", TaskID: "task-7", Is: "exhausted"}, "open of a policy": {Policy: "policy-3", Is: "open"},
		"waiting of a policy": {Policy: "policy-3", Is: "waiting"}, "permanent of a policy": {Policy: "policy-3", Is: "permanent"}, "exhausted of a project": {ProjectID: "project-7", Is: "exhausted"},
		"waiting of a project": {ProjectID: "project-7", Is: "waiting"}, "open of a project": {ProjectID: "project-7", Is: "open"}, "exhausted of a device": {DeviceID: "device-00000147", Is: "exhausted"},
	} {
		add("targets "+name, func(ctx context.Context, p store.Page) (string, error) {
			_, next, err := s.ListTargets(ctx, f, p)
			return next, err
		})
	}
	ago := func(days int) time.Time { return epoch.Add(-time.Duration(days) * 24 * time.Hour) }
	for name, f := range map[string]store.AttemptFilter{
		"": {}, "of a project": {ProjectID: "project-7"}, "of a task": {ProjectID: "project-7", TaskID: "task-7"}, "of a task anywhere": {TaskID: "task-7"},
		"of one target": {ProjectID: "project-7", TaskID: "task-7", DeviceID: "device-00000147"}, "of a device": {DeviceID: "device-00000147"}, "of a policy": {Policy: "policy-3"},
		"of a connection": {Connection: "connection-7"}, "of both": {Policy: "policy-3", Connection: "connection-7"}, "accepted": {State: "accepted"}, "gone": {State: "gone"},
		"of a task and failed": {ProjectID: "project-7", TaskID: "task-7", State: "failed"}, "of a time": {Since: ago(20), Until: ago(10)}, "of a policy and a time": {Policy: "policy-3", Since: ago(20), Until: ago(10)},
		"of a task and a time": {ProjectID: "project-7", TaskID: "task-7", Since: ago(20), Until: ago(10)},
	} {
		add("attempts "+name, func(ctx context.Context, p store.Page) (string, error) {
			_, next, err := s.ListAttempts(ctx, f, p)
			return next, err
		})
	}
	for name, f := range map[string]store.SweepFilter{
		"": {}, "of a policy": {Policy: "policy-3"}, "of a connection": {Connection: "connection-7"}, "of both": {Policy: "policy-3", Connection: "connection-7"}, "failed": {Result: "failed"},
		"running": {Result: "running"}, "of a policy and failed": {Policy: "policy-3", Result: "failed"}, "of a time": {Since: ago(20), Until: ago(10)},
	} {
		add("sweeps "+name, func(ctx context.Context, p store.Page) (string, error) {
			_, next, err := s.ListSweeps(ctx, f, p)
			return next, err
		})
	}
	for name, f := range map[string]store.ActionFilter{"": {}, "of a task": {ProjectID: "project-7", TaskID: "task-7"}} {
		add("actions "+name, func(ctx context.Context, p store.Page) (string, error) {
			_, next, err := s.ListActions(ctx, f, p)
			return next, err
		})
	}
	add("policies", func(ctx context.Context, _ store.Page) (string, error) {
		_, err := s.PolicyRows(ctx)
		return "", err
	})
	for name, since := range map[string]time.Time{"a day": ago(1), "a week": ago(7), "a month": ago(30)} {
		add("hours of "+name, func(ctx context.Context, _ store.Page) (string, error) {
			_, err := s.Hours(ctx, since)
			return "", err
		})
	}
	add("progress", func(ctx context.Context, _ store.Page) (string, error) {
		_, err := s.TaskProgress(ctx, "project-7", "task-7", ago(7))
		return "", err
	})
	return all
}

// statement is one that was run, with what it was run for.
type statement struct {
	text string
	args []any
}

// recorder is a driver that notes the statements that are run.
type recorder struct {
	of   driver.Driver
	name string
	seen *[]statement
}

func (r recorder) Connect(context.Context) (driver.Conn, error) {
	conn, err := r.of.Open(r.name)
	return recorded{conn, r.seen}, err
}

type recorded struct {
	driver.Conn
	seen *[]statement
}

func (r recorded) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s := statement{text: query}
	for _, arg := range args {
		s.args = append(s.args, arg.Value)
	}
	*r.seen = append(*r.seen, s)
	return r.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// Driver gives the driver that does the work.
func (r recorder) Driver() driver.Driver { return r.of }

// record has the statements noted by which a ledger is read.
func (p *place) record(t testing.TB, s *store.Store) *[]statement {
	r := recorder{of: p.raw(t).Driver(), name: p.o.Path, seen: &[]statement{}}
	if p.o.URL != "" {
		r.name = p.o.URL
	}
	require.NoError(t, store.ReadFrom(s, sql.OpenDB(r)))
	return r.seen
}

// steps gives how SQLite goes about a statement.
func steps(t testing.TB, db *sql.DB, s statement) string {
	rows, err := db.Query(`EXPLAIN QUERY PLAN `+s.text, s.args...)
	require.NoError(t, err, s.text)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(new(int), new(int), new(int), &line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	plan := strings.Join(lines, "\n")
	if inner := "CO-ROUTINE t\n"; strings.Contains(plan, inner) { // the rows of one page
		plan = strings.Replace(plan, "\nSCAN t\n", "\n", 1)
	}
	return plan
}

// What SQLite says where it reads a whole table, and where it sorts more than rows of one moment.
var (
	whole = regexp.MustCompile(`(?m)SCAN (targets|attempts|ticks|hours|t|a|o|l)$`)
	slow  = regexp.MustCompile(`USE TEMP B-TREE FOR ORDER BY`)
)

// sortsFew are lists for which what is open, or a row for each policy, is sorted.
var sortsFew = map[string]bool{"attempts accepted": true, "sweeps running": true}

// node is a part of how PostgreSQL has run a statement.
type node struct {
	Kind    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Left    float64 `json:"Rows Removed by Filter"`
	Checked float64 `json:"Rows Removed by Index Recheck"`
	Plans   []node
}

// most gives the most rows that any part of it has read of a table that grows, or sorted.
func (n node) most() float64 {
	rows := 0.0
	if n.Kind == "Sort" || slices.Contains([]string{"targets", "attempts", "ticks"}, n.Table) {
		rows = n.Loops * (n.Rows + n.Left + n.Checked)
	}
	for _, part := range n.Plans {
		rows = max(rows, part.most())
	}
	return rows
}

func ran(t testing.TB, db *sql.DB, s statement) (rows int, plan string) {
	require.NoError(t, db.QueryRow(`EXPLAIN (ANALYZE, FORMAT JSON) `+s.text, s.args...).Scan(&plan), s.text)
	return mostOf(t, plan), plan
}

// mostOf gives the most rows that any part of a plan has read.
func mostOf(t testing.TB, plan string) int {
	var root []struct{ Plan node }
	require.NoError(t, json.Unmarshal([]byte(plan), &root), plan)
	return int(root[0].Plan.most())
}

// TestNoListReadsOrSortsAWholeTable looks at how each statement is run on a ledger of some size, for
// the first page and the second.
func TestNoListReadsOrSortsAWholeTable(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		targets, limit := 20_000, 50
		if p.o.URL == "" { // it plans without looking at the rows
			targets, limit = 2000, 5
		}
		p.large(t, targets)
		db := p.raw(t)
		seen := p.record(t, s)
		for _, l := range lists(s) {
			next, err := l.page(t.Context(), store.Page{Limit: limit})
			require.NoError(t, err, l.name)
			if next != "" {
				_, err := l.page(t.Context(), store.Page{Limit: limit, After: next})
				require.NoError(t, err, l.name)
			}
			require.NotEmpty(t, *seen, l.name)
			for _, one := range *seen {
				if p.o.URL == "" {
					plan := steps(t, db, one)
					if !sortsFew[l.name] {
						require.NotRegexp(t, slow, plan, "%s: %s", l.name, one.text)
					}
					require.NotRegexp(t, whole, plan, "%s: %s", l.name, one.text)
					continue
				}
				if rows, plan := ran(t, db, one); !strings.HasPrefix(l.name, "hours") { // they are all given
					require.LessOrEqual(t, rows, 1000, "%s: %s\n%s", l.name, one.text, plan)
				}
			}
			*seen = nil
		}
	})
}
