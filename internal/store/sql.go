package store

import (
	"context"
	"database/sql"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
)

// dialect is how one kind of database says what the others say differently. Statements are
// written as SQLite has them, with ? for parameters and these words:
//
//	@list    the texts of a JSON list, as rows: … IN (@list)
//	@each    the same as a table with the column value: … FROM @each
//	@max     the larger of two values: @max(a, b)
//	@row     what tells a row of one table from the others, within a statement
//	@by_…    the index attempts_… : SQLite, which plans without looking at the rows, has to be told;
//	         it refuses a statement that cannot use the index
type dialect struct {
	goose      goose.Dialect
	migrations string // folder
	words      *strings.Replacer
	dropped    *regexp.Regexp // what is said to the other kind alone; nil = nothing
	numbered   bool           // parameters are $1, $2, …
	spelt      sync.Map       // of statements
}

var sqlite = &dialect{
	goose: goose.DialectSQLite3, migrations: "migrations/sqlite",
	words: strings.NewReplacer("@list", "SELECT value FROM json_each(?)", "@each", "json_each(?)", "@max", "max", "@row", "rowid",
		"@by_", "INDEXED BY attempts_"),
}

var postgres = &dialect{
	goose: goose.DialectPostgres, migrations: "migrations/postgres", numbered: true,
	words: strings.NewReplacer(
		// An array finds its rows by an index, where a join with its texts may read all others too.
		"NOT IN (@list)", "<> ALL (ARRAY(SELECT jsonb_array_elements_text(?::jsonb)))", "IN (@list)", "= ANY (ARRAY(SELECT jsonb_array_elements_text(?::jsonb)))",
		"@list", "SELECT jsonb_array_elements_text(?::jsonb)", "@each", "jsonb_array_elements(?::jsonb)",
		"@max", "greatest", "@row", "ctid"),
	dropped: regexp.MustCompile(`@by_\w+`),
}

// spell gives a statement as the database takes it.
func (d *dialect) spell(query string) string {
	if text, ok := d.spelt.Load(query); ok {
		return text.(string)
	}
	text := d.words.Replace(query)
	if d.dropped != nil {
		text = d.dropped.ReplaceAllString(text, "")
	}
	if d.numbered {
		text = number(text)
	}
	d.spelt.Store(query, text)
	return text
}

func number(query string) string {
	parts := strings.Split(query, "?")
	var b strings.Builder
	for i, part := range parts[:len(parts)-1] {
		b.WriteString(part + "$" + strconv.Itoa(i+1))
	}
	return b.String() + parts[len(parts)-1]
}

// clean makes a text that every database takes: PostgreSQL knows neither a zero byte nor broken
// UTF-8, and what the platform says must not keep an answer from being written.
func clean(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

func cleaned(args []any) []any {
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String { // also of a type of ours
			args[i] = clean(v.String())
		}
	}
	return args
}

// queryer is a database or a transaction.
type queryer interface {
	// failed explains why a read did not succeed, and tells whoever counts that; nil stays nil.
	failed(err error) error
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) row
	// within gives the context that a read runs under, and what ends it.
	within(ctx context.Context) (context.Context, context.CancelFunc)
}

// row is one row at most.
type row interface{ Scan(into ...any) error }

// db is a database that takes statements as they are written here.
type db struct {
	*sql.DB
	d    *dialect
	note func(error)   // of each read that fails; nil = nobody
	wait time.Duration // for a read; 0 = as long as it takes
}

func (d *db) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.wait == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d.wait)
}

// lastRow ends the context of its read.
type lastRow struct {
	*sql.Row
	end context.CancelFunc
}

// Scan reads the row.
func (r lastRow) Scan(into ...any) error {
	defer r.end()
	return r.Row.Scan(into...)
}

func (d *db) failed(err error) error {
	if err != nil && d.note != nil {
		d.note(err)
	}
	return explain(err)
}

// QueryContext runs a query. Its caller hands an error to failed.
func (d *db) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.DB.QueryContext(ctx, d.d.spell(query), cleaned(args)...)
}

// QueryRowContext runs a query that gives one row at most. Both drivers read the first row with the
// query, so what is wrong is known before it is scanned.
func (d *db) QueryRowContext(ctx context.Context, query string, args ...any) row {
	ctx, end := d.within(ctx)
	row := d.DB.QueryRowContext(ctx, d.d.spell(query), cleaned(args)...)
	_ = d.failed(row.Err()) // Scan gives it to the caller
	return lastRow{row, end}
}

// ExecContext runs a statement.
func (d *db) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return d.DB.ExecContext(ctx, d.d.spell(query), cleaned(args)...)
}

// each calls f for each row.
func each(ctx context.Context, q queryer, f func(*sql.Rows) error, query string, args ...any) error {
	ctx, end := q.within(ctx)
	defer end()
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return q.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return q.failed(rows.Err())
}

// execOne tells whether the statement changed a row.
func execOne(ctx context.Context, tx *tx, query string, args ...any) (bool, error) {
	n, err := execCount(ctx, tx, query, args...)
	return n > 0, err
}

// execCount gives how many rows the statement changed.
func execCount(ctx context.Context, tx *tx, query string, args ...any) (int, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}
