package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { pgtest.Stop(); os.Exit(code) }))
}

const project = "0123456789abcdef0123456789abcdef"

// world is an emulated platform and everything that is set up around it.
type world struct {
	t        testing.TB
	e        *emulator.Emulator
	front    http.Handler // stands before the platform; nil = nothing does
	folder   string
	name     string // of the connection
	secret   string
	perSec   float64
	burst    int
	policies []*policy.Policy
	watch    func(scheduler.Event)
	setup    scheduler.Setup // of the last start
	registry *prometheus.Registry
	logs     *observer.ObservedLogs
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, folder: t.TempDir(), name: "prod", secret: "secret", perSec: 1000, burst: 100,
		e:        emulator.New(emulator.Options{ProjectID: project, Region: "cn-north-4", Keys: map[string]string{"key": "secret"}, Latency: 10 * time.Millisecond, Upgrade: 4 * time.Minute}),
		policies: []*policy.Policy{newPolicy("upgrades")},
	}
}

func newPolicy(name string) *policy.Policy {
	schedule, err := policy.ParseSchedule("*/15 * * * *", time.UTC)
	if err != nil {
		panic(err)
	}
	return &policy.Policy{
		Name: name, Connections: []string{"prod"}, Schedule: schedule, Mode: policy.ModeAuto, CatchUp: time.Hour, Hash: name,
		Tasks:   policy.TaskRules{Types: policy.TaskTypes(), Statuses: policy.TaskStatuses(), MaxAge: 30 * 24 * time.Hour, Backlog: true, Superseded: policy.SupersededSkip},
		Targets: policy.TargetRules{Statuses: []iotda.SubtaskStatus{iotda.SubtaskFail}},
		Attempts: policy.AttemptRules{
			Max: 3, Backoff: policy.Backoff{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2},
			GiveUpAfter: 14 * 24 * time.Hour, Settle: 5 * time.Minute, StaleAfter: 7 * 24 * time.Hour,
		},
	}
}

func (w *world) add(t emulator.Task) string {
	id, err := w.e.AddTask(t)
	require.NoError(w.t, err)
	return id
}

// failing makes devices that fail and recover at the given retry; 0 = never.
func failing(prefix string, n, recoverAt int) []emulator.Device {
	devices := make([]emulator.Device, n)
	for i := range devices {
		devices[i] = emulator.Device{
			ID: fmt.Sprintf("%s-%05d", prefix, i), Status: iotda.SubtaskFail,
			Fate: emulator.Fate{RecoverAt: recoverAt, Message: "Waiting for the device online timeout"},
		}
	}
	return devices
}

// with runs f with a scheduler on the world's ledger, as one start of the program.
func (w *world) with(f func(*scheduler.Scheduler, *store.Store)) {
	w.t.Helper()
	w.start(store.Options{Path: filepath.Join(w.folder, "retryd.db"), Create: true}, f)
}

func (w *world) start(o store.Options, f func(*scheduler.Scheduler, *store.Store)) {
	w.t.Helper()
	ledger, err := store.Open(context.Background(), o)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, ledger.Close()) }()
	w.registry = prometheus.NewRegistry()
	m := metrics.New(w.registry, scheduler.Known())
	var core zapcore.Core
	core, w.logs = observer.New(zap.DebugLevel)
	guards := iotdaclient.NewGuards()
	client, err := iotdaclient.New(iotdaclient.Options{
		Name: w.name, Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project,
		Credentials: iotdaclient.Key{AccessKey: "key", SecretKey: w.secret, Signing: iotdaclient.SigningDerived},
		Budget:      iotdaclient.NewBudget(w.perSec, w.burst), Guards: guards, Concurrency: 4, Timeout: 10 * time.Second,
		Backoff:   iotdaclient.Backoff{Initial: 500 * time.Millisecond, Multiplier: 2, Max: 30 * time.Second, MaxElapsed: 2 * time.Minute, Jitter: 0.5},
		Transport: inMemory{w.handler()}, UserAgent: "test",
	})
	require.NoError(w.t, err)
	defer client.Close()
	guards.Keep(ledger)
	w.setup = scheduler.Setup{
		Policies: w.policies, Connections: []scheduler.Connection{{Client: client, Identity: "host  " + project, Hash: "1"}}, Retention: 90 * 24 * time.Hour,
	}
	f(scheduler.New(scheduler.Options{Setup: w.setup, Store: ledger, Metrics: m, Log: zap.New(core), Watch: w.watch}), ledger)
}

