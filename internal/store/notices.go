package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Event is what a notice tells of.
type Event string

// The events.
const (
	TargetExhausted  Event = "exhausted" // the ends of a target are named as its outcome is
	TargetPermanent  Event = "permanent"
	TargetExpired    Event = "expired"
	RetriesHalted    Event = "halted"
	ConnectionDown   Event = "connection_down"
	ConnectionUp     Event = "connection_up" // again
	AwaitingApproval Event = "awaiting_approval"
)

// Events lists them, in the order in which people are told.
func Events() []Event {
	return []Event{ConnectionDown, RetriesHalted, AwaitingApproval, TargetExhausted, TargetPermanent, TargetExpired, ConnectionUp}
}

// OfTarget tells whether it is the end of a target.
func (e Event) OfTarget() bool {
	return e == TargetExhausted || e == TargetPermanent || e == TargetExpired
}

// Notice is one thing that people are to be told. It is written in the transaction of what it
// tells of, whoever is told: receivers are looked at when it is sent.
type Notice struct {
	ID                 int64
	At                 time.Time
	Event              Event
	Policy, Connection string // names by then; a connection's own events have no policy
	ProjectID, TaskID  string
	TaskName           string // as it was listed last
	DeviceID           string
	Attempts           int    // of the target, that count
	Detail             string // why, in retryd's words
	Code, Text         string // of the target's last failure, in the platform's
	Rule, Class        string // the cause that the policy sees in it
	PolicyHash         string // of the policy that awaits approval
}

func tell(ctx context.Context, tx *tx, n Notice) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notices (at, event, policy, connection, project_id, task_id, device_id, attempts, detail, code, text, rule, class, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		micros(tx.now), n.Event, n.Policy, n.Connection, n.ProjectID, n.TaskID, n.DeviceID, n.Attempts, n.Detail, n.Code, n.Text, n.Rule, n.Class, n.PolicyHash)
	if err != nil {
		return fmt.Errorf("write a notice: %w", err)
	}
	return nil
}

// tellHalted writes the notice of a halt; task is empty where all of the policy is halted.
func tellHalted(ctx context.Context, tx *tx, sc Scope, task string, o policy.Outcomes, until time.Time) error {
	detail := fmt.Sprintf("%d of %d retried targets failed again", o.Failed, o.Failed+o.Recovered)
	if until.IsZero() {
		detail += "; until somebody resumes it"
	} else {
		detail += "; until " + stamp(until)
	}
	return tell(ctx, tx, Notice{Event: RetriesHalted, Policy: sc.Policy, Connection: sc.Connection, ProjectID: sc.ProjectID, TaskID: task, Detail: detail})
}

// SetConnection writes how a connection stands, where that has changed, and tells whether it did.
// People are told when it goes down, or stays down for another reason, and when it is up again.
func (s *Store) SetConnection(ctx context.Context, c ConnectionRow) (changed bool, err error) {
	c.Detail, c.Remedy, c.Until = clean(c.Detail), clean(c.Remedy), fromMicros(micros(c.Until)) // as it is read back
	if before, err := standing(ctx, s.read, c.Identity); err != nil || before.says(c) {
		return false, err
	}
	err = s.txIn(ctx, "connection "+c.Identity, func(tx *tx) error {
		before, err := standing(ctx, tx, c.Identity)
		if err != nil || before.says(c) {
			return err
		}
		changed = true
		if c.Since = tx.now; before != nil && before.Reason == c.Reason {
			c.Since = before.Since
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO connections (identity, name, reason, detail, remedy, since, until) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (identity) DO UPDATE SET name = excluded.name, reason = excluded.reason, detail = excluded.detail,
				remedy = excluded.remedy, since = excluded.since, until = excluded.until`,
			c.Identity, c.Name, c.Reason, c.Detail, c.Remedy, micros(c.Since), micros(c.Until))
		if err != nil || c.Reason == "" && before == nil || before != nil && before.Reason == c.Reason {
			return err
		}
		n := Notice{Event: ConnectionDown, Connection: c.Name, Code: c.Reason, Detail: c.Remedy, Text: c.Detail}
		if c.Reason == "" {
			n = Notice{Event: ConnectionUp, Connection: c.Name, Detail: "it was down since " + stamp(before.Since)}
		}
		return tell(ctx, tx, n)
	})
	if err != nil {
		return false, fmt.Errorf("write how connection %q stands: %w", c.Name, err)
	}
	return changed, nil
}

// says tells whether it says the same, whenever that began.
func (c *ConnectionRow) says(other ConnectionRow) bool {
	if c == nil {
		return false
	}
	other.Since = c.Since
	return *c == other
}

// standing gives how a connection stands, nil where nobody has driven it yet.
func standing(ctx context.Context, q queryer, identity string) (*ConnectionRow, error) {
	c := ConnectionRow{Identity: identity}
	var since, until int64
	err := q.QueryRowContext(ctx, `SELECT name, reason, detail, remedy, since, until FROM connections WHERE identity = ?`, identity).
		Scan(&c.Name, &c.Reason, &c.Detail, &c.Remedy, &since, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // it is no error
	}
	c.Since, c.Until = fromMicros(since), fromMicros(until)
	return &c, explain(err)
}

// AwaitApproval writes that a task waits for approval, once for each policy hash, and again when
// an approval has ended. It tells whether that is news.
func (s *Store) AwaitApproval(ctx context.Context, sc Scope, why string) (news bool, err error) {
	told := func(q queryer) (told bool, err error) {
		err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM notices WHERE event = 'awaiting_approval' AND project_id = ? AND task_id = ?
			AND policy = ? AND hash = ? AND NOT approved)`, sc.ProjectID, sc.TaskID, sc.Policy, sc.PolicyHash).Scan(&told)
		return told, explain(err)
	}
	if already, err := told(s.read); err != nil || already {
		return false, err
	}
	err = s.txIn(ctx, sc.ProjectID, func(tx *tx) error {
		already, err := told(tx)
		if news = !already && err == nil; !news {
			return err
		}
		return tell(ctx, tx, Notice{
			Event: AwaitingApproval, Policy: sc.Policy, Connection: sc.Connection, ProjectID: sc.ProjectID, TaskID: sc.TaskID, PolicyHash: sc.PolicyHash, Detail: why,
		})
	})
	return news && err == nil, err
}

const (
	// noticeLife is how long people are told of what has happened.
	noticeLife = 24 * time.Hour
	// noticeKept is how long notices stay in the ledger, for whoever looks there.
	noticeKept = 7 * noticeLife
)

// forgetNotices deletes old notices, but for that of a task which still awaits approval: people
// would be told again.
func (s *Store) forgetNotices(ctx context.Context) error {
	_, err := s.forget(ctx, retention, "notices", `at < ? AND NOT (event = 'awaiting_approval' AND EXISTS (SELECT 1 FROM tasks
		WHERE tasks.project_id = notices.project_id AND tasks.task_id = notices.task_id AND gone_at = 0))`, micros(s.Now().Add(-noticeKept)))
	return err
}
