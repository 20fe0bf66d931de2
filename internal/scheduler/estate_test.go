package scheduler_test

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

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

// indexOf gives the number at the end of a device's name.
func indexOf(device string) int { return must(strconv.Atoi(device[strings.LastIndex(device, "-")+1:])) }

// outcomes counts the attempts that came to an outcome since the last start.
func (f *estate) outcomes(outcome string) float64 {
	return sum(f.t, &world{registry: f.registry}, "retryd_attempts_settled_total", "outcome", outcome)
}
