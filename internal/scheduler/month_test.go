package scheduler_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// cause is a reason for which devices of the fleet fail, and what becomes of them.
type cause struct {
	name, message, output string
	max                   int
	fate                  func(n int) emulator.Fate
}

func causesOfTheFleet(now time.Time) []cause {
	return []cause{
		{"offline until a day", "Waiting for the device online timeout", "", 10, func(n int) emulator.Fate {
			return emulator.Fate{RecoverAt: 1, Online: now.Add(time.Duration(n%2*24+n%16) * time.Hour)}
		}},
		{"no space", "Not enough storage for the package", "", 0, func(int) emulator.Fate { return emulator.Fate{} }},
		{"low battery", "Upgrade failed", "result_code: 4", 5, func(n int) emulator.Fate { return emulator.Fate{RecoverAt: 1 + n%3} }},
		{"unknown", "Something else", "", 5, func(n int) emulator.Fate { return emulator.Fate{RecoverAt: n % 5} }},
		{"bad package", "Firmware update failed", "", 5, func(n int) emulator.Fate { return emulator.Fate{RecoverAt: n % 9 / 8} }},
	}
}

// campaign makes a task whose devices fail for the causes named, so many for each.
func campaign(t testing.TB, s *site, kind iotda.TaskType, each map[string]int) map[target]cause {
	of := map[target]cause{}
	task := emulator.Task{Type: kind}
	for _, c := range causesOfTheFleet(time.Now()) {
		for n := range each[c.name] {
			fate := c.fate(n)
			fate.Message, fate.Output = c.message, c.output
			id := fmt.Sprintf("%s-%s-%03d", kind, strings.ReplaceAll(c.name, " ", "-"), n)
			task.Devices = append(task.Devices, emulator.Device{ID: id, Status: iotda.SubtaskFail, Fate: fate})
		}
	}
	id := must(s.e.AddTask(task))
	for _, d := range task.Devices {
		for _, c := range causesOfTheFleet(time.Now()) {
			if c.message == d.Fate.Message {
				of[target{s.name, id, d.ID}] = c
			}
		}
	}
	require.NotEmpty(t, of)
	return of
}

// fleetPart says which of the connections of configs/fleet.yaml are run: every n-th, to save time.
// `make month` runs all 80.
const fleetPart, fleetPartSlow = 8, 39

var wholeFleet = flag.Bool("whole-fleet", false, "run all connections of configs/fleet.yaml")

// TestThirtyDaysOfTheFleetExample runs configs/fleet.yaml for thirty nights and weekends, over the
// Spring Festival, with a platform for each connection, and prints what came of it.
func TestThirtyDaysOfTheFleetExample(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shanghai := place(t, "Asia/Shanghai")
		o := &oracle{zone: shanghai, windows: []civil{{"0 1 * * *", 4 * time.Hour}, {"0 13 * * SAT,SUN", 2 * time.Hour}},
			blackouts: []span{{time.Date(2027, 2, 5, 0, 0, 0, 0, shanghai), time.Date(2027, 2, 13, 0, 0, 0, 0, shanghai)}}}
		sleepTo(time.Date(2027, 1, 18, 0, 0, 0, 0, shanghai))
		f, byBudget, c := newFleet(t)
		var mu sync.Mutex
		halted, given, recovered := map[string]bool{}, map[target]policy.Reason{}, 0.0
		f.watch = func(e scheduler.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case e.Kind == scheduler.DecidedTask && e.Verdict.Reason == policy.Halted:
				halted[e.Connection+" "+e.TaskID] = true
			case e.Kind == scheduler.Closed:
				given[target{e.Connection, e.TaskID, e.DeviceID}] = e.Verdict.Reason
			}
		}
		of := map[target]cause{}
		begin := time.Now()
		for day := range 30 {
			for i, s := range f.sites {
				switch day {
				case 1 + i%3:
					maps.Copy(of, campaign(t, s, iotda.FirmwareUpgrade, map[string]int{"offline until a day": 8, "no space": 2, "low battery": 6, "unknown": 5}))
				case 5, 17: // the latter is the day before the Spring Festival
					maps.Copy(of, campaign(t, s, iotda.SoftwareUpgrade, map[string]int{"offline until a day": 6, "low battery": 4, "unknown": 10}))
				case 8:
					if i%2 == 1 {
						maps.Copy(of, campaign(t, s, iotda.FirmwareUpgrade, map[string]int{"bad package": 40, "offline until a day": 4}))
					}
				}
			}
			midnight := begin.In(shanghai).AddDate(0, 0, day)
			spans := []span{{midnight.Add(50 * time.Minute), midnight.Add(5*time.Hour + 10*time.Minute)}}
			if withRace() {
				spans[0].to = midnight.Add(2*time.Hour + 35*time.Minute)
			}
			if d := midnight.Weekday(); d == time.Saturday || d == time.Sunday {
				spans = append(spans, span{midnight.Add(12*time.Hour + 50*time.Minute), midnight.Add(15*time.Hour + 10*time.Minute)})
			}
			for _, up := range spans {
				sleepTo(up.from)
				f.with(func(s *scheduler.Scheduler, _ *store.Store) {
					ctx, cancel := context.WithDeadline(t.Context(), up.to)
					defer cancel()
					require.NoError(t, s.Run(ctx))
				})
				recovered += f.outcomes("recovered")
			}
		}
		f.onlyFailedOnesOnceAtATime()
		for _, call := range calls(f.sites...) {
			require.True(t, call.Op != "RetryBatchTask" || o.open(call.At), "a retry at %s", call.At.In(shanghai))
		}
		for name, sites := range byBudget {
			i := slices.IndexFunc(c.Budgets, func(b config.Budget) bool { return b.Name == name })
			neverFasterThan(t, calls(sites...), c.Budgets[i].RequestsPerSecond, c.Budgets[i].Burst)
		}
		fleetTable(t, f, of, halted, given, recovered)
	})
}

