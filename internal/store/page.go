package store

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// Page asks for a part of a list: at most Limit rows, after the one that After stands for. After
// is empty for the first page, else what the page before gave as next.
//
// What is written between two pages makes no row come twice, or be left out that was there before:
// a page begins after a key and not after a number of rows.
type Page struct {
	After string
	Limit int
}

// ErrCursor is in the chain of the error for a Page.After that no page of the list has given.
var ErrCursor = errors.New("after is nothing that a page of this list has given as next")

// cursorOf gives the text that stands for a row of a list.
func cursorOf(list string, key ...any) string {
	text, err := json.Marshal(append([]any{list}, key...))
	if err != nil { // of texts and numbers there is none
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// key reads the key of the row that the page comes after; some is false where it is the first page.
func (p Page) key(list string, into ...any) (some bool, err error) {
	if p.After == "" {
		return false, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil {
		return false, ErrCursor
	}
	var of string
	into = append([]any{&of}, into...)
	var parts []json.RawMessage
	if json.Unmarshal(text, &parts) != nil || len(parts) != len(into) {
		return false, ErrCursor
	}
	for i, part := range parts {
		if string(part) == "null" || json.Unmarshal(part, into[i]) != nil {
			return false, ErrCursor
		}
	}
	if of != list {
		return false, ErrCursor
	}
	return true, nil
}

// more is how many rows are read for a page: one beside those that are given tells whether there
// is another page.
func (p Page) more() int { return max(p.Limit, 1) + 1 }

// cut gives the rows of a page, and the cursor of the next one if there is any.
func cut[T any](rows []T, p Page, cursor func(T) string) ([]T, string) {
	limit := p.more() - 1
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], cursor(rows[limit-1])
}

// filter is what rows are selected by.
type filter struct {
	conditions []string
	args       []any
	fixed      map[string]string // columns that have one value in all of the rows
}

func (f *filter) add(condition string, args ...any) {
	f.conditions, f.args = append(f.conditions, condition), append(f.args, args...)
}

// is selects by the value of a column, unless that is empty.
func (f *filter) is(column, value string) {
	if value == "" {
		return
	}
	f.add(column+" = ?", value)
	if f.fixed == nil {
		f.fixed = map[string]string{}
	}
	f.fixed[column] = clean(value)
}

// part is a column of the key that a list is ordered by, and its value in one row.
type part struct {
	column string
	value  any
}

// beyond selects the rows that come after the one with that key; sign is <, > or >=. A column that
// has one value only is compared here: a database finds its way by an index to where the others begin.
func (f *filter) beyond(sign string, key ...part) {
	var columns, marks []string
	var args []any
	for _, p := range key {
		value, fixed := f.fixed[p.column]
		if !fixed {
			columns, marks, args = append(columns, p.column), append(marks, "?"), append(args, p.value)
			continue
		}
		order := cmp.Compare(value, p.value.(string))
		if order == 0 {
			continue
		}
		if sign = sign[:1]; order < 0 == (sign == "<") { // of those that are equal so far, all come after it
			sign += "="
		}
		break // of the others, none does
	}
	switch {
	case len(columns) > 0:
		f.add("("+strings.Join(columns, ", ")+") "+sign+" ("+strings.Join(marks, ", ")+")", args...)
	case len(sign) == 1:
		f.add("FALSE")
	}
}

// where gives the conditions as a statement has them.
func (f *filter) where() string {
	if len(f.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(f.conditions, " AND ")
}
