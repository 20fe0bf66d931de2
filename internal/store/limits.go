package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"retryd/internal/policy"
)

// openStates selects attempts in one of these states: claimed, accepted, unknown.
const openStates = `settled_at = 0`

// Usage gives how much of the policy's limits is in use for a task, in the sweep of tick; of a limit that
// it does not have, 0.
func (s *Store) Usage(ctx context.Context, sc Scope, p *policy.Policy, tick time.Time) (u policy.Usage, err error) {
	now := s.Now()
	sums, args := make([]string, 0, 3), []any{}
	sum := func(used bool, where string, values ...any) {
		if !used { // it would be summed up for nothing, in each wave
			sums = append(sums, `0`)
			return
		}
		sums, args = append(sums, `(SELECT coalesce(sum(weight), 0) FROM attempts `+where+`)`), append(args, values...)
	}
	// What waits for its device longer than that is no sign of a bad package.
	open, recent := `@by_made`, micros(now.Add(-p.Limits.InFlightFor))
	if p.Limits.InFlightFor <= 0 {
		open, recent = `@by_open_task`, 0
	}
	since, afterHalt, err := s.haltsSince(ctx, s.read, sc, now.Add(-p.Halt.Window), now)
	if err != nil {
		return u, err
	}
	u.AfterHalt = afterHalt
	ramp := p.Limits.Ramp.Initial > 0 || afterHalt
	// No attempt is older than its tick, but for a clock that was put back meanwhile.
	sum(p.Limits.TargetsPerSweep > 0, `@by_made WHERE policy = ? AND connection = ? AND claimed_at >= ? AND tick = ? AND state <> 'released'`,
		sc.Policy, sc.Connection, micros(tick.Add(-time.Hour)), micros(tick))
	sum(p.Limits.InFlight > 0, open+` WHERE project_id = ? AND policy = ? AND connection = ? AND `+openStates+` AND claimed_at >= ?`,
		sc.ProjectID, sc.Policy, sc.Connection, recent)
	sum(ramp, `@by_open_task WHERE project_id = ? AND task_id = ? AND `+openStates+` AND claimed_at >= ?`, sc.ProjectID, sc.TaskID, recent)
	if err := s.read.QueryRowContext(ctx, `SELECT `+strings.Join(sums, ", "), args...).Scan(&u.Claimed, &u.InFlight, &u.Open); err != nil {
		return u, fmt.Errorf("count what is in flight: %w", err)
	}
	if ramp {
		o, err := outcomes(ctx, s.read, sc, p.Halt.On, true, since, nil)
		if u.Recovered = o.Recovered; err != nil {
			return u, err
		}
	}
	u.ApprovalCap = -1
	if sc.NeedsApproval {
		_, u.ApprovalCap, u.Approved, err = approval(ctx, s.read, sc, now)
	}
	return u, err
}

// haltsSince moves the start of a window to the end of the last halt of the task, or of
// the policy, if there was one in it.
func (s *Store) haltsSince(ctx context.Context, q queryer, sc Scope, since, now time.Time) (time.Time, bool, error) {
	var ended int64
	err := q.QueryRowContext(ctx, `SELECT coalesce(max(CASE WHEN ended_at > 0 THEN ended_at WHEN until > 0 AND until <= ? THEN until ELSE 0 END), 0)
		FROM halts WHERE project_id = ? AND (task_id = ? OR task_id = '' AND policy = ?)`,
		micros(now), sc.ProjectID, sc.TaskID, sc.Policy).Scan(&ended)
	if err != nil {
		return since, false, fmt.Errorf("read the halts: %w", err)
	}
	if at := fromMicros(ended); at.After(since) {
		return at, true, nil
	}
	return since, false, nil
}

