package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"retryd/internal/policy"
)

// AttemptFilter selects attempts; an empty field selects every one.
type AttemptFilter struct {
	ProjectID, TaskID, DeviceID string
	Policy, Connection, State   string    // names at the time of the claim
	Since, Until                time.Time // of the claim: [Since, Until)
}

// AttemptRow is one attempt with all that is known of it.
type AttemptRow struct {
	policy.Attempt
	SettledAt          time.Time
	Tick               time.Time // of the sweep that made it
	Code, Text, Detail string
	Rule, Class        string
	RequestID          string
	Weight             int    // targets that it stands for: more than 1 for a whole task
	AskedBy            string // the person who ordered it by hand; empty = its policy did
}

// ListAttempts lists attempts, the newest first.
func (s *Store) ListAttempts(ctx context.Context, f AttemptFilter, p Page) (rows []AttemptRow, next string, err error) {
	key := AttemptRow{}
	var claimed int64
	some, err := p.key("attempts", &claimed, &key.ProjectID, &key.TaskID, &key.DeviceID, &key.N)
	if err != nil {
		return nil, "", err
	}
	after := &key
	if key.ClaimedAt = fromMicros(claimed); !some {
		after = nil
	}
	parts, err := s.attemptParts(ctx, f)
	if err == nil {
		rows, err = newest(parts, p.more(), newerAttempt, func(part AttemptFilter, oldest *AttemptRow, limit int) ([]AttemptRow, error) {
			if oldest != nil && oldest.ClaimedAt.After(part.Since) {
				part.Since = oldest.ClaimedAt
			}
			return s.attempts(ctx, part, after, limit)
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("list the attempts: %w", err)
	}
	rows, next = cut(rows, p, func(a AttemptRow) string {
		return cursorOf("attempts", micros(a.ClaimedAt), a.ProjectID, a.TaskID, a.DeviceID, a.N)
	})
	return rows, next, nil
}

// newest merges lists, each with the newest first, into one of at most limit rows. list is told
// the last row of those that there are already, once they are enough: older ones are of no use.
func newest[P, T any](parts []P, limit int, newer func(a, b T) int, list func(part P, oldest *T, limit int) ([]T, error)) (rows []T, err error) {
	for _, part := range parts {
		var oldest *T
		if len(rows) == limit {
			oldest = &rows[limit-1]
		}
		found, err := list(part, oldest, limit)
		if err != nil {
			return nil, err
		}
		if rows = append(rows, found...); len(parts) > 1 {
			slices.SortFunc(rows, newer)
		}
		rows = rows[:min(len(rows), limit)]
	}
	return rows, nil
}

// newerAttempt puts the newest first, and of one moment the last by its key.
func newerAttempt(a, b AttemptRow) int {
	return cmp.Or(b.ClaimedAt.Compare(a.ClaimedAt), cmp.Compare(b.ProjectID, a.ProjectID), cmp.Compare(b.TaskID, a.TaskID),
		cmp.Compare(b.DeviceID, a.DeviceID), cmp.Compare(b.N, a.N))
}

// attemptParts divides the list into parts, each of which an index gives by time: tasks, or what a
// policy made on a connection. A device's attempts in a task are so few that they are sorted.
func (s *Store) attemptParts(ctx context.Context, f AttemptFilter) (parts []AttemptFilter, err error) {
	switch {
	case f.ProjectID != "" && f.TaskID != "":
		return []AttemptFilter{f}, nil
	case f.ProjectID != "" || f.TaskID != "" || f.DeviceID != "":
		var inner filter
		inner.add("t.project_id = tasks.project_id AND t.task_id = tasks.task_id")
		inner.is("t.device_id", f.DeviceID)
		tasks, err := s.tasksWith(ctx, taskOwner{projectID: f.ProjectID, taskID: f.TaskID}, "attempts t", inner, nil, allTasks)
		for _, t := range slices.Backward(tasks) { // the newest first
			f.ProjectID, f.TaskID = t.ProjectID, t.TaskID
			parts = append(parts, f)
		}
		return parts, err
	case f.Policy != "" || f.Connection != "":
		pairs, err := s.pairs(ctx, f.Policy, f.Connection)
		for _, pair := range pairs {
			f.Policy, f.Connection = pair.policy, pair.connection
			parts = append(parts, f)
		}
		return parts, err
	}
	return []AttemptFilter{f}, nil
}

// allTasks is more tasks than there are.
const allTasks = 1 << 31

// pair is a policy on a connection.
type pair struct{ policy, connection string }

// pairs gives the policies on connections that were ever seen; an empty name stands for any.
func (s *Store) pairs(ctx context.Context, policyName, connection string) (pairs []pair, err error) {
	var q filter
	q.is("policy", policyName)
	q.is("connection", connection)
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var p pair
		err := r.Scan(&p.policy, &p.connection)
		pairs = append(pairs, p)
		return err
	}, `SELECT policy, connection FROM policies`+q.where()+` ORDER BY policy, connection`, q.args...)
	return pairs, err
}

// attempts reads attempts in one go.
func (s *Store) attempts(ctx context.Context, f AttemptFilter, after *AttemptRow, limit int) (rows []AttemptRow, err error) {
	var q filter
	q.is("project_id", f.ProjectID)
	q.is("task_id", f.TaskID)
	q.is("device_id", f.DeviceID)
	q.is("policy", f.Policy)
	q.is("connection", f.Connection)
	q.is("state", f.State)
	open := policy.State(f.State).Open()
	switch { // in the words of an index
	case open:
		q.add(openStates)
	case f.State != "":
		q.add(`settled_at > 0`)
	}
	if !open || !f.Since.IsZero() { // open ones are few; the others SQLite would sort, unless it is told that they have a time
		q.add("claimed_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		q.add("claimed_at < ?", micros(f.Until))
	}
	if after != nil {
		q.beyond("<", part{"claimed_at", micros(after.ClaimedAt)}, part{"project_id", after.ProjectID}, part{"task_id", after.TaskID},
			part{"device_id", after.DeviceID}, part{"n", after.N})
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var a AttemptRow
		var settled, tick int64
		attempt, err := scanAttempt(r, &settled, &tick, &a.Code, &a.Text, &a.Detail, &a.Rule, &a.Class, &a.RequestID, &a.Weight, &a.AskedBy)
		a.Attempt, a.SettledAt, a.Tick = attempt, fromMicros(settled), fromMicros(tick)
		rows = append(rows, a)
		return err
	}, `SELECT `+attemptColumns+`, settled_at, tick, code, text, detail, rule, class, request_id, weight, asked_by
		FROM attempts`+q.where()+` ORDER BY claimed_at DESC, project_id DESC, task_id DESC, device_id DESC, n DESC LIMIT ?`, append(q.args, limit)...)
	return rows, err
}
