package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// SweepFilter selects sweeps; an empty field selects every one.
type SweepFilter struct {
	Policy, Connection, Result string    // Result can also be "running"
	Since, Until               time.Time // of the start
}

// ListSweeps lists sweeps, the newest first.
func (s *Store) ListSweeps(ctx context.Context, f SweepFilter, p Page) (rows []Tick, next string, err error) {
	var started, tick int64
	var key Tick
	some, err := p.key("sweeps", &started, &key.Policy, &key.Connection, &tick)
	if err != nil {
		return nil, "", err
	}
	after := &key
	if key.Started, key.Tick = fromMicros(started), fromMicros(tick); !some {
		after = nil
	}
	parts := []SweepFilter{f}
	if f.Policy != "" || f.Connection != "" {
		pairs, err := s.pairs(ctx, f.Policy, f.Connection)
		if err != nil {
			return nil, "", fmt.Errorf("list the sweeps: %w", err)
		}
		parts = nil
		for _, pair := range pairs {
			f.Policy, f.Connection = pair.policy, pair.connection
			parts = append(parts, f)
		}
	}
	rows, err = newest(parts, p.more(), newerSweep, func(part SweepFilter, oldest *Tick, limit int) ([]Tick, error) {
		if oldest != nil && oldest.Started.After(part.Since) {
			part.Since = oldest.Started
		}
		return s.sweeps(ctx, part, after, limit)
	})
	if err != nil {
		return nil, "", fmt.Errorf("list the sweeps: %w", err)
	}
	rows, next = cut(rows, p, func(t Tick) string {
		return cursorOf("sweeps", micros(t.Started), t.Policy, t.Connection, micros(t.Tick))
	})
	return rows, next, nil
}

func newerSweep(a, b Tick) int {
	return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.Policy, a.Policy), cmp.Compare(b.Connection, a.Connection), b.Tick.Compare(a.Tick))
}

// sweeps reads sweeps in one go.
func (s *Store) sweeps(ctx context.Context, f SweepFilter, after *Tick, limit int) (rows []Tick, err error) {
	var q filter
	q.is("ticks.policy", f.Policy)
	q.is("ticks.connection", f.Connection)
	from := "ticks"
	if f.Result == "running" {
		from = "policies p CROSS JOIN ticks"
		q.add("ticks.policy = p.policy AND ticks.connection = p.connection AND tick = " + lastTick("TRUE") + " AND finished_at < started_at")
	} else {
		q.is("result", f.Result)
	}
	if !f.Since.IsZero() {
		q.add("started_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		q.add("started_at < ?", micros(f.Until))
	}
	if after != nil {
		q.beyond("<", part{"started_at", micros(after.Started)}, part{"ticks.policy", after.Policy}, part{"ticks.connection", after.Connection}, part{"tick", micros(after.Tick)})
	}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		t, err := scanTick(r)
		rows = append(rows, t)
		return err
	}, `SELECT `+tickColumns+` FROM `+from+q.where()+` ORDER BY started_at DESC, ticks.policy DESC, ticks.connection DESC, tick DESC LIMIT ?`, append(q.args, limit)...)
	return rows, err
}

// lastTick gives the last sweep of a policy p for which a condition holds.
func lastTick(condition string) string {
	return `(SELECT max(l.tick) FROM ticks l WHERE l.policy = p.policy AND l.connection = p.connection AND ` + condition + `)`
}

const tickColumns = `ticks.policy, ticks.connection, ticks.tick, started_at, finished_at, result, why, missed, counts, states, limits, sent, problems`

func scanTick(r *sql.Rows) (t Tick, err error) {
	var tick, started, finished int64
	var counts, states, limits, sent, problems string
	err = r.Scan(&t.Policy, &t.Connection, &tick, &started, &finished, &t.Result, &t.Why, &t.Missed, &counts, &states, &limits, &sent, &problems)
	t.Tick, t.Started, t.Finished = fromMicros(tick), fromMicros(started), fromMicros(finished)
	return t, errors.Join(err, fromJSON(counts, &t.Counts), fromJSON(states, &t.States), fromJSON(limits, &t.Limits), fromJSON(sent, &t.Sent), fromJSON(problems, &t.Problems))
}

// PolicyRow is what the ledger knows of a policy on a connection.
type PolicyRow struct {
	Policy, Connection string
	FirstSeen          time.Time
	Last               *Tick // finished last; nil = none yet
	LastComplete       *Tick // nil = none yet
	Running            *Tick // begun last, and not ended; nil = it has
}

// PolicyRows gives what is known of each policy on each connection, by their names.
func (s *Store) PolicyRows(ctx context.Context) (rows []PolicyRow, err error) {
	at := map[pair]int{}
	err = each(ctx, s.read, func(r *sql.Rows) error {
		var p PolicyRow
		var first int64
		err := r.Scan(&p.Policy, &p.Connection, &first)
		p.FirstSeen = fromMicros(first)
		at[pair{p.Policy, p.Connection}] = len(rows)
		rows = append(rows, p)
		return err
	}, `SELECT policy, connection, first_seen FROM policies ORDER BY policy, connection`)
	for _, kind := range []struct {
		which string // of its sweeps
		put   func(*PolicyRow, *Tick)
	}{
		{"tick = " + lastTick("finished_at > 0"), func(p *PolicyRow, t *Tick) { p.Last = t }},
		{"tick = " + lastTick("result = 'complete'"), func(p *PolicyRow, t *Tick) { p.LastComplete = t }},
		{"tick = " + lastTick("TRUE") + " AND finished_at < started_at", func(p *PolicyRow, t *Tick) { p.Running = t }},
	} {
		if err != nil {
			break
		}
		err = each(ctx, s.read, func(r *sql.Rows) error {
			t, err := scanTick(r)
			if i, ok := at[pair{t.Policy, t.Connection}]; ok { // else it has come in between
				kind.put(&rows[i], &t)
			}
			return err
		}, `SELECT `+tickColumns+` FROM policies p CROSS JOIN ticks WHERE ticks.policy = p.policy AND ticks.connection = p.connection AND `+kind.which)
	}
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	return rows, nil
}
