package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// TaskFilter selects tasks; an empty field selects every one.
type TaskFilter struct {
	ProjectID, TaskID, Name string
	Policy, Connection      string // that it belongs to
	Type, Status            string
	Gone                    bool // also those that are gone
}

// TaskRow is a task as it was listed and swept last.
type TaskRow struct {
	ProjectID string
	Task
	Policy, Connection  string // that it belongs to; empty = it has not been swept
	FirstSeen, LastSeen time.Time
	GoneAt              time.Time      // zero = it is there
	CountedAt           time.Time      // when its targets were counted last; zero = never
	Counts              map[string]int // targets by reason
	Limits              map[string]int // capped targets by limit
	Detail              string         // why it is closed as a whole, or policy.Perhaps
	Open                int            // open attempts
	Ended               map[string]int // targets by their end: recovered, exhausted, …
}

// ListTasks lists tasks, the newest first within a project.
func (s *Store) ListTasks(ctx context.Context, f TaskFilter, p Page) (rows []TaskRow, next string, err error) {
	var q filter
	q.is("project_id", f.ProjectID)
	q.is("task_id", f.TaskID)
	q.is("name", f.Name)
	q.is("policy", f.Policy)
	q.is("connection", f.Connection)
	q.is("type", f.Type)
	q.is("status", f.Status)
	if !f.Gone {
		q.add("gone_at = 0")
	}
	var project, task string
	after, err := p.key("tasks", &project, &task)
	if err != nil {
		return nil, "", err
	}
	if after { // the key of the table, read backwards
		q.beyond("<", part{"project_id", project}, part{"task_id", task})
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		row, err := scanTask(r)
		rows = append(rows, row)
		return err
	}, `SELECT project_id, task_id, name, type, status, total, success, fail, created_at, identity, app_id, app_name,
			policy, connection, first_seen, last_seen, gone_at, counted_at, counts, limits, detail,
			(SELECT count(*) FROM attempts @by_open_task WHERE attempts.project_id = tasks.project_id AND attempts.task_id = tasks.task_id AND `+openStates+`)
		FROM tasks`+q.where()+` ORDER BY project_id DESC, task_id DESC LIMIT ?`, append(q.args, p.more())...)
	if err != nil {
		return nil, "", fmt.Errorf("list the tasks: %w", err)
	}
	rows, next = cut(rows, p, func(r TaskRow) string { return cursorOf("tasks", r.ProjectID, r.ID) })
	return rows, next, s.addEnds(ctx, rows)
}

func scanTask(r *sql.Rows) (t TaskRow, err error) {
	var created, first, last, gone, counted int64
	var counts, limits string
	err = r.Scan(&t.ProjectID, &t.ID, &t.Name, &t.Type, &t.Status, &t.Total, &t.Success, &t.Fail, &created, &t.Identity, &t.AppID, &t.AppName,
		&t.Policy, &t.Connection, &first, &last, &gone, &counted, &counts, &limits, &t.Detail, &t.Open)
	t.CreatedAt, t.FirstSeen, t.LastSeen = fromMicros(created), fromMicros(first), fromMicros(last)
	t.GoneAt, t.CountedAt = fromMicros(gone), fromMicros(counted)
	return t, errors.Join(err, fromJSON(counts, &t.Counts), fromJSON(limits, &t.Limits))
}

// addEnds adds how many targets of each task have come to each end.
func (s *Store) addEnds(ctx context.Context, tasks []TaskRow) error {
	if len(tasks) == 0 {
		return nil
	}
	at := make(map[[2]string]int, len(tasks))
	keys := make([][2]string, len(tasks))
	for i, t := range tasks {
		keys[i] = [2]string{t.ProjectID, t.ID}
		at[keys[i]] = i
	}
	wanted, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("name the tasks: %w", err)
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var key [2]string
		var outcome string
		var n int
		if err := r.Scan(&key[0], &key[1], &outcome, &n); err != nil {
			return err
		}
		t := &tasks[at[key]]
		if t.Ended == nil {
			t.Ended = map[string]int{}
		}
		t.Ended[outcome] = n
		return nil
	}, `SELECT project_id, task_id, outcome, count FROM ends WHERE count > 0 AND (project_id, task_id) IN (SELECT value ->> 0, value ->> 1 FROM @each)`, string(wanted))
	if err != nil {
		return fmt.Errorf("read the ends of targets: %w", err)
	}
	return nil
}

// fromJSON reads a column that holds JSON.
func fromJSON(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("read JSON in the ledger: %w", err)
	}
	return nil
}
