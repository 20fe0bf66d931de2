package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// hot adds a task with many targets that were retried three times each, long ago, and gives its scope.
func (p *place) hot(t testing.TB, targets int) store.Scope {
	db := p.raw(t)
	sc := store.Scope{ProjectID: "hot", TaskID: "big", Policy: "upgrades", Connection: "prod", Identity: "host  hot", PolicyHash: "h1", NeedsApproval: true}
	long := epoch.Add(-60 * 24 * time.Hour).UnixMicro()
	statements := []string{
		`INSERT INTO policies (policy, connection, first_seen) VALUES ('upgrades', 'prod', 1)`,
		`INSERT INTO tasks (project_id, task_id, name, type, status, total, success, fail, created_at, first_seen, last_seen, policy, connection)
			VALUES ('hot', 'big', 'big', 'firmwareUpgrade', 'Fail', 9, 0, 9, 1, 1, 1, 'upgrades', 'prod')`,
		`INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted, state, closed_outcome, closed_n, closed_at)
			SELECT 'hot', 'big', 'old-' || i, 'firmwareUpgrade', 'upgrades', 'prod', 3, 3, 'recovered', 'recovered', 3, 1 FROM ` + p.numbers(targets),
		`INSERT INTO ends (project_id, task_id, outcome, count) VALUES ('hot', 'big', 'recovered', ` + fmt.Sprint(targets) + `)`,
	}
	for n := 1; n <= 3; n++ {
		statements = append(statements, fmt.Sprintf(`INSERT INTO attempts
			(project_id, task_id, device_id, n, state, task_type, policy, connection, tick, claimed_at, answered_at, settled_at, send_by, settle, stale_after, wait_retry_fails)
			SELECT 'hot', 'big', 'old-' || i, %d, '%s', 'firmwareUpgrade', 'upgrades', 'prod', 1, %d, %d, %d, 1, 1, 1, FALSE FROM %s`,
			n, map[bool]string{false: "failed", true: "gone"}[n == 3], long, long, long, p.numbers(targets)))
	}
	if p.o.URL != "" {
		statements = append(statements, `ANALYZE`)
	}
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	return sc
}

// step is one thing that is done in each sweep.
type step struct {
	name string
	do   func(context.Context) error
}

