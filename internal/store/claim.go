package store

import (
	"context"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Claim asks for one attempt of each of some targets of one task.
type Claim struct {
	Scope
	TaskType   string
	Tick       time.Time // of the sweep
	AskedBy    string    // the person who asked for it by hand; empty = its policy did
	Terms      policy.Terms
	SendBy     time.Time // after this the request can no longer be under way
	Candidates []Candidate
	// Covers are the devices that a claim of policy.WholeTask re-runs: none of them may have
	// an open attempt.
	Covers []string
}

// Candidate is one target, the number of its last attempt when it was decided on, and how
// many it may have by the rule for its failure.
type Candidate struct {
	DeviceID string
	LastN    int
	Max      int
}

// Claimed is a durable attempt whose request may leave now.
type Claimed struct {
	DeviceID string
	N        int
}

// Dropped is a candidate that was not claimed.
type Dropped struct {
	DeviceID string
	Why      string
}

// Claim writes the attempts, or none of them: it is the last word on whether a target
// may be retried, whatever was decided before. A candidate that fails a check is dropped
// and the rest go. Where it returns an error nothing may be sent; a *GateError is in the chain
// of one that a gate made: a pause, a missing approval, a halt.
func (s *Store) Claim(ctx context.Context, c Claim) (claimed []Claimed, dropped []Dropped, err error) {
	err = s.txIn(ctx, c.ProjectID, func(tx *tx) error {
		now := tx.now
		g, err := gates(ctx, tx, c.Scope, now)
		if err != nil {
			return err
		}
		if err := g.Err(); err != nil {
			return err
		}
		devices := make([]string, len(c.Candidates))
		for i, candidate := range c.Candidates {
			devices[i] = candidate.DeviceID
		}
		known, err := records(ctx, tx, c.ProjectID, c.TaskID, devices, now)
		if err != nil {
			return err
		}
		if why, err := c.covered(ctx, tx, now); err != nil {
			return err
		} else if why != "" {
			dropped = append(dropped, Dropped{policy.WholeTask, why})
			return nil
		}
		left := g.ApprovalLeft
		for _, candidate := range c.Candidates {
			why, takes := refuse(known[candidate.DeviceID], candidate), 0
			if left >= 0 {
				takes = max(0, max(1, len(c.Covers))-g.Approved[candidate.DeviceID])
			}
			if why == "" && takes > left && left >= 0 {
				why = "the approval is for no more targets"
			}
			if why != "" {
				dropped = append(dropped, Dropped{candidate.DeviceID, why})
				continue
			}
			claimed = append(claimed, Claimed{candidate.DeviceID, candidate.LastN + 1})
			left -= takes
			r := known[candidate.DeviceID]
			if r.ended != "" { // it goes on
				tx.end(policy.Target{ProjectID: c.ProjectID, TaskID: c.TaskID, DeviceID: candidate.DeviceID}, r.ended, -1)
			}
			r.OpenTask = c.TaskID // named twice, it is claimed once
			known[candidate.DeviceID] = r
		}
		if err := c.insert(ctx, tx, claimed, s.held()); err != nil {
			return fmt.Errorf("claim targets of task %s: %w", c.TaskID, err)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return claimed, dropped, nil
}

func refuse(r Record, c Candidate) string {
	switch {
	case !keeps(c.DeviceID):
		return "its id is none that the ledger can keep"
	case r.Paused != "":
		return "it is paused: " + r.Paused
	case r.OpenTask != "":
		return "the device has an open attempt in task " + r.OpenTask
	case r.N != c.LastN:
		return fmt.Sprintf("it was decided after attempt %d, and attempt %d is on record", c.LastN, r.N)
	case r.Counted >= c.Max:
		return fmt.Sprintf("%d of %d attempts are used", r.Counted, c.Max)
	}
	return ""
}

// claimRow is an attempt as a statement takes it for @each.
type claimRow struct {
	Device string `json:"d"`
	N      int    `json:"n"`
}

func rowOfClaim(c Claimed) claimRow { return claimRow{clean(c.DeviceID), c.N} }

// insert writes attempts, however many in two statements.
func (c Claim) insert(ctx context.Context, tx *tx, claimed []Claimed, by Lease) error {
	keys := make([]claimRow, len(claimed))
	for i, one := range claimed {
		keys[i] = rowOfClaim(one)
	}
	return forRows(keys, func(rows string) error {
		if err := unpass(ctx, tx, c.ProjectID, c.TaskID); err != nil {
			return err
		}
		now := micros(tx.now)
		_, err := tx.ExecContext(ctx, `INSERT INTO targets
			(project_id, task_id, device_id, task_type, policy, connection, last_n, counted, first_at)
			SELECT ?, ?, value ->> 'd', ?, ?, ?, CAST(value ->> 'n' AS BIGINT), 1, CAST(? AS BIGINT) FROM @each WHERE TRUE
			ON CONFLICT (project_id, task_id, device_id) DO UPDATE SET
				policy = excluded.policy, connection = excluded.connection, last_n = excluded.last_n,
				first_at = CASE WHEN targets.counted = 0 THEN excluded.first_at ELSE targets.first_at END,
				counted = targets.counted + 1`,
			c.ProjectID, c.TaskID, c.TaskType, c.Policy, c.Connection, now, rows)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO attempts
			(project_id, task_id, device_id, n, state, task_type, policy, connection, tick, claimed_at, send_by, settle, stale_after, wait_retry_fails, weight, covers, budget, token, asked_by)
			SELECT ?, ?, value ->> 'd', CAST(value ->> 'n' AS BIGINT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM @each`,
			c.ProjectID, c.TaskID, policy.Claimed, c.TaskType, c.Policy, c.Connection,
			micros(c.Tick), now, micros(c.SendBy), c.Terms.Settle.Microseconds(), c.Terms.StaleAfter.Microseconds(), c.Terms.WaitRetryFails,
			max(1, len(c.Covers)), newCover(c.Covers), by.Budget, by.Token, c.AskedBy, rows)
		return err
	})
}

// covered says why a claim of a whole task cannot be made: one of its devices has an open
// attempt, in this task or another.
func (c Claim) covered(ctx context.Context, tx *tx, now time.Time) (string, error) {
	if len(c.Covers) == 0 {
		return "", nil
	}
	known, err := records(ctx, tx, c.ProjectID, c.TaskID, c.Covers, now)
	if err != nil {
		return "", err
	}
	for device, r := range known {
		switch {
		case r.OpenTask != "":
			return "device " + device + " has an open attempt in task " + r.OpenTask, nil
		case r.Paused != "":
			return "device " + device + " is paused: " + r.Paused, nil
		case r.Counted >= c.Candidates[0].Max:
			return fmt.Sprintf("device %s has used %d of %d attempts", device, r.Counted, c.Candidates[0].Max), nil
		}
	}
	var open int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM attempts @by_open_task WHERE project_id = ? AND task_id = ? AND `+openStates, c.ProjectID, c.TaskID).Scan(&open)
	if err == nil && open > 0 {
		return fmt.Sprintf("the task has %d open attempts", open), nil
	}
	return "", err
}

// adopt turns the claims of a process that is no more into unknown attempts: their
// requests may have left. It runs under the lock, before anything is claimed.
func (s *Store) adopt(ctx context.Context) error {
	return s.tx(ctx, func(tx *tx) error {
		_, err := abandonClaims(ctx, tx, `TRUE`)
		return err
	})
}

// Abandon turns claims whose request can no longer be under way, and whose answer never
// came to be written, into unknown attempts. It returns how many.
func (s *Store) Abandon(ctx context.Context) (n int, err error) {
	const late = `send_by < ?`
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempts WHERE `+claimedWhere+late+`)`, micros(s.Now())).Scan(&some); err != nil || !some {
		return 0, err
	}
	err = s.tx(ctx, func(tx *tx) error {
		n, err = abandonClaims(ctx, tx, late, micros(tx.now))
		return err
	})
	return n, err
}

const claimedWhere = `state = 'claimed' AND ` // as the index has it

func abandonClaims(ctx context.Context, tx *tx, where string, args ...any) (int, error) {
	where = claimedWhere + where
	_, err := tx.ExecContext(ctx, `UPDATE targets SET state = 'unknown', reject_code = '', reject_text = ''
		WHERE (project_id, task_id, device_id) IN (SELECT project_id, task_id, device_id FROM attempts WHERE `+where+`)`, args...)
	if err != nil {
		return 0, err
	}
	return execCount(ctx, tx, `UPDATE attempts SET state = 'unknown', answered_at = send_by,
		text = 'retryd stopped before the answer was written' WHERE `+where, args...)
}
