package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"retryd/internal/store"
)

// prepared opens a database of one connection that keeps its statements, with a table t of three rows.
func prepared(t *testing.T, address string) *sql.DB {
	db, err := store.OpenPrepared(address)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Exec(`CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2), (3)`)
	require.NoError(t, err)
	return db
}

func numbers(t *testing.T, rows *sql.Rows, err error) (all []int) {
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int
		require.NoError(t, rows.Scan(&n))
		all = append(all, n)
	}
	require.NoError(t, rows.Err())
	return all
}

// count is of the statements that the driver made and finalized.
type count struct{ made, closed int }

type countedConnector struct {
	driver.Connector
	n *count
}

func (c countedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return countedConn{conn.(store.SQLiteConn), c.n}, nil
}

type countedConn struct {
	store.SQLiteConn
	n *count
}

func (c countedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.SQLiteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	c.n.made++
	return countedStmt{s.(store.SQLiteStmt), c.n}, nil
}

type countedStmt struct {
	store.SQLiteStmt
	n *count
}

func (s countedStmt) Close() error {
	s.n.closed++
	return s.SQLiteStmt.Close()
}

func TestAConnectionPreparesAStatementOnceAndKeepsSoManyAndNoMore(t *testing.T) {
	defer goleak.VerifyNone(t)
	var n count
	connector, err := sqlite.NewConnector("file::memory:")
	require.NoError(t, err)
	db := sql.OpenDB(store.Preparing(countedConnector{connector, &n}))
	db.SetMaxOpenConns(1)
	const one = `SELECT ? UNION SELECT 9 ORDER BY 1`
	for i := range 5 {
		rows, err := db.Query(one, i)
		require.Equal(t, []int{i, 9}, numbers(t, rows, err), "with the values of each call, and none of the one before")
	}
	require.Equal(t, count{1, 0}, n)

	tx, err := db.Begin()
	require.NoError(t, err)
	rows, err := tx.Query(one, 1)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		_, err := tx.Exec(one, 2)
		require.NoError(t, err)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, tx.Commit())
	require.Equal(t, count{2, 1}, n, "one more while the first was in use")

	for i := range 3 * store.MaxKept {
		_, err := db.Exec(fmt.Sprintf(`SELECT %d`, i))
		require.NoError(t, err)
	}
	require.Equal(t, store.MaxKept, n.made-n.closed)
	require.NoError(t, db.Close())
	require.Equal(t, n.made, n.closed)
}

// TestAStatementInUseIsNotUsedByTwo nests queries of one text in a transaction, as a claim in a list of claims is.
func TestAStatementInUseIsNotUsedByTwo(t *testing.T) {
	db := prepared(t, "file:"+filepath.Join(t.TempDir(), "some.db")+"?_pragma=journal_mode(WAL)")
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	const query = `SELECT n FROM t WHERE n <> ? ORDER BY n`
	outer, err := tx.Query(query, 2)
	require.NoError(t, err)
	defer outer.Close()
	var seen []int
	for outer.Next() {
		var n int
		require.NoError(t, outer.Scan(&n))
		seen = append(seen, n)
		rows, err := tx.Query(query, n)
		require.Len(t, numbers(t, rows, err), 2)
	}
	require.NoError(t, outer.Err())
	require.Equal(t, []int{1, 3}, seen)
}

func TestAKeptStatementSeesAChangedSchema(t *testing.T) {
	file := filepath.Join(t.TempDir(), "some.db")
	open := func() *sql.DB {
		db, err := store.OpenPrepared("file:" + file)
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	db, other := open(), open()
	_, err := db.Exec(`CREATE TABLE t (n INTEGER)`)
	require.NoError(t, err)
	const insert = `INSERT INTO t (n) VALUES (?)`
	_, err = db.Exec(insert, 1)
	require.NoError(t, err)
	_, err = other.Exec(`DROP TABLE t; CREATE TABLE t (m INTEGER DEFAULT 7, n INTEGER)`)
	require.NoError(t, err)
	_, err = db.Exec(insert, 2)
	require.NoError(t, err)
	rows, err := db.Query(`SELECT m * 10 + n FROM t`)
	require.Equal(t, []int{72}, numbers(t, rows, err))
}

// TestOneThatFailedOrWasGivenUpWorksAgain in memory, where the driver keeps the connection of one that was given
// up: of a file it opens another.
func TestOneThatFailedOrWasGivenUpWorksAgain(t *testing.T) {
	db := prepared(t, "file::memory:")
	_, err := db.Exec(`CREATE UNIQUE INDEX once ON t (n)`)
	require.NoError(t, err)
	const insert = `INSERT INTO t VALUES (?)`
	_, err = db.Exec(insert, 1)
	require.ErrorContains(t, err, "UNIQUE")
	_, err = db.Exec(insert, 4)
	require.NoError(t, err)
	const long = `WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) SELECT count(*) FROM c`
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var n int
	require.ErrorIs(t, db.QueryRowContext(brief, long, 1<<40).Scan(&n), context.DeadlineExceeded)
	require.NoError(t, db.QueryRow(long, 9).Scan(&n))
	require.Equal(t, 9, n)
}