// handler is the platform, or what stands before it.
func (w *world) handler() http.Handler {
	if w.front != nil {
		return w.front
	}
	return w.e
}

// sweep sweeps once, as one start of the program.
func (w *world) sweep() (r scheduler.Report) {
	w.t.Helper()
	w.with(func(s *scheduler.Scheduler, _ *store.Store) {
		reports, err := s.Sweep(context.Background(), nil)
		require.NoError(w.t, err)
		require.NotEmpty(w.t, reports)
		r = reports[0]
	})
	return r
}

// run runs the daemon for some time.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	w.with(func(s *scheduler.Scheduler, _ *store.Store) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		require.NoError(w.t, s.Run(ctx))
	})
}

// tries counts the accepted retries of each target that came through the API.
func (w *world) tries() map[string]int {
	tries := map[string]int{}
	for _, r := range w.e.Retries() {
		if r.Accepted && !r.Console {
			tries[r.TaskID+" "+r.Target]++
		}
	}
	return tries
}

// holdsPromises checks what has to hold whatever happened: by the platform's own record.
func (w *world) holdsPromises() {
	w.t.Helper()
	for target, n := range w.tries() {
		require.LessOrEqual(w.t, n, 3, target)
	}
	for _, r := range w.e.Retries() {
		if r.Accepted && !r.Console {
			require.Empty(w.t, r.Busy, "%s was retried in task %s while it was in motion in another", r.Target, r.TaskID)
			require.True(w.t, r.TaskStatus.Retryable())
			require.Equal(w.t, iotda.SubtaskFail, r.From)
		}
	}
	read := map[string]time.Time{}
	for _, c := range w.e.Calls() {
		switch c.Op {
		case "ShowBatchTask":
			read[c.TaskID] = c.At
		case "RetryBatchTask":
			require.LessOrEqual(w.t, c.At.Sub(read[c.TaskID]), 31*time.Second, "a retry followed a read that was too old")
		}
	}
}

// collect gathers the targets of one kind of event.
func collect(into map[string]string, pick func(scheduler.Event) (string, bool)) func(scheduler.Event) {
	var mu sync.Mutex
	return func(e scheduler.Event) {
		if value, ok := pick(e); ok {
			mu.Lock()
			defer mu.Unlock()
			into[e.TaskID+" "+e.DeviceID] = value
		}
	}
}

// inMemory is a network without sockets, so that virtual time can move: a synctest
// bubble waits for no real connection.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	type outcome struct {
		resp *http.Response
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		recorder := httptest.NewRecorder()
		cut := serve(m.handler, recorder, r)
		switch {
		case cut && recorder.Body.Len() == 0:
			done <- outcome{err: io.ErrUnexpectedEOF}
		case cut:
			resp := recorder.Result()
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(recorder.Body.Bytes()), broken{}))
			done <- outcome{resp: resp}
		default:
			done <- outcome{resp: recorder.Result()}
		}
	}()
	select {
	case o := <-done:
		return o.resp, o.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (cut bool) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			cut = true
		} else if v != nil {
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func patterns(t testing.TB, exprs ...string) (out []*regexp.Regexp) {
	for _, expr := range exprs {
		p, err := policy.Pattern(expr)
		require.NoError(t, err)
		out = append(out, p)
	}
	return out
}
