package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// remedies say what a fault of SQLite's file is, and what is to be done. Whatever a transaction
// that failed by one had written is undone.
var remedies = map[int]string{
	sqlite3.SQLITE_FULL:     "the disk is full: free some space; a daemon that runs then goes on by itself",
	sqlite3.SQLITE_IOERR:    "the ledger's disk cannot be read or written: look at its health, at its free space and at limits on the size of files",
	sqlite3.SQLITE_READONLY: "the ledger's file, its folder or the file system is read-only: make it writable for the user that retryd runs as",
	sqlite3.SQLITE_CANTOPEN: "the ledger's file cannot be opened: look at the rights of the file and of its folder, which the user that retryd runs as needs to write in, and whether the file system is read-only",
	sqlite3.SQLITE_PERM:     "the ledger's file cannot be opened: look at its rights",
	sqlite3.SQLITE_BUSY:     "another program keeps the ledger locked",
	sqlite3.SQLITE_CORRUPT:  damaged,
	sqlite3.SQLITE_NOTADB:   damaged,
}

const damaged = "the ledger's file is damaged: stop retryd, keep the file, and restore a backup as docs/ledger.md says; `retryd ledger check` tells more where it can"

// postgresRemedies are the same of PostgreSQL, by SQLSTATE.
var postgresRemedies = map[string]string{
	"53100": "the database's disk is full: free some space there; a daemon that runs then goes on by itself",
	"25006": "the database takes no writes: it is a standby, or was made read-only; let store.url name the one that does",
	"42501": "the user of store.url lacks a right",
	"57P01": "the database is being stopped",
	"55P03": "another session keeps the ledger locked",
	"XX001": "the database is damaged: stop retryd, restore a backup as docs/ledger.md says, and start it again",
	"XX002": "an index of the database is damaged: REINDEX it, run `retryd ledger check`, then restart retryd",
}

// Damaged tells whether an error is that the ledger itself is damaged, which no waiting mends.
func Damaged(err error) bool {
	var file *driver.Error
	var server *pgconn.PgError
	switch {
	case errors.As(err, &file):
		return file.Code()&0xff == sqlite3.SQLITE_CORRUPT || file.Code()&0xff == sqlite3.SQLITE_NOTADB
	case errors.As(err, &server):
		return server.Code == "XX001" || server.Code == "XX002"
	}
	return false
}

// health remembers damage that reads and writes have met.
type health struct {
	mu    sync.Mutex
	first error
}

func (h *health) note(err error) {
	if !Damaged(err) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first == nil {
		h.first = explain(err)
	}
}

// damage gives the first that was met, nil if there was none.
func (h *health) damage() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first
}

// noteRead counts a read that failed.
func (s *Store) noteRead(err error) {
	s.health.note(err)
	if s.o.ObserveRead != nil && ended(err) != nil && !errors.Is(err, sql.ErrNoRows) {
		s.o.ObserveRead(explain(err))
	}
}

// explained is an error of a database with what it means and what is to be done.
type explained struct {
	remedy string
	err    error
}

func (e *explained) Error() string { return e.remedy + ": " + e.err.Error() }
func (e *explained) Unwrap() error { return e.err }

func explain(err error) error {
	var file *driver.Error
	var server *pgconn.PgError
	remedy := ""
	switch already := (*explained)(nil); {
	case errors.As(err, &already):
	case errors.As(err, &file):
		remedy = remedies[file.Code()&0xff] // the rest says more of the same
	case errors.As(err, &server):
		remedy = postgresRemedies[server.Code]
	}
	if remedy == "" {
		return err
	}
	return &explained{remedy, err}
}

// ended is how a write ended for the ledger: that the caller gave up is no fault of it.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
