package scheduler_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"retryd/internal/emulator"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

const (
	shortTTL   = 3 * time.Second
	idThatWins = "r0" // against a
)

// member is one of several replicas, in real time.
type member struct {
	*world
	s      *scheduler.Scheduler
	ledger *store.Store
	stop   func() error
}

// join starts a replica that has these connections, each named after its budget.
func join(t *testing.T, address, id string, connections ...scheduler.Connection) *member {
	m := prepare(t, address, id, connections...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.s.Run(ctx) }()
	m.stop = func() error {
		stop()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() { require.NoError(t, m.stop()) })
	return m
}

// prepare makes a replica that does not run.
func prepare(t *testing.T, address, id string, connections ...scheduler.Connection) *member {
	w := newWorld(t)
	ledger, err := store.Open(t.Context(), store.Options{URL: address, Create: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ledger.Close()) })
	w.registry = prometheus.NewRegistry()
	core, logs := observer.New(zap.DebugLevel)
	w.logs = logs
	w.setup = scheduler.Setup{Policies: w.policies, Connections: connections, Retention: 90 * 24 * time.Hour}
	m := &member{world: w, ledger: ledger}
	m.s = scheduler.New(scheduler.Options{
		Setup: w.setup, Store: ledger, Metrics: metrics.New(w.registry, scheduler.Known()), Log: zap.New(core),
		Replica: store.Replica{ID: id, Host: "here"}, LeaseTTL: shortTTL,
	})
	t.Cleanup(m.s.Close)
	return m
}

// toIdle is a connection to a platform that is empty.
func toIdle(t *testing.T, name, budget string) scheduler.Connection {
	return newWorld(t).connection(t, name, budget)
}

func (w *world) connection(t *testing.T, name, budget string) scheduler.Connection {
	client, err := iotdaclient.New(iotdaclient.Options{
		Name: name, Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project,
		Credentials: iotdaclient.Key{AccessKey: "key", SecretKey: w.secret, Signing: iotdaclient.SigningDerived},
		Budget:      iotdaclient.NewBudget(w.perSec, w.burst), Guards: iotdaclient.NewGuards(), Concurrency: 4, Timeout: 10 * time.Second,
		Transport: inMemory{w.e}, UserAgent: "test",
	})
	require.NoError(t, err)
	return scheduler.Connection{Client: client, Identity: "of " + name, Budget: budget, Hash: budget}
}

func (m *member) drives(name string) bool {
	driven, _ := m.s.Drives()
	for _, n := range driven {
		if n == name {
			return true
		}
	}
	return false
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 8*time.Second, 20*time.Millisecond, what)
}

// blocked keeps all others from writing the ledger until it is told to stop.
func blocked(t *testing.T, address string) (stop func()) {
	db, err := sql.Open("pgx", address)
	require.NoError(t, err)
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	_, err = tx.Exec(`SELECT pg_advisory_xact_lock(1920234105)`)
	require.NoError(t, err)
	return func() {
		require.NoError(t, tx.Rollback())
		require.NoError(t, db.Close())
	}
}

// alive has a replica be seen that never takes anything.
func alive(t *testing.T, l *store.Store, id string, budgets map[string][]string) {
	_, err := l.Renew(t.Context(), store.Replica{ID: id, Budgets: budgets}, shortTTL)
	require.NoError(t, err)
}

func TestALeaseThatCouldNotBeGivenBackDoesNotKeepTheBudgetFromEverybody(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := join(t, address, "a", toIdle(t, "c", "account"))
	soon(t, "it drives", func() bool { return a.drives("c") })
	alive(t, a.ledger, idThatWins, map[string][]string{"account": {"of c"}})
	free := blocked(t, address)
	soon(t, "it hands over", func() bool { return !a.drives("c") })
	soon(t, "", func() bool { return a.logs.FilterMessageSnippet("could not be given back").Len() > 0 })
	free()
	require.NoError(t, a.ledger.Leave(t.Context(), idThatWins))
	soon(t, "it drives again", func() bool { return a.drives("c") })
}

