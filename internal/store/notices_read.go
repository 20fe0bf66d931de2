package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Digest is the notices that a receiver is told of at once: how many of each event, and the first
// of them.
type Digest struct {
	First, Last int64     // ids of notices
	From, To    time.Time // when the first and the last of them happened
	Events      map[Event]int
	Targets     []Notice // the first that are ends of targets
	Others      []Notice // the first of the rest
	Tasks       []DigestTask
	TaskCount   int // of which Tasks are those with the most targets
	Causes      []DigestCause
	CauseCount  int // of which Causes are those with the most targets
	Tries       int // that failed
}

// DigestTask is a task in which targets came to their end.
type DigestTask struct {
	Policy, Connection      string
	ProjectID, TaskID, Name string
	Targets                 int
}

// DigestCause is a cause of the last failures of targets that came to their end.
type DigestCause struct {
	Rule, Class string
	Targets     int
}

// Count gives how many notices there are.
func (d *Digest) Count() (n int) {
	for _, count := range d.Events {
		n += count
	}
	return n
}

// digestMost is how many notices of a kind, tasks, and causes are named one by one.
const digestMost = 20

const ofTarget = `event IN ('exhausted', 'permanent', 'expired')`

func readDigest(ctx context.Context, q queryer, c cursor, where string, args []any) (*Digest, error) {
	d := &Digest{First: c.first, Last: c.last, Tries: c.tries, Events: map[Event]int{}}
	where, args = ` WHERE id BETWEEN ? AND ? AND `+where, append([]any{c.first, c.last}, args...)
	err := each(ctx, q, func(rows *sql.Rows) error {
		var event Event
		var n int
		var from, to int64
		err := rows.Scan(&event, &n, &from, &to)
		d.Events[event] = n
		if at := fromMicros(from); d.From.IsZero() || at.Before(d.From) {
			d.From = at
		}
		d.To = later(d.To, fromMicros(to))
		return err
	}, `SELECT event, count(*), min(at), max(at) FROM notices`+where+` GROUP BY event`, args...)
	if err == nil {
		d.Targets, err = readNotices(ctx, q, where+` AND `+ofTarget, args)
	}
	if err == nil {
		d.Others, err = readNotices(ctx, q, where+` AND NOT `+ofTarget, args)
	}
	if err == nil {
		err = d.readTasks(ctx, q, where+` AND `+ofTarget, args)
	}
	if err == nil {
		err = d.readCauses(ctx, q, where+` AND `+ofTarget, args)
	}
	if err != nil {
		return nil, fmt.Errorf("read the notices: %w", err)
	}
	return d, nil
}

// nameOf gives the name of a task of notices, and no second row where two policies told of it.
const nameOf = `coalesce((SELECT name FROM tasks WHERE tasks.project_id = notices.project_id AND tasks.task_id = notices.task_id), '')`

func readNotices(ctx context.Context, q queryer, where string, args []any) (notices []Notice, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		var n Notice
		var at int64
		err := rows.Scan(&n.ID, &at, &n.Event, &n.Policy, &n.Connection, &n.ProjectID, &n.TaskID, &n.TaskName, &n.DeviceID, &n.Attempts,
			&n.Detail, &n.Code, &n.Text, &n.Rule, &n.Class, &n.PolicyHash)
		n.At = fromMicros(at)
		notices = append(notices, n)
		return err
	}, `SELECT id, at, event, policy, connection, project_id, task_id, `+nameOf+`, device_id, attempts, detail, code, text, rule, class, hash
		FROM notices`+where+` ORDER BY id LIMIT ?`, append(args[:len(args):len(args)], digestMost)...)
	return notices, err
}

func (d *Digest) readTasks(ctx context.Context, q queryer, where string, args []any) error {
	return each(ctx, q, func(rows *sql.Rows) error {
		var t DigestTask
		err := rows.Scan(&t.Policy, &t.Connection, &t.ProjectID, &t.TaskID, &t.Targets, &t.Name, &d.TaskCount)
		d.Tasks = append(d.Tasks, t)
		return err
	}, `SELECT policy, connection, project_id, task_id, count(*) AS n, `+nameOf+`, count(*) OVER () FROM notices`+where+`
		GROUP BY policy, connection, project_id, task_id ORDER BY n DESC, project_id, task_id, policy, connection LIMIT ?`, append(args[:len(args):len(args)], digestMost)...)
}

func (d *Digest) readCauses(ctx context.Context, q queryer, where string, args []any) error {
	return each(ctx, q, func(rows *sql.Rows) error {
		var c DigestCause
		err := rows.Scan(&c.Rule, &c.Class, &c.Targets, &d.CauseCount)
		d.Causes = append(d.Causes, c)
		return err
	}, `SELECT rule, class, count(*) AS n, count(*) OVER () FROM notices`+where+`
		GROUP BY rule, class ORDER BY n DESC, rule, class LIMIT ?`, append(args[:len(args):len(args)], digestMost)...)
}
