package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"retryd/internal/config"
	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// estate is several connections, each with a platform of its own, and one ledger.
type estate struct {
	t        testing.TB
	path     string
	clock    func() time.Time // the ledger's; nil = the machine's
	secret   string
	sites    []*site
	policies []*policy.Policy
	watch    func(scheduler.Event)
	guards   *iotdaclient.Guards
	registry *prometheus.Registry
	logs     *observer.ObservedLogs // of the last start, warnings and errors
}

type site struct {
	name, project string
	endpoint      string
	e             *emulator.Emulator
	budget        *iotdaclient.Budget
}

func (s *site) identity() string { return s.endpoint + "  " + s.project }

func newEstate(t testing.TB) *estate {
	return &estate{t: t, path: filepath.Join(t.TempDir(), "retryd.db"), secret: "secret"}
}

// add adds a connection with a budget of its own.
func (f *estate) add(name, project string, o emulator.Options) *site {
	o.ProjectID, o.Keys = project, map[string]string{"key": "secret"}
	s := &site{name: name, project: project, endpoint: "https://" + name, e: emulator.New(o), budget: iotdaclient.NewBudget(1000, 100)}
	f.sites = append(f.sites, s)
	return s
}

// setup makes what a start of the program runs.
func (f *estate) setup() scheduler.Setup {
	setup := scheduler.Setup{Policies: f.policies, Retention: 90 * 24 * time.Hour}
	for _, s := range f.sites {
		client, err := iotdaclient.New(iotdaclient.Options{
			Name: s.name, Endpoint: s.endpoint, Region: "cn-north-4", ProjectID: s.project,
			Credentials: iotdaclient.Key{AccessKey: "key", SecretKey: f.secret, Signing: iotdaclient.SigningDerived},
			Budget:      s.budget, Guards: f.guards, Concurrency: 4, Timeout: 10 * time.Second,
			Backoff:   iotdaclient.Backoff{Initial: 500 * time.Millisecond, Multiplier: 2, Max: 30 * time.Second, MaxElapsed: 2 * time.Minute, Jitter: 0.5},
			Transport: inMemory{s.e}, UserAgent: "test",
		})
		require.NoError(f.t, err)
		setup.Connections = append(setup.Connections, scheduler.Connection{Client: client, Identity: s.identity(), Hash: "1"})
	}
	return setup
}

// with runs f with a scheduler on the ledger, as one start of the program.
func (f *estate) with(run func(*scheduler.Scheduler, *store.Store)) {
	f.start(store.Options{Path: f.path, Create: true}, run)
}

func (f *estate) start(o store.Options, run func(*scheduler.Scheduler, *store.Store)) {
	o.Clock = f.clock
	ledger, err := store.Open(context.Background(), o)
	require.NoError(f.t, err)
	defer func() { require.NoError(f.t, ledger.Close()) }()
	f.registry = prometheus.NewRegistry()
	var core zapcore.Core
	core, f.logs = observer.New(zap.WarnLevel)
	f.guards = iotdaclient.NewGuards()
	f.guards.Keep(ledger)
	run(scheduler.New(scheduler.Options{
		Setup: f.setup(), Store: ledger, Metrics: metrics.New(f.registry, scheduler.Known()), Log: zap.New(core), Watch: f.watch,
	}), ledger)
}

// accepted counts the accepted retries of each target by the platforms' own record.
func (f *estate) accepted() map[target]int {
	tries := map[target]int{}
	for _, s := range f.sites {
		for _, r := range s.e.Retries() {
			if r.Accepted {
				tries[target{s.name, r.TaskID, r.Target}]++
			}
		}
	}
	return tries
}

type target struct{ connection, task, device string }

// onlyFailedOnesOnceAtATime checks the second promise by the platforms' own record.
func (f *estate) onlyFailedOnesOnceAtATime() {
	for _, s := range f.sites {
		for _, r := range s.e.Retries() {
			require.True(f.t, r.Accepted, "%s was not there to be retried", r.Target)
			require.Empty(f.t, r.Busy, "%s was retried in task %s while it was in motion in another", r.Target, r.TaskID)
			require.True(f.t, r.TaskStatus.Retryable())
			require.Equal(f.t, iotda.SubtaskFail, r.From)
		}
	}
}

// calls gives what the platforms saw, in order.
func calls(sites ...*site) (all []emulator.Call) {
	for _, s := range sites {
		all = append(all, s.e.Calls()...)
	}
	slices.SortStableFunc(all, func(a, b emulator.Call) int { return a.At.Compare(b.At) })
	return all
}

