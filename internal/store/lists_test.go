package store_test

import (
	"cmp"
	"encoding/base64"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// fleet makes a ledger that has something for each filter of each list: tasks of one id in two
// projects, attempts of one moment, names that have changed, ends of every kind, and none.
func (p *place) fleet(t testing.TB, s *store.Store) {
	policies := []string{"configs", "upgrades"}
	for i, id := range []string{"p1/a1", "p1/a2", "p1/a3", "p2/a1", "p2/b1"} {
		in, id, _ := strings.Cut(id, "/")
		sc := store.Scope{ProjectID: in, TaskID: id, Policy: policies[i%2], Connection: []string{"prod", "test", "prod"}[i%3], Identity: "i"}
		for _, name := range []string{sc.Policy, "before"} {
			_, err := s.Baseline(t.Context(), name, sc.Connection)
			require.NoError(t, err)
		}
		shown := store.Task{ID: id, Name: fmt.Sprint("fw-", i%2), Type: []string{"firmwareUpgrade", "softwareUpgrade"}[i%2], Status: []string{"Fail", "Processing"}[i/3], Total: 10, CreatedAt: epoch}
		require.NoError(t, s.SeeTasks(t.Context(), in, []store.Task{shown}))
		require.NoError(t, s.CountTasks(t.Context(), in, []store.TaskCounts{{TaskID: id, Policy: sc.Policy, Connection: sc.Connection}}))
		p.fleetOf(t, s, sc)
		p.sleep(time.Minute)
		p.sweeps(t, s, sc.Policy, sc.Connection)
		require.NoError(t, s.Act(t.Context(), store.Action{Who: []string{"ann", "bob"}[i%2], What: "pause", Policy: sc.Policy, Connection: sc.Connection, ProjectID: in, TaskID: id, DeviceID: fmt.Sprint("d", i)}))
	}
	require.NoError(t, s.SeeTasks(t.Context(), "p1", []store.Task{{ID: "a0", Name: "fw-9", Type: "firmwareUpgrade", Status: "Success"}}))
	require.NoError(t, s.TaskGone(t.Context(), "p1", "a0"))
	require.NoError(t, s.SeeTasks(t.Context(), "p2", []store.Task{{ID: "b9", Name: "fw-9", Type: "firmwareUpgrade", Status: "Fail"}}))
	whole := claim("b9", 9, store.Candidate{DeviceID: policy.WholeTask})
	whole.ProjectID, whole.Covers = "p2", []string{"x", "y"}
	claimed, _, err := s.Claim(t.Context(), whole)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
}

// fleetOf makes devices of one task: d0 recovers, d1 is exhausted, d2 goes on after that, d3 fails,
// d4 is open, and d5 permanent without an attempt.
func (p *place) fleetOf(t testing.TB, s *store.Store, sc store.Scope) {
	try := func(name string, n int, states map[string]policy.State) {
		c := claim(sc.TaskID, 9)
		c.Scope = sc
		c.Policy = name
		for device := range states {
			c.Candidates = append(c.Candidates, store.Candidate{DeviceID: device, LastN: n, Max: 9})
		}
		claimed, dropped, err := s.Claim(t.Context(), c)
		require.NoError(t, err)
		require.Empty(t, dropped)
		var answers []store.Answer
		for _, c := range claimed {
			answers = append(answers, store.Answer{Claimed: c, State: states[c.DeviceID], AnsweredAt: p.now})
		}
		_, err = s.Answered(t.Context(), sc.ProjectID, sc.TaskID, answers)
		require.NoError(t, err)
	}
	id := sc.ProjectID + sc.TaskID // a device has one open attempt in its project
	first := map[string]policy.State{"d0": policy.Accepted, "d1": policy.Rejected, "d2": policy.Rejected, "d3": policy.Rejected, "d4" + id: policy.Accepted}
	try("before", 0, first)
	closings := store.Closings{ProjectID: sc.ProjectID, TaskID: sc.TaskID, TaskType: "firmwareUpgrade", Policy: sc.Policy, Connection: sc.Connection, Targets: []store.Closing{
		{DeviceID: "d1", Outcome: "exhausted", LastN: 1, Attempts: 1}, {DeviceID: "d2", Outcome: "exhausted", LastN: 1, Attempts: 1}, {DeviceID: "d5", Outcome: "permanent"},
	}}
	_, err := s.CloseTargets(t.Context(), closings)
	require.NoError(t, err)
	o := policy.Settlement{At: p.now}
	o.Target, o.N, o.State = policy.Target{ProjectID: sc.ProjectID, TaskID: sc.TaskID, DeviceID: "d0"}, 1, policy.Recovered
	_, err = s.Settle(t.Context(), []policy.Settlement{o})
	require.NoError(t, err)
	p.sleep(time.Second)
	try(sc.Policy, 1, map[string]policy.State{"d2": policy.Rejected})
	try(sc.Policy, 1, map[string]policy.State{"d3": policy.Rejected})
}

// sweeps makes one sweep with each result, and one that goes on.
func (p *place) sweeps(t testing.TB, s *store.Store, name, connection string) {
	for _, result := range []string{"complete", "partial", "failed", "skipped", "running"} {
		p.sleep(time.Minute)
		tick := store.Tick{Policy: name, Connection: connection, Tick: p.now, Started: p.now, Finished: p.now, Result: result}
		if result == "skipped" {
			require.NoError(t, s.SkipTick(t.Context(), tick))
			continue
		}
		_, err := s.StartTick(t.Context(), tick)
		require.NoError(t, err)
		if result != "running" {
			require.NoError(t, s.FinishTick(t.Context(), tick))
		}
	}
}

// all reads a list page by page, and does something between two of them.
func all[R any](t require.TestingT, limit int, list func(store.Page) ([]R, string, error), between func()) (rows []R) {
	p := store.Page{Limit: limit}
	for {
		found, next, err := list(p)
		require.NoError(t, err)
		rows = append(rows, found...)
		if p.After = next; next == "" {
			return rows
		}
		require.Len(t, found, limit, "a page is full unless it is the last")
		require.Less(t, len(rows), 1000, "it comes to an end")
		between()
	}
}

// listing is a list without a filter, as keys in their order.
type listing struct {
	table string
	keys  func(t require.TestingT, limit int, between func()) []string
	page  func(store.Page) (string, error) // gives next
}

func attemptKey(a store.AttemptRow) string {
	return fmt.Sprintf("%d %s/%s/%s#%d", a.ClaimedAt.UnixMicro(), a.ProjectID, a.TaskID, a.DeviceID, a.N)
}

func targetKey(r store.TargetRow) string {
	return fmt.Sprintf("%s/%s/%s", r.ProjectID, r.TaskID, r.DeviceID)
}

func taskKey(r store.TaskRow) string { return r.ProjectID + "/" + r.ID }

func sweepKey(r store.Tick) string {
	return fmt.Sprintf("%d %s/%s@%d", r.Started.UnixMicro(), r.Policy, r.Connection, r.Tick.UnixMicro())
}

func actionKey(r store.ActionRow) string { return fmt.Sprintf("%09d", r.ID) }

func listOf[R any](table string, list func(store.Page) ([]R, string, error), key func(R) string) listing {
	return listing{table, func(t require.TestingT, limit int, between func()) (keys []string) {
		for _, row := range all(t, limit, list, between) {
			keys = append(keys, key(row))
		}
		return keys
	}, func(p store.Page) (string, error) {
		_, next, err := list(p)
		return next, err
	}}
}

func listings(t testing.TB, s *store.Store) []listing {
	ctx := t.Context()
	return []listing{
		listOf("attempts", func(p store.Page) ([]store.AttemptRow, string, error) {
			return s.ListAttempts(ctx, store.AttemptFilter{}, p)
		}, attemptKey),
		listOf("targets", func(p store.Page) ([]store.TargetRow, string, error) {
			return s.ListTargets(ctx, store.TargetFilter{}, p)
		}, targetKey),
		listOf("tasks", func(p store.Page) ([]store.TaskRow, string, error) {
			return s.ListTasks(ctx, store.TaskFilter{Gone: true}, p)
		}, taskKey),
		listOf("ticks", func(p store.Page) ([]store.Tick, string, error) { return s.ListSweeps(ctx, store.SweepFilter{}, p) }, sweepKey),
		listOf("actions", func(p store.Page) ([]store.ActionRow, string, error) {
			return s.ListActions(ctx, store.ActionFilter{}, p)
		}, actionKey),
	}
}

func TestAListHasEachRowOnceAndInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		p.fleet(t, s)
		for _, l := range listings(t, s) {
			var n int
			require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM `+l.table).Scan(&n))
			require.Greater(t, n, 4, l.table)
			whole := l.keys(t, 1000, func() {})
			require.Len(t, whole, n, l.table)
			sorted := slices.SortedFunc(slices.Values(whole), func(a, b string) int {
				if l.table == "targets" {
					return cmp.Compare(a, b)
				}
				return cmp.Compare(b, a) // the newest first
			})
			require.Equal(t, sorted, whole, l.table)
			for _, limit := range []int{1, 2, 3, 7, n - 1, n} {
				require.Equal(t, whole, l.keys(t, limit, func() {}), "%s, %d a page", l.table, limit)
			}
		}
	})
}

func TestWhatIsWrittenBetweenTwoPagesMakesNoRowComeTwiceOrNotAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		p.fleet(t, s)
		more, ever := 0, 0
		write := func() {
			more++
			ever++
			p.sleep(time.Second)
			for _, id := range []string{"a0-", "a2-", "c-"} { // before, among and after those that there are
				id += fmt.Sprint(ever)
				require.NoError(t, s.SeeTasks(t.Context(), "p1", []store.Task{{ID: id}}))
				c := claim(id, 9, store.Candidate{DeviceID: id})
				c.ProjectID = "p1"
				require.Nil(t, refusal(t, s, c))
			}
			if more < 5 {
				p.sweeps(t, s, "upgrades", "prod")
			}
			require.NoError(t, s.Act(t.Context(), store.Action{Who: "ann"}))
		}
		for _, l := range listings(t, s) {
			more = 0
			before := l.keys(t, 1000, func() {})
			during := l.keys(t, 3, func() {
				if more < 8 {
					write()
				}
			})
			require.Positive(t, more)
			seen := map[string]int{}
			for _, key := range during {
				seen[key]++
				require.Equal(t, 1, seen[key], "%s: %s", l.table, key)
			}
			for _, key := range before {
				require.Equal(t, 1, seen[key], "%s: %s", l.table, key)
			}
		}
	})
}

func TestACursorIsOneThatTheListHasGiven(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		p.fleet(t, s)
		text := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
		given := map[string]string{}
		for _, l := range listings(t, s) {
			next, err := l.page(store.Page{Limit: -1})
			require.NoError(t, err)
			require.NotEmpty(t, next, "at least one row is given")
			given[l.table] = next
		}
		for _, l := range listings(t, s) {
			bad := []string{"x", "!", given[l.table] + "x", given[l.table][:len(given[l.table])-4], text("null"), text("{}"), text("[]"), text(`["` + l.table + `"]`)}
			plain, err := base64.RawURLEncoding.DecodeString(given[l.table])
			require.NoError(t, err)
			name, rest, _ := strings.Cut(string(plain), ",")
			first, rest, _ := strings.Cut(rest, ",")
			bad = append(bad, text(name+",null,"+rest), text(name+",{},"+rest), text(string(plain)+"x"), text(name+","+first+",1,2,3,4,5,6"))
			for table, cursor := range given {
				if table != l.table {
					bad = append(bad, cursor)
				}
			}
			for _, after := range bad {
				_, err := l.page(store.Page{After: after, Limit: 5})
				require.ErrorIs(t, err, store.ErrCursor, "%s: %s", l.table, after)
			}
		}
	})
}

// chosen makes a filter of some of the fields of one row, and tells of each row whether it is
// selected by them.
type chosen[R any] struct {
	rt     *rapid.T
	row    R
	checks []func(R) bool
}

func choose[R any](rt *rapid.T, rows []R) *chosen[R] {
	return &chosen[R]{rt: rt, row: rapid.SampledFrom(rows).Draw(rt, "row")}
}

// by gives the value of a field, or nothing.
func (c *chosen[R]) by(name string, field func(R) string) string {
	want := field(c.row)
	if want == "" || !rapid.Bool().Draw(c.rt, "by "+name) {
		return ""
	}
	c.checks = append(c.checks, func(r R) bool { return field(r) == want })
	return want
}

// between gives a time before, at or after that of the row, or none.
func (c *chosen[R]) between(field func(R) time.Time) (since, until time.Time) {
	around := func(name string) time.Time {
		return field(c.row).Add(rapid.SampledFrom([]time.Duration{-time.Minute, 0, time.Microsecond, time.Hour}).Draw(c.rt, name))
	}
	if rapid.Bool().Draw(c.rt, "since some time") {
		since = around("since")
		c.checks = append(c.checks, func(r R) bool { return !field(r).Before(since) })
	}
	if rapid.Bool().Draw(c.rt, "until some time") {
		until = around("until")
		c.checks = append(c.checks, func(r R) bool { return field(r).Before(until) })
	}
	return since, until
}

// hold holds the list to what the filter selects of all rows.
func (c *chosen[R]) hold(rows []R, list func(store.Page) ([]R, string, error)) {
	var want []R
	for _, row := range rows {
		if !slices.ContainsFunc(c.checks, func(check func(R) bool) bool { return !check(row) }) {
			want = append(want, row)
		}
	}
	got := all(c.rt, rapid.SampledFrom([]int{1, 2, 3, 5, 100}).Draw(c.rt, "limit"), list, func() {})
	require.Equal(c.rt, want, got)
}

func TestAFilterSelectsWhatItSays(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		if checks := flag.Lookup("rapid.checks"); p.o.URL != "" { // a statement takes longer there
			before := checks.Value.String()
			require.NoError(t, checks.Value.Set("50"))
			defer func() { require.NoError(t, checks.Value.Set(before)) }()
		}
		s := p.open(t)
		p.fleet(t, s)
		ctx, none := t.Context(), func() {}
		tasks := all(t, 1000, func(p store.Page) ([]store.TaskRow, string, error) {
			return s.ListTasks(ctx, store.TaskFilter{Gone: true}, p)
		}, none)
		targets := all(t, 1000, func(p store.Page) ([]store.TargetRow, string, error) {
			return s.ListTargets(ctx, store.TargetFilter{}, p)
		}, none)
		attempts := all(t, 1000, func(p store.Page) ([]store.AttemptRow, string, error) {
			return s.ListAttempts(ctx, store.AttemptFilter{}, p)
		}, none)
		sweeps := all(t, 1000, func(p store.Page) ([]store.Tick, string, error) {
			return s.ListSweeps(ctx, store.SweepFilter{}, p)
		}, none)
		actions := all(t, 1000, func(p store.Page) ([]store.ActionRow, string, error) {
			return s.ListActions(ctx, store.ActionFilter{}, p)
		}, none)
		owner := map[policy.Target]store.TaskRow{}
		for _, row := range tasks {
			owner[policy.Target{ProjectID: row.ProjectID, TaskID: row.ID}] = row
		}
		of := func(r store.TargetRow) store.TaskRow {
			return owner[policy.Target{ProjectID: r.ProjectID, TaskID: r.TaskID}]
		}
		latest := map[string]time.Time{} // a sweep that began before another has not ended, and does not go on
		for _, row := range sweeps {
			if pair := row.Policy + row.Connection; row.Tick.After(latest[pair]) {
				latest[pair] = row.Tick
			}
		}
		rapid.Check(t, func(rt *rapid.T) {
			switch rapid.SampledFrom([]string{"tasks", "targets", "attempts", "sweeps", "actions"}).Draw(rt, "list") {
			case "tasks":
				c := choose(rt, tasks)
				f := store.TaskFilter{
					ProjectID: c.by("project", func(r store.TaskRow) string { return r.ProjectID }), TaskID: c.by("task", func(r store.TaskRow) string { return r.ID }),
					Name: c.by("name", func(r store.TaskRow) string { return r.Name }), Policy: c.by("policy", func(r store.TaskRow) string { return r.Policy }),
					Connection: c.by("connection", func(r store.TaskRow) string { return r.Connection }), Type: c.by("type", func(r store.TaskRow) string { return r.Type }),
					Status: c.by("status", func(r store.TaskRow) string { return r.Status }), Gone: rapid.Bool().Draw(rt, "gone"),
				}
				c.checks = append(c.checks, func(r store.TaskRow) bool { return f.Gone || r.GoneAt.IsZero() })
				c.hold(tasks, func(p store.Page) ([]store.TaskRow, string, error) { return s.ListTasks(ctx, f, p) })
			case "targets":
				c := choose(rt, targets)
				f := store.TargetFilter{
					ProjectID: c.by("project", func(r store.TargetRow) string { return r.ProjectID }), TaskID: c.by("task", func(r store.TargetRow) string { return r.TaskID }),
					DeviceID: c.by("device", func(r store.TargetRow) string { return r.DeviceID }), Policy: c.by("policy", func(r store.TargetRow) string { return of(r).Policy }),
					Connection: c.by("connection", func(r store.TargetRow) string { return of(r).Connection }),
					Is: c.by("what it is", func(r store.TargetRow) string {
						open := slices.ContainsFunc(attempts, func(a store.AttemptRow) bool { return a.Target == r.Target && a.State.Open() })
						switch {
						case open:
							return "open"
						case r.Ended != "":
							return r.Ended
						}
						return "waiting"
					}),
				}
				c.hold(targets, func(p store.Page) ([]store.TargetRow, string, error) { return s.ListTargets(ctx, f, p) })
			case "attempts":
				c := choose(rt, attempts)
				f := store.AttemptFilter{
					ProjectID: c.by("project", func(r store.AttemptRow) string { return r.ProjectID }), TaskID: c.by("task", func(r store.AttemptRow) string { return r.TaskID }),
					DeviceID: c.by("device", func(r store.AttemptRow) string { return r.DeviceID }), Policy: c.by("policy", func(r store.AttemptRow) string { return r.Policy }),
					Connection: c.by("connection", func(r store.AttemptRow) string { return r.Connection }), State: c.by("state", func(r store.AttemptRow) string { return string(r.State) }),
				}
				f.Since, f.Until = c.between(func(r store.AttemptRow) time.Time { return r.ClaimedAt })
				c.hold(attempts, func(p store.Page) ([]store.AttemptRow, string, error) { return s.ListAttempts(ctx, f, p) })
			case "sweeps":
				c := choose(rt, sweeps)
				f := store.SweepFilter{
					Policy: c.by("policy", func(r store.Tick) string { return r.Policy }), Connection: c.by("connection", func(r store.Tick) string { return r.Connection }),
					Result: c.by("result", func(r store.Tick) string {
						if r.Result == "" && r.Tick.Equal(latest[r.Policy+r.Connection]) {
							return "running"
						}
						return r.Result
					}),
				}
				f.Since, f.Until = c.between(func(r store.Tick) time.Time { return r.Started })
				c.hold(sweeps, func(p store.Page) ([]store.Tick, string, error) { return s.ListSweeps(ctx, f, p) })
			case "actions":
				c := choose(rt, actions)
				f := store.ActionFilter{
					Policy: c.by("policy", func(r store.ActionRow) string { return r.Policy }), Connection: c.by("connection", func(r store.ActionRow) string { return r.Connection }),
					ProjectID: c.by("project", func(r store.ActionRow) string { return r.ProjectID }), TaskID: c.by("task", func(r store.ActionRow) string { return r.TaskID }),
					DeviceID: c.by("device", func(r store.ActionRow) string { return r.DeviceID }), Who: c.by("who", func(r store.ActionRow) string { return r.Who }),
					What: c.by("what", func(r store.ActionRow) string { return r.What }),
				}
				f.Since, f.Until = c.between(func(r store.ActionRow) time.Time { return r.At })
				c.hold(actions, func(p store.Page) ([]store.ActionRow, string, error) { return s.ListActions(ctx, f, p) })
			}
		})
	})
}
