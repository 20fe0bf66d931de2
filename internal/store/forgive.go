package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"retryd/internal/policy"
)

// Forgiveness names targets of one task that are to begin anew: their attempts stay on record, and
// count no more.
type Forgiveness struct {
	ProjectID, TaskID string
	Devices           []string // none = all that are Is
	Is                string   // exhausted, expired or permanent; empty = each of them
}

// GivenUp lists the ends from which only a person brings a target back.
func GivenUp() []string {
	return []string{string(policy.Exhausted), string(policy.Expired), string(policy.Permanent)}
}

// Forgiven is what came of it.
type Forgiven struct {
	Devices []string  // that begin anew, policy.WholeTask among them where its attempts counted for each
	Going   []string  // of those: they were not given up, and would have been retried without this
	Left    []Dropped // named, or open, and left as they are
	Again   bool      `json:"-"` // it is the answer of the first time
}

// Forgive lets targets begin anew, all that are named and can be in one transaction, and writes the
// action. A device is left as it is while an attempt of it is open: what comes of that would count
// for nothing.
func (s *Store) Forgive(ctx context.Context, a Action, f Forgiveness) (Forgiven, error) {
	done, again, err := once(ctx, s, a, func(tx *tx) (Forgiven, []Action, error) {
		r, ends, err := f.look(ctx, tx)
		if err != nil || len(r.Devices) == 0 {
			return r, nil, err
		}
		wanted, err := list(r.Devices)
		if err != nil {
			return Forgiven{}, nil, err
		}
		// One statement, however many there are: nobody else writes meanwhile.
		_, err = tx.ExecContext(ctx, `UPDATE targets SET forgiven_n = last_n, counted = 0, first_at = 0, state = '', seen_at = 0,
				reject_code = '', reject_text = '', refused = ?, closed_n = -1, closed_outcome = ''
			WHERE project_id = ? AND task_id = ? AND device_id IN (@list)`, false, f.ProjectID, f.TaskID, wanted)
		if err != nil {
			return Forgiven{}, nil, fmt.Errorf("forgive: %w", err)
		}
		if err := unpass(ctx, tx, f.ProjectID, f.TaskID); err != nil {
			return Forgiven{}, nil, fmt.Errorf("forgive: %w", err)
		}
		for i, device := range r.Devices {
			tx.end(policy.Target{ProjectID: f.ProjectID, TaskID: f.TaskID, DeviceID: device}, ends[i], -1)
		}
		a.ProjectID, a.TaskID, a.Subject = f.ProjectID, f.TaskID, devicesIn(f.TaskID, r.Devices)
		if len(r.Devices) == 1 {
			a.DeviceID = r.Devices[0]
		}
		return r, []Action{a}, nil
	})
	done.Again = again
	return done, err
}

// WouldForgive says what Forgive would do, and does nothing.
func (s *Store) WouldForgive(ctx context.Context, f Forgiveness) (Forgiven, error) {
	r, _, err := f.look(ctx, s.read)
	return r, err
}

const (
	targetOpen = `EXISTS (SELECT 1 FROM attempts a WHERE a.project_id = t.project_id AND a.task_id = t.task_id AND a.device_id = t.device_id AND a.` + openStates + `)`

	countsWhole = "attempts of the whole task count for it: forgive all of the task"
)

// look gives which targets begin anew, each with the end that it has come to. Attempts of the whole
// task count for each of its devices: they are forgiven with all that is given up, or not at all.
func (f Forgiveness) look(ctx context.Context, q queryer) (r Forgiven, ends []string, err error) {
	whole, wholeOpen, err := f.whole(ctx, q)
	if err != nil {
		return Forgiven{}, nil, err
	}
	all := len(f.Devices) == 0 && f.Is == ""
	query := `SELECT device_id, counted, ended, ` + targetOpen + ` FROM targets t WHERE project_id = ? AND task_id = ?`
	args := []any{f.ProjectID, f.TaskID}
	if len(f.Devices) > 0 {
		wanted, err := list(f.Devices)
		if err != nil {
			return Forgiven{}, nil, err
		}
		query, args = query+` AND device_id IN (@list)`, append(args, wanted)
	} else {
		query += ` AND ended IN ('exhausted', 'expired', 'permanent')`
	}
	found := map[string]bool{}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var device, ended string
		var counted int
		var open bool
		if err := rows.Scan(&device, &counted, &ended, &open); err != nil {
			return err
		}
		found[device] = true
		switch why := f.leaves(counted, ended, open || wholeOpen, whole && !all); {
		case why == "":
			r.Devices, ends = append(r.Devices, device), append(ends, ended)
			if ended == "" {
				r.Going = append(r.Going, device)
			}
		case len(f.Devices) > 0 || f.Is == "" || ended == f.Is:
			r.Left = append(r.Left, Dropped{device, why})
		}
		return nil
	}, query+` ORDER BY device_id`, args...)
	if err != nil {
		return Forgiven{}, nil, fmt.Errorf("read the targets of task %s: %w", f.TaskID, err)
	}
	if whole && len(r.Devices) > 0 {
		r.Devices, ends = append(r.Devices, policy.WholeTask), append(ends, "")
	}
	for _, device := range f.Devices {
		switch {
		case found[clean(device)]:
		case whole:
			r.Left = append(r.Left, Dropped{device, countsWhole})
		default:
			r.Left = append(r.Left, Dropped{device, "it has never been retried in this task"})
		}
	}
	return r, ends, nil
}

// whole tells whether attempts of the whole task count, and whether one is open.
func (f Forgiveness) whole(ctx context.Context, q queryer) (counts, open bool, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&counts, &open) },
		`SELECT counted > 0, `+targetOpen+` FROM targets t WHERE project_id = ? AND task_id = ? AND device_id = '*'`, f.ProjectID, f.TaskID)
	if err != nil {
		return false, false, fmt.Errorf("read the attempts of the whole task %s: %w", f.TaskID, err)
	}
	return counts, open, nil
}

// leaves says why a target is left as it is; empty if it is not.
func (f Forgiveness) leaves(counted int, ended string, open, whole bool) string {
	switch {
	case open:
		return "an attempt of it is open"
	case f.Is != "" && ended != f.Is:
		return "it is not " + f.Is
	case ended == resolvedElsewhere && len(f.Devices) > 0: // and has failed once more since, or nobody would name it
		return ""
	case ended != "" && !slices.Contains(GivenUp(), ended):
		return "it has come to its end: " + ended
	case whole:
		return countsWhole
	case ended == "" && counted == 0:
		return "none of its attempts count"
	}
	return ""
}
