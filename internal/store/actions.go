package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// Action is what a person did: kept for good, beside what it changed.
type Action struct {
	Who    string
	Source string // from where: terminal, socket, an address, or the part of retryd that did it for them
	What   string // pause, resume, approve, …
	// Subject names in words what it was done to; the fields after Why say the same for programs,
	// as far as they apply.
	Subject, Why                string
	Policy, Connection          string // names
	ProjectID, TaskID, DeviceID string

	// Outcome says what retries that were asked for have come to; empty = nothing yet, or it asked for none.
	Outcome string
	request int64 // to retry, that it asked for; 0 = none

	// Key makes it happen once: asked for again under the same key, it gives what it gave then. Empty
	// = it has none. Fingerprint tells whether the same is asked for.
	Key, Fingerprint string
}

// ErrKeyReused is in the chain of the error for an action whose key stands for another one.
var ErrKeyReused = errors.New("the idempotency key has been used for another request")

// Act writes down an action that changes nothing in the ledger.
func (s *Store) Act(ctx context.Context, a Action) error {
	return s.tx(ctx, func(tx *tx) error { return act(ctx, tx, a, nil) })
}

// ActionsAfter gives the actions after one, the oldest first, at most 100; those after the last are
// none. Where no number is known, LastAction gives one to begin with.
func (s *Store) ActionsAfter(ctx context.Context, id int64) (rows []ActionRow, err error) {
	err = each(ctx, s.read, func(r *sql.Rows) error {
		row, err := scanAction(r)
		rows = append(rows, row)
		return err
	}, `SELECT `+actionColumns+` FROM actions WHERE id > ? ORDER BY id LIMIT 100`, id)
	if err != nil {
		return nil, fmt.Errorf("read new actions: %w", err)
	}
	return rows, nil
}

// LastAction gives the number of the last action; 0 = there is none.
func (s *Store) LastAction(ctx context.Context) (id int64, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM actions`).Scan(&id); err != nil {
		return 0, fmt.Errorf("read the last action: %w", explain(err))
	}
	return id, nil
}

// once does what a person asks for, and writes the actions that do gives, in one transaction; where
// it gives none, nothing has changed. Under a key that is known it changes nothing, and gives the
// answer of the first time; again is true then.
func once[R any](ctx context.Context, s *Store, a Action, do func(*tx) (answer R, acts []Action, err error)) (answer R, again bool, err error) {
	err = s.tx(ctx, func(tx *tx) (err error) {
		if again, err = repeated(ctx, tx, a, &answer); err != nil || again {
			return err
		}
		var acts []Action
		if answer, acts, err = do(tx); err != nil {
			return err
		}
		for i, one := range acts {
			if one.Key = ""; i == 0 {
				one.Key = a.Key
			}
			if err := act(ctx, tx, one, answer); err != nil {
				return fmt.Errorf("write the action: %w", err)
			}
		}
		return nil
	})
	return answer, again, err
}

// repeated reads the answer of the first time.
func repeated(ctx context.Context, q queryer, a Action, answer any) (bool, error) {
	if a.Key == "" {
		return false, nil
	}
	var fingerprint, text string
	err := q.QueryRowContext(ctx, `SELECT fingerprint, answer FROM actions WHERE key = ? AND key <> ''`, a.Key).Scan(&fingerprint, &text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case fingerprint != a.Fingerprint:
		return false, ErrKeyReused
	}
	return true, json.Unmarshal([]byte(text), answer)
}

// act writes an action, and the answer where it may be asked for again.
func act(ctx context.Context, tx *tx, a Action, answer any) error {
	text := ""
	if a.Key != "" {
		data, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("keep the answer: %w", err)
		}
		text = string(data)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO actions
		(at, who, source, what, subject, why, policy, connection, project_id, task_id, device_id, request, key, fingerprint, answer)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		micros(tx.now), a.Who, a.Source, a.What, a.Subject, a.Why, a.Policy, a.Connection, a.ProjectID, a.TaskID, a.DeviceID, a.request, a.Key, a.Fingerprint, text)
	return err
}
