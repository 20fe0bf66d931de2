package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"retryd/internal/policy"
)

// Record is what the ledger knows of a target.
type Record struct {
	policy.Record
	// Closed is set where the target's end was counted at its present number of attempts.
	Closed bool
	// Elsewhere is when the target was seen to have succeeded without a retry, where that is its end; else zero.
	Elsewhere time.Time
	ended     string // that end
}

// Records gives what is known of these devices in one task. A device without a record is
// in the map only if it has an open attempt in another task of the project, or is paused.
func (s *Store) Records(ctx context.Context, projectID, taskID string, devices []string) (map[string]Record, error) {
	return records(ctx, s.read, projectID, taskID, devices, s.Now())
}

func records(ctx context.Context, q queryer, projectID, taskID string, devices []string, now time.Time) (map[string]Record, error) {
	wanted, err := list(devices)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Record, len(devices))
	err = each(ctx, q, func(rows *sql.Rows) error {
		var device string
		var r Record
		var firstAt, seenAt, closedAt int64
		var closedN int
		if err := rows.Scan(&device, &r.N, &r.Counted, &firstAt, &r.State, &seenAt, &r.RejectCode, &r.RejectText, &r.Refused, &closedN, &closedAt, &r.ended); err != nil {
			return err
		}
		if r.ended == resolvedElsewhere {
			r.Elsewhere = fromMicros(closedAt)
		}
		r.FirstAt, r.SeenAt, r.Closed = fromMicros(firstAt), fromMicros(seenAt), closedN == r.Counted
		found[device] = r
		return nil
	}, `SELECT device_id, last_n, counted, first_at, state, seen_at, reject_code, reject_text, refused, closed_n, closed_at, ended
		FROM targets WHERE project_id = ? AND task_id = ? AND device_id IN (@list)`,
		projectID, taskID, wanted)
	if err != nil {
		return nil, fmt.Errorf("read the targets of task %s: %w", taskID, err)
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var device string
		var open openAttempt
		if err := rows.Scan(&device, &open.task, &open.n, &open.since); err != nil {
			return err
		}
		found[device] = open.of(found[device])
		return nil
	}, `SELECT device_id, task_id, n, claimed_at FROM attempts WHERE project_id = ? AND device_id <> '*' AND device_id IN (@list)
		AND `+openStates, projectID, wanted)
	if err != nil {
		return nil, fmt.Errorf("read open attempts: %w", err)
	}
	if err := addWhole(ctx, q, projectID, taskID, devices, found); err != nil {
		return nil, err
	}
	return found, pausedDevices(ctx, q, projectID, taskID, wanted, now, found)
}

// openAttempt is what a record says of an attempt that is open.
type openAttempt struct {
	task  string
	n     int
	since int64
}

func (o openAttempt) of(r Record) Record {
	r.OpenTask, r.OpenN, r.OpenSince = o.task, o.n, fromMicros(o.since)
	return r
}

// pausedDevices adds which of the devices a person has paused.
func pausedDevices(ctx context.Context, q queryer, projectID, taskID, wanted string, now time.Time, found map[string]Record) error {
	err := each(ctx, q, func(rows *sql.Rows) error {
		p := Pause{Scope: PauseDevice}
		var device string
		var at, until int64
		if err := rows.Scan(&device, &p.Who, &p.Why, &at, &until); err != nil {
			return err
		}
		p.At, p.Until = fromMicros(at), fromMicros(until)
		r := found[device]
		r.Paused, r.PauseEnds = p.String(), p.Until
		found[device] = r
		return nil
	}, `SELECT device_id, who, why, at, until FROM pauses WHERE scope = 'device' AND ended_at = 0 AND (until = 0 OR until > ?)
		AND project_id = ? AND task_id = ? AND device_id IN (@list)`, micros(now), projectID, taskID, wanted)
	if err != nil {
		return fmt.Errorf("read the pauses: %w", err)
	}
	return nil
}