// newFleet sets up the connections, budgets and the policy of configs/fleet.yaml.
func newFleet(t *testing.T) (*estate, map[string][]*site, *config.Config) {
	c, err := config.Load([]string{"../../configs/fleet.yaml"}, func(name string) (string, bool) {
		return map[bool]string{true: "key", false: "secret"}[strings.HasSuffix(name, "_AK")], true
	})
	require.NoError(t, err)
	require.Len(t, c.Connections, 80)
	f, byBudget, budgets := newEstate(t), map[string][]*site{}, map[string]*iotdaclient.Budget{}
	f.policies = c.Policies
	every := fleetPart
	if *wholeFleet {
		every = 1
	}
	if withRace() {
		every = fleetPartSlow
	}
	for i := 0; i < len(c.Connections); i += every {
		n := c.Connections[i]
		b := c.BudgetOf(n)
		if budgets[b.Name] == nil {
			budgets[b.Name] = iotdaclient.NewBudget(b.RequestsPerSecond, b.Burst)
		}
		s := f.add(n.Name, n.ProjectID, emulator.Options{Latency: 30 * time.Millisecond, Upgrade: 12 * time.Minute, Seed: uint64(i)})
		s.endpoint, s.budget = n.Endpoint, budgets[b.Name]
		byBudget[b.Name] = append(byBudget[b.Name], s)
	}
	return f, byBudget, c
}

// fleetTable prints what came of the fleet, and checks it target by target.
func fleetTable(t *testing.T, f *estate, of map[target]cause, halted map[string]bool, given map[target]policy.Reason, recovered float64) {
	tries := f.accepted()
	type sums struct{ targets, tried, attempts, recovered, permanent, exhausted, expired, halted, left int }
	var all sums
	byCause, mended := map[string]*sums{}, 0
	for key, c := range of {
		for _, s := range []*sums{&all, byCause[c.name]} {
			if s == nil {
				s = &sums{}
				byCause[c.name] = s
			}
			s.targets++
			s.attempts += tries[key]
			s.tried += min(tries[key], 1)
			site := f.sites[slices.IndexFunc(f.sites, func(s *site) bool { return s.name == key.connection })]
			sub, _ := site.e.Subtask(key.task, key.device)
			isHalted := halted[key.connection+" "+key.task]
			switch reason := given[key]; {
			case sub.Status == iotda.SubtaskSuccess:
				s.recovered++
				if s == &all {
					mended++
				}
			case isHalted:
				s.halted++
			case reason == policy.Permanent:
				s.permanent++
			case reason == policy.Exhausted:
				s.exhausted++
			case reason == policy.Expired:
				s.expired++
			default:
				s.left++
			}
			fate := c.fate(indexOf(key.device))
			require.LessOrEqual(t, tries[key], c.max, "%v", key)
			require.True(t, fate.RecoverAt == 0 || isHalted || sub.Status == iotda.SubtaskSuccess, "%v (%s) could have recovered, and is %s after %d tries: %s", key, c.name, sub.Status, tries[key], given[key])
			require.True(t, fate.RecoverAt > 0 || isHalted || given[key].Final(), "%v (%s) is neither recovered nor given up", key, c.name)
		}
	}
	require.InDelta(t, mended, recovered, 0, "the metric says what the platforms do")
	require.Zero(t, all.left)
	line := func(name string, s *sums) {
		t.Logf("%-20s %7d %6d %8d %9d %9d %9d %7d %6d", name, s.targets, s.tried, s.attempts, s.recovered, s.permanent, s.exhausted, s.expired, s.halted)
	}
	t.Logf("%d connections, 30 days", len(f.sites))
	t.Logf("%-20s %7s %6s %8s %9s %9s %9s %7s %6s", "cause", "targets", "tried", "attempts", "recovered", "permanent", "exhausted", "expired", "halted")
	for _, name := range slices.Sorted(maps.Keys(byCause)) {
		line(name, byCause[name])
	}
	line("all", &all)
	made, throttled := 0, 0
	for _, c := range calls(f.sites...) {
		if made++; c.Status == http.StatusTooManyRequests {
			throttled++
		}
	}
	t.Logf("%d tasks halted, %d calls made, %d throttled", len(halted), made, throttled)
}
