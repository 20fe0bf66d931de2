package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pressly/goose/v3"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"
)

// modes looks at who can read files, and whatever else begins with the name of the first: modes FILE…
func modes(ts *testscript.TestScript, _ bool, args []string) {
	beside, err := filepath.Glob(ts.MkAbs(args[0]) + "*")
	ts.Check(err)
	for _, name := range append(args, beside...) {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if info.Mode().Perm() != 0o600 {
			ts.Fatalf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

// oldLedger makes a ledger as retryd made it at some schema, and runs a script of SQL on it, in which
// $NAMES are those of the test: old-ledger FILE SCHEMA [SCRIPT].
func oldLedger(ts *testscript.TestScript, _ bool, args []string) {
	schema, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), nil, 0o600))
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(`PRAGMA journal_mode = WAL`)
	ts.Check(err)
	migrations, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("../../internal/store/migrations/sqlite"))
	ts.Check(err)
	_, err = migrations.UpTo(context.Background(), schema)
	ts.Check(err)
	if len(args) > 2 {
		_, err = db.Exec(os.Expand(ts.ReadFile(args[2]), ts.Getenv))
		ts.Check(err)
	}
}

// setPassword writes a web configuration with one user: password FILE USER PASSWORD.
func setPassword(ts *testscript.TestScript, _ bool, args []string) {
	hash, err := bcrypt.GenerateFromPassword([]byte(args[2]), bcrypt.MinCost)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil, "basic_auth_users:\n  %s: %s\n", args[1], hash), 0o600))
}