// sweepOnce is what the ledger does for a sweep of some targets, in that order.
func sweepOnce(p *place, s *store.Store, sc store.Scope, devices []string) []step {
	var claimed []store.Claimed
	var open []policy.Attempt
	limits := policy.Policy{
		Limits: policy.Limits{TargetsPerSweep: 1000, InFlight: 1000, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 50, Factor: 2}},
		Halt:   policy.Halt{On: []policy.CauseClass{"firmware"}, FailureRatio: 0.3, MinOutcomes: 20, Window: 48 * time.Hour, Scope: policy.HaltTask},
	}
	whole := limits
	whole.Limits.InFlightFor, whole.Halt.Scope = 0, policy.HaltPolicy
	candidates := make([]store.Candidate, len(devices))
	for i, device := range devices {
		candidates[i] = store.Candidate{DeviceID: device, Max: 5}
	}
	only := func(_ any, err error) error { return err }
	answered := func(devices []store.Claimed, state policy.State) error {
		var answers []store.Answer
		for _, c := range devices {
			answers = append(answers, store.Answer{Claimed: c, State: state, AnsweredAt: p.now, Cause: policy.Cause{Name: "x", Class: "firmware"}})
		}
		return only(s.Answered(context.Background(), sc.ProjectID, sc.TaskID, answers))
	}
	third := len(devices) / 3
	return []step{
		{"known tasks", func(ctx context.Context) error { return only(s.KnownTasks(ctx, sc.ProjectID)) }},
		{"abandon", func(ctx context.Context) error { return only(s.Abandon(ctx)) }},
		{"records", func(ctx context.Context) error { return only(s.Records(ctx, sc.ProjectID, sc.TaskID, devices)) }},
		{"usage", func(ctx context.Context) error { return only(s.Usage(ctx, sc, &limits, p.now)) }},
		{"usage however long in flight", func(ctx context.Context) error { return only(s.Usage(ctx, sc, &whole, p.now)) }},
		{"gates", func(ctx context.Context) error { return only(s.Gates(ctx, sc)) }},
		{"claim", func(ctx context.Context) (err error) {
			claimed, _, err = s.Claim(ctx, store.Claim{Scope: sc, TaskType: "firmwareUpgrade", Tick: p.now, Terms: terms, SendBy: p.now, Candidates: candidates})
			if err == nil && len(claimed) != len(devices) {
				err = fmt.Errorf("%d are claimed", len(claimed))
			}
			return err
		}},
		{"answered: accepted", func(context.Context) error { return answered(claimed[2*third:], policy.Accepted) }},
		{"answered: rejected", func(context.Context) error { return answered(claimed[:third], policy.Rejected) }},
		{"answered: released", func(context.Context) error { return answered(claimed[third:2*third], policy.Released) }},
		{"open tasks", func(ctx context.Context) error { return only(s.OpenTasks(ctx, sc.ProjectID)) }},
		{"open attempts", func(ctx context.Context) (err error) {
			open, err = s.OpenAttempts(ctx, sc.ProjectID, sc.TaskID)
			return err
		}},
		{"oldest open", func(ctx context.Context) error { return only(s.OldestOpen(ctx)) }},
		{"settle", func(ctx context.Context) error {
			var settlements []policy.Settlement
			for i, a := range open {
				o := policy.Settlement{Attempt: a, At: p.now}
				o.State = []policy.State{policy.Failed, policy.Recovered, policy.Accepted}[i%3]
				settlements = append(settlements, o)
			}
			return only(s.Settle(ctx, settlements))
		}},
		{"halt of a task", func(ctx context.Context) error { _, _, err := s.WouldTrip(ctx, sc, limits.Halt, nil); return err }},
		{"halt of a policy", func(ctx context.Context) error { _, _, err := s.WouldTrip(ctx, sc, whole.Halt, nil); return err }},
		{"close targets", func(ctx context.Context) error {
			c := store.Closings{ProjectID: sc.ProjectID, TaskID: sc.TaskID, Policy: sc.Policy, Connection: sc.Connection}
			for _, one := range claimed[:third] {
				c.Targets = append(c.Targets, store.Closing{DeviceID: one.DeviceID, Outcome: "exhausted", LastN: 1, Attempts: 1})
			}
			closed, err := s.CloseTargets(ctx, c)
			if err == nil && len(closed) != third {
				err = fmt.Errorf("%d are closed", len(closed))
			}
			return err
		}},
		{"unresolved", func(ctx context.Context) error { return only(s.Unresolved(ctx, sc.ProjectID, sc.TaskID, "", 100)) }},
		{"list tasks", func(ctx context.Context) error {
			_, _, err := s.ListTasks(ctx, store.TaskFilter{}, store.Page{Limit: 50})
			return err
		}},
		{"forget", func(ctx context.Context) error { return only(s.Forget(ctx, 365*24*time.Hour)) }},
	}
}

// explaining is a driver that has each statement explained, on PostgreSQL before it is run.
type explaining struct {
	recorder
	plans *[]string
}

func (e explaining) Connect(context.Context) (driver.Conn, error) {
	conn, err := e.of.Open(e.name)
	return explained{recorded{conn, e.seen}, e.plans}, err
}

type explained struct {
	recorded
	plans *[]string
}