func TestABudgetIsNotThrownBackAndForthWhereTheReplicaThatItIsForDoesNotTakeIt(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := join(t, address, "a", toIdle(t, "c", "account"))
	for begun := time.Now(); time.Since(begun) < 9*time.Second; time.Sleep(time.Second) {
		alive(t, a.ledger, idThatWins, map[string][]string{"account": {"of c"}})
	}
	require.True(t, a.drives("c"))
	require.LessOrEqual(t, a.logs.FilterMessageSnippet("does not drive the budget any more").Len(), 1)
}

func TestAConnectionThatAReloadPutsIntoAnotherBudgetIsNotDrivenTwice(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	b := join(t, address, "b", toIdle(t, "moved", "its-own"))
	soon(t, "it drives its connection", func() bool { return b.drives("moved") })
	a := join(t, address, "a", toIdle(t, "c", "account"))
	soon(t, "it drives its connection", func() bool { return a.drives("c") })
	setup := a.setup
	setup.Connections = []scheduler.Connection{toIdle(t, "c", "account"), toIdle(t, "moved", "account")}
	a.s.Apply(setup)
	for range 20 {
		require.False(t, a.drives("moved") && b.drives("moved"))
		time.Sleep(100 * time.Millisecond)
	}
	require.Zero(t, metric(t, a.world, "retryd_lease_held", "connection=moved"))
	require.NoError(t, b.stop())
	soon(t, "it drives both", func() bool { return a.drives("moved") && a.drives("c") })
}

func TestASweepByHandDoesNotMakeTheDaemonGiveUpItsBudgets(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := join(t, address, "a", toIdle(t, "c", "account"), toIdle(t, "d", "another"))
	soon(t, "it drives", func() bool { return a.drives("c") && a.drives("d") })
	hand := prepare(t, address, idThatWins, toIdle(t, "c", "account"), toIdle(t, "d", "another"))
	for begun := time.Now(); time.Since(begun) < 4*time.Second; {
		_, err := hand.s.Sweep(t.Context(), nil)
		require.ErrorIs(t, err, scheduler.ErrDriven)
	}
	require.Zero(t, a.logs.FilterMessageSnippet("does not drive the budget any more").Len())
}

func TestAConnectionThatNobodyDrivesForItsBudgetHasANameTwiceIsSaid(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	a := join(t, address, "a", toIdle(t, "here", "account"))
	soon(t, "it drives", func() bool { return a.drives("here") })
	b := join(t, address, "b", toIdle(t, "there", "account"))
	soon(t, "it says so", func() bool {
		return b.logs.FilterLevelExact(zap.WarnLevel).FilterMessage("nobody drives some connections of the budget").Len() == 1
	})
	require.Zero(t, metric(t, b.world, "retryd_lease_held", "connection=there"))
}

func TestALedgerThatHangsAfterACallIsSaidAndGotOver(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	platform := newWorld(t)
	task := platform.campaign(failing("d", 1, 1)...)
	m := prepare(t, address, "a", platform.connection(t, "prod", "account"))
	hangs := make(chan func(), 1)
	platform.e.SetFault(func(c emulator.Call) emulator.Fault {
		if c.Op == "RetryBatchTask" {
			hangs <- blocked(t, address)
		}
		return ""
	})
	swept := make(chan error, 1)
	go func() {
		_, err := m.s.Sweep(context.Background(), nil)
		swept <- err
	}()
	goOn := <-hangs
	soon(t, "it is not ready", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := m.s.Ready(ctx)
		return err != nil && err.Error() == "1 answers of the platform wait to be written to the ledger"
	})
	goOn()
	require.NoError(t, <-swept)
	require.NoError(t, m.s.Ready(t.Context()))
	require.Equal(t, policy.Accepted, m.record(m.ledger, task, "d-00000").State)
}