// neverFasterThan checks that no second saw more calls than a budget allows.
func neverFasterThan(t testing.TB, calls []emulator.Call, perSecond float64, burst int) {
	for i, j := 0, 0; j < len(calls); j++ {
		for calls[j].At.Sub(calls[i].At) >= time.Second {
			i++
		}
		require.LessOrEqual(t, j-i+1, int(perSecond)+burst, "in the second before %s", calls[j].At)
	}
}

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

// fleetPart says which of the connections of configs/fleet.yaml are run: every n-th. All 80 take
// some minutes without the race detector, and three of them half a minute with it.
const fleetPart, fleetPartSlow = 8, 39

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
				recovered += counted(t, f.registry, "retryd_attempts_settled_total", "outcome", "recovered")
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

// indexOf gives the number at the end of a device's name.
func indexOf(device string) int { return must(strconv.Atoi(device[strings.LastIndex(device, "-")+1:])) }

func counted(t testing.TB, registry *prometheus.Registry, metric, label, value string) float64 {
	return sum(t, &world{registry: registry}, metric, label, value)
}

func TestAThrottlingPlatformLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newEstate(t)
		s := f.add("prod", project, emulator.Options{Latency: 30 * time.Millisecond, Upgrade: 4 * time.Minute, PerSecond: 10})
		s.budget = iotdaclient.NewBudget(50, 20)
		f.policies = []*policy.Policy{newPolicy("upgrades")}
		for i := range 150 {
			_, err := s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), ListTargets: true, Devices: failing(fmt.Sprintf("t%03d", i), 8, 1)})
			require.NoError(t, err)
		}
		f.with(func(s *scheduler.Scheduler, _ *store.Store) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
			defer cancel()
			require.NoError(t, s.Run(ctx))
		})
		tries := f.accepted()
		require.Len(t, tries, 150*8)
		for key, n := range tries {
			require.Equal(t, 1, n, "%v was tried twice", key)
			sub, _ := s.e.Subtask(key.task, key.device)
			require.Equal(t, iotda.SubtaskSuccess, sub.Status, "%v", key)
		}
		f.onlyFailedOnesOnceAtATime()
		require.Equal(t, 1200.0, counted(t, f.registry, "retryd_attempts_settled_total", "outcome", "recovered"))
		all, refused := 0, 0
		made := s.e.Calls()
		for _, c := range made {
			if c.At.Sub(made[0].At) < 10*time.Second {
				continue
			}
			if all++; c.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		t.Logf("%d calls; %d of the %d after the first 10 s were throttled: %.1f %%", len(made), refused, all, 100*float64(refused)/float64(all))
		require.Greater(t, all, 300)
		require.Less(t, float64(refused), 0.1*float64(all))
	})
}

