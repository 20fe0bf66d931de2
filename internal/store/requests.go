package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Request is work that a person asks for, of whoever drives the connection.
type Request struct {
	ID                   int64
	Kind                 RequestKind
	Identity, Connection string // of the connection
	Policy               string // to be swept; of a retry the one that has the task, empty = whichever does
	ProjectID, TaskID    string // of a retry
	Order                Order  // of a retry
	Who, Why             string
	At                   time.Time
	Until                time.Time // it is not begun after this; zero = for 10 minutes
	State                RequestState
	TakenAt, EndedAt     time.Time
	Result               Outcome
}

// RequestKind is what a person asks for.
type RequestKind string

// The kinds of requests.
const (
	SweepRequest RequestKind = "sweep" // one sweep of a policy now
	RetryRequest RequestKind = "retry" // retries of targets of one task
)

// RequestState is how far a request is.
type RequestState string

// The states of a request. The last three are final.
const (
	RequestWaiting RequestState = "waiting"
	RequestRunning RequestState = "running"
	RequestDone    RequestState = "done"    // to its end, whatever came of it
	RequestFailed  RequestState = "failed"  // it could not be done, or not to its end
	RequestExpired RequestState = "expired" // nobody began it in time
)

// RequestKinds lists them.
func RequestKinds() []RequestKind { return []RequestKind{SweepRequest, RetryRequest} }

// RequestEnds lists the states that are final.
func RequestEnds() []RequestState { return []RequestState{RequestDone, RequestFailed, RequestExpired} }

// Ended tells whether nothing more comes of the request.
func (s RequestState) Ended() bool { return s != RequestWaiting && s != RequestRunning }

// Order says which targets of a task to retry, and past what.
type Order struct {
	Devices []string `json:"devices,omitempty"` // none = all that have failed
	policy.Past
}

// Outcome is what a request came to.
type Outcome struct {
	Targets  map[string]int `json:"targets,omitempty"` // by verdict
	Sent     map[string]int `json:"sent,omitempty"`    // attempts by answer
	Capped   map[string]int `json:"capped,omitempty"`  // targets by the limit that held them back
	Left     []Left         `json:"left,omitempty"`    // named targets that were not retried, at most 1000
	Problems []string       `json:"problems,omitempty"`
}

// Left is a target that was named and not retried.
type Left struct {
	DeviceID string `json:"device_id"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail,omitempty"`
}

// ErrNoRequest is in the chain of the error for a request that is not on record.
var ErrNoRequest = errors.New("there is no such request: it may be older than what is kept")

const (
	// requestsWait is how long a request waits for somebody to begin it.
	requestsWait = 10 * time.Minute
	// requesting is the part of the ledger that requests are taken and ended in.
	requesting = "requests"

	notBegun = "nobody who drives the connection began it in time: look whether a retryd runs, and drives it"
	cutOff   = "the retryd that had begun it ended before it was done: what it had sent by then is among the attempts, and the rest was not retried"
)

