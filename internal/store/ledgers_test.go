package store_test

import (
	"os"
	"path/filepath"
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
			p := &place{o: options(), now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
			p.o.Clock = func() time.Time { return p.now }
			f(t, p)
		})
	}
}

// open opens the ledger as a daemon does.
func (p *place) open(t testing.TB) *store.Store {
	o := p.o
	o.Create = true
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// sleep moves the clock.
func (p *place) sleep(d time.Duration) { p.now = p.now.Add(d) }
