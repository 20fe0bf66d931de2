package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/store"
)

func TestAnAddressThatLeadsNowhereIsSaidWithoutItsPassword(t *testing.T) {
	there := pgtest.Database(t)
	for address, want := range map[string]string{
		"postgres://retryd:secret@127.0.0.1:1/retryd":                                     "ledger postgres://retryd@127.0.0.1:1/retryd: the database cannot be reached: ",
		"postgres://retryd:secret@127.0.0.1:nowhere/retryd":                               "ledger: store.url is no address of a PostgreSQL database, such as postgres://",
		strings.Replace(there, "/retryd_test", "/no_retryd_test", 1) + "&password=secret": "the database refuses the connection: database \"no_retryd_test",
		strings.Replace(there, "postgres@", "nobody:secret@", 1):                          "the database refuses the connection: role \"nobody\" does not exist",
		there: "there is no ledger",
	} {
		_, err := store.Open(t.Context(), store.Options{URL: address})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := store.Open(t.Context(), store.Options{URL: there, Create: true, ReadOnly: true})
	require.ErrorIs(t, err, store.ErrNoLedger, "who may only read makes none")
}

func TestADatabaseThatTakesNoWritesIsSaid(t *testing.T) {
	p := &place{o: store.Options{URL: pgtest.Database(t)}, now: epoch}
	require.NoError(t, p.open(t).Close())
	db := p.raw(t)
	var name string
	require.NoError(t, db.QueryRow(`SELECT current_database()`).Scan(&name))
	_, err := db.Exec(`ALTER DATABASE ` + name + ` SET default_transaction_read_only = on`) // as a standby
	require.NoError(t, err)
	s, err := store.Open(t.Context(), store.Options{URL: p.o.URL, Join: true})
	require.NoError(t, err)
	defer s.Close()
	require.ErrorContains(t, s.Writable(t.Context()), "the database takes no writes: it is a standby, or was made read-only; let store.url name the one that does: ")
}

func TestADatabaseThatWasAwayIsGotOverWithTheSameHandle(t *testing.T) {
	server, err := pgtest.Start()
	require.NoError(t, err)
	defer server.Remove()
	p := &place{o: store.Options{URL: server.URL()}, now: epoch}
	s := p.open(t)
	attempt(t, s, "d", 0, "rejected")
	for _, how := range []string{"fast", "immediate"} {
		require.NoError(t, server.Down(how))
		require.Error(t, s.Writable(t.Context()))
		require.NoError(t, server.Up())
		require.Eventually(t, func() bool { return s.Writable(t.Context()) == nil }, 10*time.Second, 50*time.Millisecond)
		require.Equal(t, 1, record(t, s, task, "d").Counted)
	}
}

func TestAReadThatADatabaseDoesNotAnswerIsGivenUp(t *testing.T) {
	p := &place{o: store.Options{URL: pgtest.Database(t)}, now: epoch}
	failed := 0
	p.o.ObserveRead = func(error) { failed++ }
	s := p.open(t)
	held, err := p.raw(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = held.Exec(`LOCK TABLE attempts, targets`) // it waits for longer than that
	require.NoError(t, err)
	store.Impatient(s, 50*time.Millisecond)
	_, err = s.Records(t.Context(), project, task, []string{"d"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Totals(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 2, failed)
	require.NoError(t, held.Rollback())
	store.Impatient(s, time.Minute)
	require.Zero(t, record(t, s, task, "d").N)
}