// Ask writes down requests, and one action for them all: its subject is the caller's, or else names
// the first.
func (s *Store) Ask(ctx context.Context, a Action, requests ...Request) (asked []Request, again bool, err error) {
	return once(ctx, s, a, func(tx *tx) (asked []Request, acts []Action, err error) {
		for _, r := range requests {
			r.State, r.Who, r.Why, r.At = RequestWaiting, a.Who, a.Why, tx.now
			if r.Until.IsZero() {
				r.Until = tx.now.Add(requestsWait)
			}
			order, err := json.Marshal(r.Order)
			if err != nil {
				return nil, nil, fmt.Errorf("write down what is asked for: %w", err)
			}
			err = tx.QueryRowContext(ctx, `INSERT INTO requests (kind, identity, connection, policy, project_id, task_id, body, who, why, at, until, state)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, r.Kind, r.Identity, r.Connection, r.Policy, r.ProjectID, r.TaskID,
				string(order), r.Who, r.Why, micros(r.At), micros(r.Until), r.State).Scan(&r.ID)
			if err != nil {
				return nil, nil, fmt.Errorf("ask for a %s: %w", r.Kind, err)
			}
			asked = append(asked, r)
		}
		if len(asked) == 0 {
			return nil, nil, nil
		}
		return asked, []Action{asked[0].action(a, len(asked))}, nil
	})
}

// action gives what the person does who asks for this and others.
func (r Request) action(a Action, all int) Action {
	a.ProjectID, a.TaskID = r.ProjectID, r.TaskID
	if all == 1 {
		a.Policy, a.Connection = r.Policy, r.Connection
	}
	if r.Kind == RetryRequest {
		a.request = r.ID
	}
	if len(r.Order.Devices) == 1 {
		a.DeviceID = r.Order.Devices[0]
	}
	if a.Subject != "" {
		return a
	}
	switch n := len(r.Order.Devices); {
	case r.Kind == SweepRequest && all > 1:
		a.Subject = fmt.Sprintf("policy %s on %s, and %d more", r.Policy, r.Connection, all-1)
	case r.Kind == SweepRequest:
		a.Subject = fmt.Sprintf("policy %s on %s", r.Policy, r.Connection)
	case n == 0:
		a.Subject = "all failed targets in task " + r.TaskID
	default:
		a.Subject = devicesIn(r.TaskID, r.Order.Devices)
	}
	return a
}

// OpenRequests gives the identities of the connections that have requests to be begun, or cleared
// away.
func (s *Store) OpenRequests(ctx context.Context) (identities []string, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var identity string
		err := rows.Scan(&identity)
		identities = append(identities, identity)
		return err
	}, `SELECT DISTINCT identity FROM requests WHERE `+openRequests+` ORDER BY identity`)
	if err != nil {
		return nil, fmt.Errorf("look for requests: %w", err)
	}
	return identities, nil
}

const openRequests = `state IN ('waiting', 'running')` // as the index has it

// TakeRequest begins the oldest request that waits for a connection, under its budget's lease; nil if
// there is none. Whoever drives a connection performs one at a time, so that one which is still
// running was left behind: it has failed, as what it sent must not be sent twice. lapsed are those,
// and the ones that nobody has begun in time, with their id, kind, task and state alone.
func (s *Store) TakeRequest(ctx context.Context, identity string) (taken *Request, lapsed []Request, err error) {
	err = s.txIn(ctx, requesting, func(tx *tx) error {
		now := tx.now
		if err := endLeftSweeps(ctx, tx, identity); err != nil {
			return err
		}
		for _, end := range []struct {
			to    RequestState
			why   string
			where string
			args  []any
		}{{RequestFailed, cutOff, `state = 'running'`, nil}, {RequestExpired, notBegun, `state = 'waiting' AND until < ?`, []any{micros(now)}}} {
			result, err := json.Marshal(Outcome{Problems: []string{end.why}})
			if err != nil {
				return fmt.Errorf("write down why a request has ended: %w", err)
			}
			err = each(ctx, tx, func(rows *sql.Rows) error {
				r := Request{State: end.to}
				err := rows.Scan(&r.ID, &r.Kind, &r.ProjectID, &r.TaskID)
				lapsed = append(lapsed, r)
				return err
			}, `UPDATE requests SET state = ?, ended_at = ?, result = ? WHERE identity = ? AND `+openRequests+` AND `+end.where+` RETURNING id, kind, project_id, task_id`,
				append([]any{end.to, micros(now), string(result), identity}, end.args...)...)
			if err != nil {
				return err
			}
			for _, r := range lapsed {
				if r.State != end.to {
					continue
				}
				words := end.why
				if r.State == RequestExpired {
					words = nothingSent + words
				}
				if err := r.cameTo(ctx, tx, words); err != nil {
					return err
				}
			}
		}
		by := s.held()
		return each(ctx, tx, func(rows *sql.Rows) error {
			r, err := scanRequest(rows)
			taken = &r
			return err
		}, `UPDATE requests SET state = 'running', taken_at = ?, budget = ?, token = ? WHERE id =
				(SELECT min(id) FROM requests WHERE identity = ? AND `+openRequests+` AND state = 'waiting') RETURNING `+requestColumns,
			micros(now), by.Budget, by.Token, identity)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("begin a request: %w", err)
	}
	return taken, lapsed, nil
}

// endLeftSweeps ends the sweeps of requests that were left behind: no tick is due at which they would
// be begun again.
func endLeftSweeps(ctx context.Context, tx *tx, identity string) error {
	problems, err := json.Marshal([]string{cutOff})
	if err != nil {
		return fmt.Errorf("write down why a sweep has ended: %w", err)
	}
	_, err = tx.ExecContext(ctx, `UPDATE ticks SET finished_at = ?, result = 'failed', problems = ? WHERE why = ? AND finished_at = 0
		AND (policy, connection) IN (SELECT policy, connection FROM requests WHERE identity = ? AND `+openRequests+` AND state = 'running')`,
		micros(tx.now), string(problems), ByHand, identity)
	return err
}

// EndRequest writes what a request that was begun has come to, done or failed.
func (s *Store) EndRequest(ctx context.Context, id int64, state RequestState, o Outcome) error {
	result, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write down what a request came to: %w", err)
	}
	return s.txIn(ctx, requesting, func(tx *tx) error {
		var ended *Request
		err := each(ctx, tx, func(rows *sql.Rows) error {
			r, err := scanRequest(rows)
			ended = &r
			return err
		}, `UPDATE requests SET state = ?, ended_at = ?, result = ? WHERE id = ? AND state = 'running' RETURNING `+requestColumns,
			state, micros(tx.now), string(result), id)
		if err != nil || ended == nil || ended.Kind != RetryRequest {
			return err
		}
		words, err := ended.words(ctx, tx)
		if err != nil {
			return err
		}
		return ended.cameTo(ctx, tx, words)
	})
}

// CancelRequests ends those of the requests that nobody has begun: they have failed, and why says of what.
func (s *Store) CancelRequests(ctx context.Context, why string, ids ...int64) error {
	result, err := json.Marshal(Outcome{Problems: []string{why}})
	if err != nil {
		return fmt.Errorf("write down why a request has ended: %w", err)
	}
	return s.txIn(ctx, requesting, func(tx *tx) error {
		for _, id := range ids {
			r := Request{ID: id}
			err := each(ctx, tx, func(rows *sql.Rows) error { return rows.Scan(&r.Kind, &r.ProjectID, &r.TaskID) },
				`UPDATE requests SET state = ?, ended_at = ?, result = ? WHERE id = ? AND state = 'waiting' RETURNING kind, project_id, task_id`,
				RequestFailed, micros(tx.now), string(result), id)
			if err == nil {
				err = r.cameTo(ctx, tx, nothingSent+why)
			}
			if err != nil {
				return fmt.Errorf("cancel request %d: %w", id, err)
			}
		}
		return nil
	})
}

// GetRequest gives a request as it is now.
func (s *Store) GetRequest(ctx context.Context, id int64) (r Request, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) (err error) {
		r, err = scanRequest(rows)
		return err
	}, `SELECT `+requestColumns+` FROM requests WHERE id = ?`, id)
	switch {
	case err != nil:
		return Request{}, fmt.Errorf("read request %d: %w", id, err)
	case r.ID == 0:
		return Request{}, fmt.Errorf("request %d: %w", id, ErrNoRequest)
	case r.State == RequestWaiting && r.Until.Before(s.Now()): // nobody has been there to write it
		r.State, r.EndedAt, r.Result.Problems = RequestExpired, r.Until, []string{notBegun}
	}
	return r, nil
}

const requestColumns = `id, kind, identity, connection, policy, project_id, task_id, body, who, why, at, until, state, taken_at, ended_at, result`

func scanRequest(rows *sql.Rows) (r Request, err error) {
	var order, result string
	var at, until, taken, ended int64
	err = rows.Scan(&r.ID, &r.Kind, &r.Identity, &r.Connection, &r.Policy, &r.ProjectID, &r.TaskID, &order, &r.Who, &r.Why, &at, &until, &r.State, &taken, &ended, &result)
	r.At, r.Until, r.TakenAt, r.EndedAt = fromMicros(at), fromMicros(until), fromMicros(taken), fromMicros(ended)
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(order), &r.Order), json.Unmarshal([]byte(result), &r.Result))
	}
	return r, err
}
