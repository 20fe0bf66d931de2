package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
	"unicode/utf8"
)

// ActionFilter selects actions; an empty field selects every one.
type ActionFilter struct {
	Policy, Connection          string
	ProjectID, TaskID, DeviceID string
	Who                         string // whole, or the part before an @
	What                        string
	Since, Until                time.Time

	// Beside those of a task, also pauses and what ended them that were of more than the task: of
	// everything, of this policy, or of this connection.
	Wider *Wider
}

// Wider is what a task belongs to.
type Wider struct{ Policy, Connection string }

// ActionRow is what a person did.
type ActionRow struct {
	ID int64
	At time.Time
	Action
}

// ListActions lists actions, the newest first.
func (s *Store) ListActions(ctx context.Context, f ActionFilter, p Page) (rows []ActionRow, next string, err error) {
	var q filter
	q.is("policy", f.Policy)
	q.is("connection", f.Connection)
	switch {
	case f.TaskID != "" && f.Wider != nil:
		q.add(`(project_id = ? AND task_id = ? OR task_id = '' AND what IN ('pause', 'resume', 'drop pauses and halts')
			AND (policy = '' AND connection IN ('', ?) OR policy = ? AND connection IN ('', ?)))`, f.ProjectID, f.TaskID, f.Wider.Connection, f.Wider.Policy, f.Wider.Connection)
	case f.TaskID != "":
		q.add("task_id <> ''") // as the index has it
		q.is("task_id", f.TaskID)
		fallthrough
	default:
		q.is("project_id", f.ProjectID)
	}
	q.is("device_id", f.DeviceID)
	q.who(f.Who)
	q.is("what", f.What)
	if !f.Since.IsZero() {
		q.add("at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		q.add("at < ?", micros(f.Until))
	}
	var id int64
	after, err := p.key("actions", &id)
	if err != nil {
		return nil, "", err
	}
	if after {
		q.beyond("<", part{"id", id})
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		row, err := scanAction(r)
		rows = append(rows, row)
		return err
	}, `SELECT `+actionColumns+` FROM actions`+q.where()+` ORDER BY id DESC LIMIT ?`, append(q.args, p.more())...)
	if err != nil {
		return nil, "", fmt.Errorf("list the actions: %w", err)
	}
	rows, next = cut(rows, p, func(a ActionRow) string { return cursorOf("actions", a.ID) })
	return rows, next, nil
}

// who selects by the whole of a name, or by the part before an @: people are known with the machine that
// they sat at, or without.
func (q *filter) who(name string) {
	if name != "" {
		q.add("(who = ? OR substr(who, 1, ?) = ?)", name, utf8.RuneCountInString(name)+1, name+"@")
	}
}

const actionColumns = `id, at, who, source, what, subject, why, policy, connection, project_id, task_id, device_id, outcome`

func scanAction(r *sql.Rows) (a ActionRow, err error) {
	var at int64
	err = r.Scan(&a.ID, &at, &a.Who, &a.Source, &a.What, &a.Subject, &a.Why, &a.Policy, &a.Connection, &a.ProjectID, &a.TaskID, &a.DeviceID, &a.Outcome)
	a.At = fromMicros(at)
	return a, err
}
