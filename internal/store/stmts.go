package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	modernc "modernc.org/sqlite"
)

// openPrepared opens SQLite so that each connection prepares a statement once, as PostgreSQL's driver
// does by itself: a claim has some ten statements, and SQLite takes about as long to plan one as to run it.
func openPrepared(address string) (*sql.DB, error) {
	connector, err := modernc.NewConnector(address)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return sql.OpenDB(preparing{connector}), nil
}

// preparing makes connections that keep their statements.
type preparing struct{ driver.Connector }

// Connect opens a connection.
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &preparedConn{sqliteConn: c.(sqliteConn), kept: map[string]sqliteStmt{}}, nil
}

// sqliteConn and sqliteStmt are what the driver's connections and statements are to database/sql. A
// connection that runs queries by itself plans each anew, so that is left out.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// maxKept is how many statements a connection keeps: more than a daemon has. Lists with many filters
// make others, of which some then go.
const maxKept = 128

// preparedConn keeps the statements that are not in use. Its caller, database/sql, uses a connection for one thing at
// a time.
type preparedConn struct {
	sqliteConn

	kept map[string]sqliteStmt
}

// PrepareContext gives a statement that is kept, or prepares one. SQLite prepares by itself again what
// the schema has changed under.
func (c *preparedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if s, ok := c.kept[query]; ok {
		delete(c.kept, query)
		return &preparedStmt{s, c, query}, nil
	}
	s, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &preparedStmt{s.(sqliteStmt), c, query}, nil
}

// Close gives back the connection and its statements.
func (c *preparedConn) Close() error {
	var errs []error
	for _, s := range c.kept {
		errs = append(errs, s.Close())
	}
	clear(c.kept)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

type preparedStmt struct {
	sqliteStmt

	of    *preparedConn
	query string
}

// Close keeps the statement for the next one who needs it.
func (s *preparedStmt) Close() error {
	c := s.of
	if c.kept[s.query] != nil { // it was needed twice at once
		return s.sqliteStmt.Close()
	}
	c.kept[s.query] = s.sqliteStmt
	if len(c.kept) <= maxKept {
		return nil
	}
	for query, other := range c.kept { // any
		delete(c.kept, query)
		return other.Close()
	}
	return nil
}