// outcomes counts the targets of the task, or of the policy on the connection, by their
// last outcome since a moment; failures of other classes are left out. supposed are outcomes
// that are not written.
func outcomes(ctx context.Context, q queryer, sc Scope, classes []policy.CauseClass, task bool, since time.Time, supposed []policy.Settlement) (o policy.Outcomes, err error) {
	words := make([]string, len(classes))
	for i, class := range classes {
		words[i] = string(class)
	}
	on, err := list(words)
	if err != nil {
		return o, err
	}
	type row struct{ Task, Device, State, Class string }
	more := []row{}
	for _, s := range supposed {
		if task && s.TaskID == sc.TaskID || !task && s.Policy == sc.Policy && s.Connection == sc.Connection {
			more = append(more, row{s.TaskID, clean(s.DeviceID), string(s.State), clean(string(s.Cause.Class))})
		}
	}
	rows, err := json.Marshal(more)
	if err != nil {
		return o, fmt.Errorf("name the outcomes: %w", err)
	}
	where, args := `@by_policy WHERE policy = ? AND connection = ?`, []any{sc.Policy, sc.Connection}
	if task {
		where, args = `@by_outcomes WHERE project_id = ? AND task_id = ?`, []any{sc.ProjectID, sc.TaskID}
	}
	// A device that was retried twice counts once, by how it ended last.
	query := `SELECT count(*) FILTER (WHERE state = 'recovered'),
			count(*) FILTER (WHERE state IN ('failed', 'rejected') AND class IN (@list))
		FROM (SELECT state, class, row_number() OVER (PARTITION BY task_id, device_id ORDER BY n DESC) AS last FROM (
			SELECT task_id, device_id, n, state, class FROM attempts
				` + where + ` AND settled_at > 0 AND settled_at > ? AND state IN ('recovered', 'failed', 'rejected') AND device_id <> '*'
			UNION ALL SELECT value ->> 'Task', value ->> 'Device', 1000000, value ->> 'State', value ->> 'Class' FROM @each
				WHERE value ->> 'State' IN ('recovered', 'failed')) AS outcomes) AS latest
		WHERE last = 1`
	args = append(append([]any{on}, args...), micros(since), string(rows))
	if err := q.QueryRowContext(ctx, query, args...).Scan(&o.Recovered, &o.Failed); err != nil {
		return o, fmt.Errorf("count outcomes: %w", err)
	}
	return o, nil
}

// WouldTrip tells whether Trip would halt the task, or the policy, if these outcomes were
// written.
func (s *Store) WouldTrip(ctx context.Context, sc Scope, h policy.Halt, supposed []policy.Settlement) (o policy.Outcomes, trips bool, err error) {
	if len(h.On) == 0 {
		return o, false, nil
	}
	if o, err = s.trips(ctx, s.read, sc, h, supposed); err != nil || !h.Trips(o) {
		return o, false, err
	}
	already, _, err := halted(ctx, s.read, sc, s.Now())
	return o, already == "" && err == nil, err
}

// Trip halts the task, or the policy, if its outcomes say so and it is not halted yet. It
// tells whether it did.
func (s *Store) Trip(ctx context.Context, sc Scope, h policy.Halt) (o policy.Outcomes, tripped bool, err error) {
	if o, trips, err := s.WouldTrip(ctx, sc, h, nil); err != nil || !trips {
		return o, false, err
	}
	err = s.txIn(ctx, sc.ProjectID, func(tx *tx) error {
		now := tx.now
		if o, err = s.trips(ctx, tx, sc, h, nil); err != nil || !h.Trips(o) {
			return err
		}
		if already, _, err := halted(ctx, tx, sc, now); err != nil || already != "" {
			return err
		}
		until, task := time.Time{}, sc.TaskID
		if h.Cooldown > 0 {
			until = now.Add(h.Cooldown)
		}
		if h.Scope == policy.HaltPolicy {
			task = ""
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO halts (scope, policy, connection, project_id, task_id, failed, recovered, at, until)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, h.Scope, sc.Policy, sc.Connection, sc.ProjectID, task, o.Failed, o.Recovered, micros(now), micros(until))
		if err == nil {
			err = tellHalted(ctx, tx, sc, task, o, until)
		}
		tripped = err == nil
		return err
	})
	return o, tripped && err == nil, err
}

func (s *Store) trips(ctx context.Context, q queryer, sc Scope, h policy.Halt, supposed []policy.Settlement) (policy.Outcomes, error) {
	now := s.Now()
	since, _, err := s.haltsSince(ctx, q, sc, now.Add(-h.Window), now)
	if err != nil {
		return policy.Outcomes{}, err
	}
	return outcomes(ctx, q, sc, h.On, h.Scope == policy.HaltTask, since, supposed)
}