var explainable = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE)`)

func (e explained) explain(ctx context.Context, query string, args []driver.NamedValue) error {
	if e.plans == nil || !explainable.MatchString(query) {
		return nil
	}
	run := func(statement string) error {
		_, err := e.Conn.(driver.ExecerContext).ExecContext(ctx, statement, nil)
		return err
	}
	if err := run(`SAVEPOINT explained`); err != nil {
		return err
	}
	rows, err := e.Conn.(driver.QueryerContext).QueryContext(ctx, `EXPLAIN (ANALYZE, FORMAT JSON) `+query, args)
	if err != nil {
		return fmt.Errorf("%w: %s", err, query)
	}
	value := make([]driver.Value, 1)
	err = rows.Next(value)
	if e := rows.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	*e.plans = append(*e.plans, fmt.Sprintf("%s\n%s", query, value[0]))
	return run(`ROLLBACK TO SAVEPOINT explained`)
}

func (e explained) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := e.explain(ctx, query, args); err != nil {
		return nil, err
	}
	return e.recorded.QueryContext(ctx, query, args)
}

func (e explained) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if explainable.MatchString(query) && e.plans == nil {
		*e.seen = append(*e.seen, statement{text: query})
	}
	if err := e.explain(ctx, query, args); err != nil {
		return nil, err
	}
	return e.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// recordWrites has the statements noted by which a ledger is written, and on PostgreSQL how each is run.
func (p *place) recordWrites(t testing.TB, s *store.Store) (seen *[]statement, plans *[]string) {
	e := explaining{recorder{of: p.raw(t).Driver(), name: p.o.Path + "?_txlock=immediate&_pragma=busy_timeout(10000)", seen: &[]statement{}}, nil}
	if p.o.URL != "" {
		e.name, e.plans = p.o.URL, &[]string{}
	}
	require.NoError(t, store.WriteTo(s, sql.OpenDB(e)))
	return e.seen, e.plans
}

// by is what SQLite says of how it finds rows of the tables that grow.
var by = regexp.MustCompile(`(?m)^(?:SEARCH|SCAN) (targets|attempts|ticks|t|a|b)\b.*$`)

// TestWhatEachSweepDoesIsNoSlowerWithALargeLedger looks at how each statement of a sweep finds its rows.
func TestWhatEachSweepDoesIsNoSlowerWithALargeLedger(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		targets, batch := 20_000, 60
		if p.o.URL == "" { // it plans without looking at the rows
			targets, batch = 2000, 6
		}
		p.large(t, targets)
		sc := p.hot(t, targets/4)
		approveNow(t, s, store.Action{Who: "ann"}, store.Approval{ProjectID: sc.ProjectID, TaskID: sc.TaskID, Policy: sc.Policy, PolicyHash: sc.PolicyHash, Targets: 1000, Until: p.now.Add(time.Hour)})
		seen := p.record(t, s)
		written, plans := p.recordWrites(t, s)
		db := p.raw(t)
		for _, step := range sweepOnce(p, s, sc, deviceIDs(batch)) {
			*seen, *written = nil, nil
			if plans != nil {
				*plans = nil
			}
			require.NoError(t, step.do(t.Context()), step.name)
			if p.o.URL != "" {
				for _, one := range *seen {
					if step.name == "oldest open" { // all that are open
						continue
					}
					rows, _ := ran(t, db, one)
					assert.LessOrEqual(t, rows, 5*batch, "%s: %s", step.name, one.text)
				}
				for _, plan := range *plans {
					assert.LessOrEqual(t, mostOf(t, plan[strings.Index(plan, "\n[")+1:]), 5*batch, "%s: %s", step.name, plan[:strings.Index(plan, "\n[")])
				}
				continue
			}
			var found []string
			for _, one := range append(*seen, *written...) {
				for len(one.args) < strings.Count(one.text, "?") {
					one.args = append(one.args, "[]")
				}
				found = append(found, by.FindAllString(steps(t, db, one), -1)...)
			}
			slices.Sort(found)
			require.Equal(t, sweptBy[step.name], slices.Compact(found), step.name)
		}
	})
}

// sweptBy is how SQLite finds the rows for each: by a key or an index, and never by one of which only the
// project or the task is given, unless that has open attempts alone.
var sweptBy = map[string][]string{
	"known tasks": {
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=?)",
	},
	"abandon": {
		"SCAN attempts USING INDEX attempts_claimed",
	},
	"records": {
		"SEARCH attempts USING INDEX attempts_open_device (project_id=? AND device_id=?)",
		"SEARCH attempts USING INDEX attempts_open_whole (project_id=?)",
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"usage": {
		"SEARCH attempts USING INDEX attempts_made (policy=? AND connection=? AND claimed_at>?)",
		"SEARCH attempts USING INDEX attempts_open_task (project_id=? AND task_id=?)",
		"SEARCH attempts USING INDEX attempts_outcomes (project_id=? AND task_id=? AND settled_at>?)",
		"SEARCH attempts USING INDEX attempts_task (project_id=? AND task_id=? AND claimed_at>?)",
	},
	"gates": {
		"SEARCH attempts USING INDEX attempts_task (project_id=? AND task_id=? AND claimed_at>?)",
	},
	"claim": {
		"SEARCH attempts USING INDEX attempts_open_device (project_id=? AND device_id=?)",
		"SEARCH attempts USING INDEX attempts_open_whole (project_id=?)",
		"SEARCH attempts USING INDEX attempts_task (project_id=? AND task_id=? AND claimed_at>?)",
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"answered: accepted": {
		"SEARCH attempts USING INDEX sqlite_autoindex_attempts_1 (project_id=? AND task_id=? AND device_id=? AND n=?)",
		"SEARCH targets USING COVERING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"answered: released": {
		"SEARCH attempts USING INDEX sqlite_autoindex_attempts_1 (project_id=? AND task_id=? AND device_id=? AND n=?)",
		"SEARCH targets USING COVERING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"open tasks": {
		"SEARCH attempts USING INDEX attempts_open_task (project_id=?)",
	},
	"open attempts": {
		"SEARCH attempts USING INDEX attempts_open_task (project_id=? AND task_id=?)",
	},
	"oldest open": {
		"SCAN attempts USING INDEX attempts_open_task",
	},
	"settle": {
		"SEARCH attempts USING INDEX attempts_moved (project_id=? AND task_id=?)",
		"SEARCH attempts USING INDEX sqlite_autoindex_attempts_1 (project_id=? AND task_id=? AND device_id=? AND n=?)",
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"halt of a task": {
		"SEARCH attempts USING INDEX attempts_outcomes (project_id=? AND task_id=? AND settled_at>?)",
	},
	"halt of a policy": {
		"SEARCH attempts USING INDEX attempts_policy (policy=? AND connection=? AND settled_at>?)",
	},
	"close targets": {
		"SEARCH attempts USING INDEX attempts_open_device (project_id=? AND device_id=?)",
		"SEARCH attempts USING INDEX attempts_open_whole (project_id=?)",
		"SEARCH targets USING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
	"unresolved": {
		"SEARCH a USING COVERING INDEX attempts_open_task (project_id=? AND task_id=? AND device_id=?)",
		"SEARCH t USING INDEX targets_ended (ended=? AND project_id=? AND task_id=? AND device_id>?)",
	},
	"list tasks": {
		"SEARCH attempts USING COVERING INDEX attempts_open_task (project_id=? AND task_id=?)",
	},
	"forget": {
		"SEARCH attempts USING COVERING INDEX attempts_settled (settled_at>? AND settled_at<?)",
		"SEARCH ticks USING COVERING INDEX sqlite_autoindex_ticks_1 ((policy,connection)>(?,?))",
		"SEARCH ticks USING COVERING INDEX ticks_policy (policy=? AND connection=? AND started_at<?)",
		"SEARCH ticks USING INDEX ticks_policy (policy=? AND connection=?)",
	},
	"usage however long in flight": {
		"SEARCH attempts USING INDEX attempts_made (policy=? AND connection=? AND claimed_at>?)",
		"SEARCH attempts USING INDEX attempts_open_task (project_id=? AND task_id=?)",
		"SEARCH attempts USING INDEX attempts_open_task (project_id=?)",
		"SEARCH attempts USING INDEX attempts_outcomes (project_id=? AND task_id=? AND settled_at>?)",
		"SEARCH attempts USING INDEX attempts_task (project_id=? AND task_id=? AND claimed_at>?)",
	},
	"answered: rejected": {
		"SEARCH attempts USING INDEX sqlite_autoindex_attempts_1 (project_id=? AND task_id=? AND device_id=? AND n=?)",
		"SEARCH targets USING COVERING INDEX sqlite_autoindex_targets_1 (project_id=? AND task_id=? AND device_id=?)",
	},
}
