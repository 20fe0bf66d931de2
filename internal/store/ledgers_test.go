package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"retryd/internal/pgtest"
	"retryd/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { pgtest.Stop(); os.Exit(code) }))
}

// epoch is when tests begin, on the ledger's clock.
var epoch = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// place is where a ledger is kept, and the clock that it goes by.
type place struct {
	o   store.Options
	now time.Time
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, f func(t *testing.T, p *place)) {
	kinds := map[string]func() store.Options{
		"SQLite":     func() store.Options { return store.Options{Path: filepath.Join(t.TempDir(), "retryd.db")} },
		"PostgreSQL": func() store.Options { return store.Options{URL: pgtest.Database(t)} },
	}
	for name, options := range kinds {
		t.Run(name, func(t *testing.T) {
			p := &place{o: options(), now: epoch}
			p.o.Clock = func() time.Time { return p.now }
			f(t, p)
		})
	}
}

// open opens the ledger as a daemon does.
func (p *place) open(t testing.TB) *store.Store {
	o := p.o
	o.Create = true
	return p.with(t, o)
}

// beside opens the ledger once more: as another replica does, or beside the only one.
func (p *place) beside(t testing.TB) *store.Store {
	o := p.o
	o.Join = true
	return p.with(t, o)
}

func (p *place) with(t testing.TB, o store.Options) *store.Store {
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// sleep moves the clock.
func (p *place) sleep(d time.Duration) { p.now = p.now.Add(d) }

// raw opens the database without the store.
func (p *place) raw(t testing.TB) *sql.DB {
	kind, name := "sqlite", p.o.Path
	if p.o.URL != "" {
		kind, name = "pgx", p.o.URL
	}
	db, err := sql.Open(kind, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

var tables = []string{"targets", "attempts", "ends", "hours", "tasks", "progress", "policies", "ticks", "actions", "pauses", "approvals", "halts", "auth_failures", "leases", "replicas", "meta", "connections", "notices", "receivers", "requests"}

// dump gives all rows, to see whether anything changed.
func (p *place) dump(t testing.TB, but ...string) string {
	db := p.raw(t)
	var lines []string
	for _, table := range tables {
		if slices.Contains(but, table) {
			continue
		}
		rows, err := db.Query(`SELECT * FROM ` + table)
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			lines = append(lines, table+fmt.Sprintf(" %v", values))
		}
		require.NoError(t, rows.Err())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
