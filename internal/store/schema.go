package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// schema holds the tables, indices and what else there is to what the migrations make.
func (c *check) schema(ctx context.Context) error {
	read := c.sqliteSchema
	if c.s.Shared() {
		read = c.postgresSchema
	}
	want, have, err := read(ctx)
	if err != nil {
		return err
	}
	for name, text := range want {
		switch is, there := have[name]; {
		case !there:
			c.find(FoundSchema, name, "it is missing")
		case is != text:
			c.find(FoundSchema, name, "it is %q, and should be %q", is, text)
		}
	}
	for name := range have {
		if _, known := want[name]; !known {
			c.find(FoundSchema, name, "retryd has not made it")
		}
	}
	return nil
}

// sqliteSchema compares with a ledger that is made for it.
func (c *check) sqliteSchema(ctx context.Context) (want, have map[string]string, err error) {
	model, err := Open(ctx, Options{})
	if err != nil {
		return nil, nil, err
	}
	defer model.Close()
	read := func(q queryer) (map[string]string, error) {
		parts := map[string]string{}
		return parts, each(ctx, q, func(rows *sql.Rows) error {
			var name, text string
			err := rows.Scan(&name, &text)
			parts[name] = text
			return err
		}, `SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'goose\_%' ESCAPE '\'`)
	}
	if want, err = read(model.read); err == nil {
		have, err = read(c)
	}
	return want, have, err
}

var (
	tableForm  = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\);`)
	columnForm = regexp.MustCompile(`(?m)^ {4}(\w+) +(TEXT|BIGINT|BOOLEAN|BYTEA)\b`)
	addedForm  = regexp.MustCompile(`(?m)^ALTER TABLE (\w+) ADD COLUMN (\w+) (TEXT|BIGINT|BOOLEAN|BYTEA)\b`)
	dropForm   = regexp.MustCompile(`(?m)^DROP INDEX (\w+);`)
	// As the migrations and as the database write an index.
	indexForm = regexp.MustCompile(`CREATE (UNIQUE )?INDEX (\w+) ON [\w."]+ (?:USING \w+ )?\(([^)]*)\)(?:\s+WHERE ([^;]*))?`)
	quoted    = regexp.MustCompile(`'[^']*'`)
)

// index gives the name of an index, and what of it the database writes as the migrations do.
func index(match []string) (name, text string) {
	words := quoted.FindAllString(match[4], -1)
	slices.Sort(words)
	return "index " + match[2], fmt.Sprintf("%s(%s) where %s", strings.ToLower(match[1]), match[3], strings.Join(slices.Compact(words), " "))
}

// postgresSchema compares with what the migrations say: a database to make one in is not at hand.
// Other tables of the database are nobody's business here.
func (c *check) postgresSchema(ctx context.Context) (want, have map[string]string, err error) {
	want, have = map[string]string{}, map[string]string{}
	ours := map[string]bool{}
	err = fs.WalkDir(migrations, postgres.migrations, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := migrations.ReadFile(path)
		for _, table := range tableForm.FindAllStringSubmatch(string(text), -1) {
			ours[table[1]] = true
			for _, column := range columnForm.FindAllStringSubmatch(table[2], -1) {
				want["column "+table[1]+"."+column[1]] = strings.ToLower(column[2])
			}
		}
		for _, column := range addedForm.FindAllStringSubmatch(string(text), -1) {
			want["column "+column[1]+"."+column[2]] = strings.ToLower(column[3])
		}
		for _, dropped := range dropForm.FindAllStringSubmatch(string(text), -1) { // of an earlier migration
			delete(want, "index "+dropped[1])
		}
		for _, match := range indexForm.FindAllStringSubmatch(string(text), -1) {
			name, text := index(match)
			want[name] = text
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the migrations: %w", err)
	}
	return want, have, each(ctx, c, func(rows *sql.Rows) error {
		var table, name, text string
		err := rows.Scan(&table, &name, &text)
		if match := indexForm.FindStringSubmatch(text); match != nil {
			name, text = index(match)
		}
		if ours[table] {
			have[name] = text
		}
		return err
	}, `SELECT table_name, 'column ' || table_name || '.' || column_name, data_type FROM information_schema.columns
			WHERE table_schema = current_schema()
		UNION ALL SELECT t.relname, 'index ' || i.relname, CASE WHEN indisvalid THEN pg_get_indexdef(i.oid) ELSE 'invalid' END
			FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
			WHERE i.relnamespace = current_schema()::regnamespace AND NOT indisprimary`)
}
