package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// TargetFilter selects targets; an empty field selects every one.
type TargetFilter struct {
	ProjectID, TaskID, DeviceID string
	Policy, Connection          string // that their task belongs to
	// Is names what they are: the end that they have come to, or "open" for those with an open
	// attempt, or "waiting" for those that are neither.
	Is string
}

// TargetRow is a target that the ledger knows: it was retried, or has come to its end. A task that
// was retried as a whole is one too, of device policy.WholeTask.
type TargetRow struct {
	policy.Target
	TaskType, TaskName   string
	Policy, Connection   string // names at the last change
	Record               Record // as Records gives it
	Ended                string // recovered, exhausted, …; empty = it has not come to its end
	EndedAt              time.Time
	EndDetail            string
	CauseCode, CauseText string    // the platform's words for its last failure
	Rule, Class          string    // of it
	LastClaimed          time.Time // last attempt
	LastAnswered         time.Time
	LastSettled          time.Time
}

// ListTargets lists targets by project, task and device.
func (s *Store) ListTargets(ctx context.Context, f TargetFilter, p Page) (rows []TargetRow, next string, err error) {
	var key policy.Target
	some, err := p.key("targets", &key.ProjectID, &key.TaskID, &key.DeviceID)
	if err != nil {
		return nil, "", err
	}
	after := &key
	if !some {
		after = nil
	}
	if f.ofTasks() {
		rows, err = s.targetsByTask(ctx, f, after, p.more())
	} else {
		rows, err = s.targets(ctx, f, after, p.more())
	}
	if err == nil {
		rows, next = cut(rows, p, func(r TargetRow) string { return cursorOf("targets", r.ProjectID, r.TaskID, r.DeviceID) })
		err = s.addRecords(ctx, rows)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list the targets: %w", err)
	}
	return rows, next, nil
}

// ofTasks tells whether the targets are found task by task only: no index over targets knows whose
// a task is, and in which tasks a device is. There are few tasks, and many targets.
func (f TargetFilter) ofTasks() bool {
	return f.Policy != "" || f.Connection != "" || f.TaskID != "" && f.ProjectID == "" || f.DeviceID != "" && f.TaskID == ""
}

// source gives the tables that targets are read from, and what selects them. Each of them is read
// in the order of project, task and device by an index.
func (f TargetFilter) source() (from string, q filter) {
	from = "targets t"
	switch f.Is {
	case "":
	case "open":
		from = "attempts t"
		q.add("t." + openStates)
	case "waiting":
		q.add("t.ended = ''")
		q.add("(SELECT 1 FROM attempts o WHERE o.project_id = t.project_id AND o.task_id = t.task_id AND o.device_id = t.device_id AND o." + openStates + ") IS NULL")
	default:
		q.add("t.ended = ?", f.Is)
	}
	q.is("t.device_id", f.DeviceID)
	return from, q
}

// targetsByTask reads the targets task by task.
func (s *Store) targetsByTask(ctx context.Context, f TargetFilter, after *policy.Target, limit int) (rows []TargetRow, err error) {
	from, inner := f.source()
	inner.add("t.project_id = tasks.project_id AND t.task_id = tasks.task_id")
	// One task more than rows: that of after may have no more of them, each of the others has one.
	tasks, err := s.tasksWith(ctx, taskOwner{f.ProjectID, f.TaskID, f.Policy, f.Connection}, from, inner, after, limit+1)
	for _, task := range tasks {
		one := TargetFilter{ProjectID: task.ProjectID, TaskID: task.TaskID, DeviceID: f.DeviceID, Is: f.Is}
		from := after
		if after != nil && (after.ProjectID != task.ProjectID || after.TaskID != task.TaskID) {
			from = nil // it is a later task
		}
		found, err := s.targets(ctx, one, from, limit-len(rows))
		if rows = append(rows, found...); err != nil || len(rows) >= limit {
			return rows, err
		}
	}
	return rows, err
}

// taskOwner selects tasks.
type taskOwner struct{ projectID, taskID, policy, connection string }