// TestReloadUnderLoad changes the policy, and which connections there are, 200 times in an hour
// of sweeps.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, most = 4, 4, 5
		f, random := newEstate(t), rand.New(rand.NewPCG(4, 4))
		budget := iotdaclient.NewBudget(perSecond, burst)
		recoverAt := map[target]int{}
		for i := range 3 {
			s := f.add(string(rune('a'+i)), fmt.Sprintf("%032x", i+1), emulator.Options{Latency: 50 * time.Millisecond, Upgrade: 3 * time.Minute})
			s.budget = budget
			for n := range 3 {
				id := must(s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing(fmt.Sprintf("t%d", n), 40, n)}))
				for _, d := range failing(fmt.Sprintf("t%d", n), 40, n) {
					recoverAt[target{s.name, id, d.ID}] = n
				}
			}
		}
		closed := &oracle{zone: time.UTC, windows: []civil{{"*/5 * * * *", 2 * time.Minute}}}
		all := slices.Clone(f.sites)
		apply := func(s *scheduler.Scheduler, n, wanted int) (windowed bool) {
			p := newPolicy("upgrades")
			p.Hash, p.Connections = fmt.Sprint("version ", n), []string{"a", "b", "c"}
			p.Attempts.Max = most - n%3
			p.Attempts.Backoff = policy.Backoff{Initial: 4 * time.Minute, Multiplier: 1, Max: time.Hour}
			p.Limits = policy.Limits{TargetsPerSweep: []int{0, 50, 200}[n%3], InFlight: []int{0, 0, 90}[n%3], InFlightFor: time.Hour}
			schedule, err := policy.ParseSchedule([]string{"* * * * *", "*/2 * * * *"}[n%2], time.UTC)
			require.NoError(t, err)
			p.Schedule = schedule
			if windowed = wanted < 3; windowed { // else none
				for _, w := range closed.windows {
					window, err := policy.ParseWindow(w.start, w.duration, time.UTC)
					require.NoError(t, err)
					p.Windows = append(p.Windows, window)
				}
			}
			f.policies, f.sites = []*policy.Policy{p}, all[:1+wanted%3]
			setup := f.setup()
			s.Apply(setup)
			return windowed
		}
		var shut []span // while only the windowed policy applied
		f.with(func(s *scheduler.Scheduler, ledger *store.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			apply(s, 0, 5)
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			for n := range 200 {
				time.Sleep(time.Duration(1000+random.IntN(20_000)) * time.Millisecond)
				wanted := random.IntN(6)
				if n%2 == 1 {
					wanted = 5
				}
				if windowed := apply(s, n, wanted); windowed {
					shut = append(shut, span{from: time.Now()})
					time.Sleep(90 * time.Second)
				}
				if last := len(shut) - 1; last >= 0 && shut[last].to.IsZero() && n%2 == 1 {
					shut[last].to = time.Now().Add(-grace)
				}
			}
			apply(s, 201, 5)
			time.Sleep(150 * time.Minute)
			cancel()
			require.NoError(t, <-done)
			f.sites = all
			tries := f.accepted()
			for key, at := range recoverAt {
				site := all[key.connection[0]-'a']
				sub, _ := site.e.Subtask(key.task, key.device)
				known, err := ledger.Records(t.Context(), site.project, key.task, []string{key.device})
				require.NoError(t, err)
				require.Equal(t, tries[key], known[key.device].Counted, "%v", key)
				require.LessOrEqual(t, tries[key], most)
				if at > 0 {
					require.Equal(t, at, tries[key], "%v", key)
					require.Equal(t, iotda.SubtaskSuccess, sub.Status, "%v", key)
				} else {
					require.Equal(t, most, tries[key], "%v", key)
				}
			}
		})
		f.onlyFailedOnesOnceAtATime()
		made := calls(all...)
		neverFasterThan(t, made, perSecond, burst)
		inWindow := 0
		for _, c := range made {
			if c.Op == "RetryBatchTask" && slices.ContainsFunc(shut, func(s span) bool { return s.contains(c.At) }) {
				inWindow++
				require.True(t, closed.open(c.At), "a retry at %s, outside the windows of the policy that applied", c.At)
			}
		}
		retries := 0
		for _, n := range f.accepted() {
			retries += n
		}
		t.Logf("200 changes, %d calls, %d retries of %d targets, %d calls to retry under windows", len(made), retries, len(recoverAt), inWindow)
		require.Positive(t, inWindow)
	})
}

// grace is what calls in flight get when a policy is replaced.
const grace = 5 * time.Second

func TestAWrongKeyForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, random := newEstate(t), rand.New(rand.NewPCG(5, 5))
		f.secret = "wrong"
		p := newPolicy("upgrades")
		p.Schedule = must(policy.ParseSchedule("* * * * *", time.UTC))
		p.Connections = []string{"a", "b", "c"}
		f.policies = []*policy.Policy{p}
		for i, name := range p.Connections {
			s := f.add(name, fmt.Sprintf("%032x", i+1), emulator.Options{Latency: 50 * time.Millisecond})
			_, err := s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 5, 1)})
			require.NoError(t, err)
		}
		starts := 0
		plan := func() {
			beside := *f
			beside.start(store.Options{Path: f.path, Join: true}, func(s *scheduler.Scheduler, _ *store.Store) {
				reports, err := s.Plan(t.Context(), nil)
				require.NoError(t, err)
				require.Equal(t, scheduler.SweepFailed, reports[0].Result)
			})
			starts++
		}
		for begin := time.Now(); time.Since(begin) < time.Hour; starts++ {
			f.with(func(s *scheduler.Scheduler, _ *store.Store) {
				if random.IntN(3) == 0 {
					_, err := s.Sweep(t.Context(), nil)
					require.NoError(t, err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+random.IntN(300))*time.Second)
				defer cancel()
				done := make(chan error)
				go func() { done <- s.Run(ctx) }()
				for range random.IntN(4) {
					time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
					plan()
				}
				require.NoError(t, <-done)
			})
			time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
		}
		refused := slices.DeleteFunc(calls(f.sites...), func(c emulator.Call) bool { return c.Status != http.StatusUnauthorized })
		for i := 2; i < len(refused); i++ {
			require.Greater(t, refused[i].At.Sub(refused[i-2].At), 5*time.Minute, "three refusals within 5 minutes")
		}
		t.Logf("%d starts, sweeps and plans of three connections: %d refusals in an hour", starts, len(refused))
		require.Greater(t, len(refused), 15, "it is tried again when it may be")
	})
}