// tasksWith gives the tasks, in their order from that of after on, that have rows of a table.
func (s *Store) tasksWith(ctx context.Context, o taskOwner, from string, rows filter, after *policy.Target, limit int) (tasks []policy.Target, err error) {
	var q filter
	q.is("project_id", o.projectID)
	q.is("task_id", o.taskID)
	q.is("policy", o.policy)
	q.is("connection", o.connection)
	q.add("(SELECT 1 FROM "+from+rows.where()+" LIMIT 1) IS NOT NULL", rows.args...) // an EXISTS, PostgreSQL may join as a whole
	if after != nil {
		q.beyond(">=", part{"project_id", after.ProjectID}, part{"task_id", after.TaskID})
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var t policy.Target
		err := r.Scan(&t.ProjectID, &t.TaskID)
		tasks = append(tasks, t)
		return err
	}, `SELECT project_id, task_id FROM tasks`+q.where()+` ORDER BY project_id, task_id LIMIT ?`, append(q.args, limit)...)
	return tasks, err
}

// targets reads targets in one go.
func (s *Store) targets(ctx context.Context, f TargetFilter, after *policy.Target, limit int) (rows []TargetRow, err error) {
	from, q := f.source()
	q.is("t.project_id", f.ProjectID)
	q.is("t.task_id", f.TaskID)
	if after != nil {
		q.beyond(">", part{"t.project_id", after.ProjectID}, part{"t.task_id", after.TaskID}, part{"t.device_id", after.DeviceID})
	}
	const inOrder = ` ORDER BY t.project_id, t.task_id, t.device_id`
	r, what := "t.", from+q.where()+inOrder+` LIMIT ?`
	if f.Is == "open" { // the attempts first, in their order: a database may else read all of the targets, and sort them
		r, what = "r.", `(SELECT project_id, task_id, device_id FROM `+what+`) AS t JOIN targets r
			ON r.project_id = t.project_id AND r.task_id = t.task_id AND r.device_id = t.device_id`+inOrder
	}
	last := `(SELECT %s FROM attempts a WHERE a.project_id = t.project_id AND a.task_id = t.task_id AND a.device_id = t.device_id AND a.n = ` + r + `last_n)`
	err = each(ctx, s.read, func(rs *sql.Rows) error {
		row, err := scanTarget(rs)
		rows = append(rows, row)
		return err
	}, `SELECT t.project_id, t.task_id, t.device_id, `+r+`task_type, coalesce((SELECT name FROM tasks WHERE tasks.project_id = t.project_id AND tasks.task_id = t.task_id), ''),
			`+r+`policy, `+r+`connection, ended, closed_at, closed_detail, cause_code, cause_text, `+r+`rule, `+r+`class,
			coalesce(`+fmt.Sprintf(last, "claimed_at")+`, 0), coalesce(`+fmt.Sprintf(last, "answered_at")+`, 0), coalesce(`+fmt.Sprintf(last, "settled_at")+`, 0)
		FROM `+what, append(q.args, limit)...)
	return rows, err
}

func scanTarget(r *sql.Rows) (t TargetRow, err error) {
	var ended, claimed, answered, settled int64
	err = r.Scan(&t.ProjectID, &t.TaskID, &t.DeviceID, &t.TaskType, &t.TaskName, &t.Policy, &t.Connection, &t.Ended, &ended, &t.EndDetail,
		&t.CauseCode, &t.CauseText, &t.Rule, &t.Class, &claimed, &answered, &settled)
	if t.Ended == "" { // of an end that it has had before
		ended, t.EndDetail = 0, ""
	}
	t.EndedAt, t.LastClaimed, t.LastAnswered, t.LastSettled = fromMicros(ended), fromMicros(claimed), fromMicros(answered), fromMicros(settled)
	return t, err
}

// addRecords adds what decisions are made by.
func (s *Store) addRecords(ctx context.Context, rows []TargetRow) error {
	now := s.Now()
	for len(rows) > 0 {
		n, devices := 0, []string{}
		for n < len(rows) && rows[n].ProjectID == rows[0].ProjectID && rows[n].TaskID == rows[0].TaskID {
			devices = append(devices, rows[n].DeviceID)
			n++
		}
		known, err := records(ctx, s.read, rows[0].ProjectID, rows[0].TaskID, devices, now)
		if err != nil {
			return err
		}
		for i := range n {
			rows[i].Record = known[rows[i].DeviceID]
		}
		rows = rows[n:]
	}
	return nil
}
