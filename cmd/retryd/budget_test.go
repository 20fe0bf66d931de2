package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/metrics"
	"retryd/internal/notify"
	"retryd/internal/scheduler"
)

// The most series that there may be, whatever is configured: so many for the daemon, for each
// connection, and for each policy on a connection. More is a cost to whoever has many of them.
const (
	budgetFixed      = 40
	budgetConnection = 130
	budgetPair       = 140
)

// estate is how many policies and connections there are, and on how many of these each policy is.
type estate struct {
	name                          string
	connections, policies, onEach int
}

func (e estate) pairs() int { return e.policies * e.onEach }

var estates = []estate{
	{"1 policy on 1 connection", 1, 1, 1},
	{"1 policy on 80 connections", 80, 1, 80},
	{"200 policies on 1 connection", 1, 200, 1},
	{"200 policies, each on one of 80 connections", 80, 200, 1},
	{"200 policies, each on 10 of 80 connections", 80, 200, 10},
}

// everywhere is not gathered, which takes half a minute: it is summed up.
var everywhere = estate{"200 policies, each on all of 80 connections", 80, 200, 80}

func TestSeriesStayWithinTheirBudget(t *testing.T) {
	fixed, connection, pair := costs(t)
	require.LessOrEqual(t, fixed, budgetFixed)
	require.LessOrEqual(t, connection, budgetConnection)
	require.LessOrEqual(t, pair, budgetPair)
	t.Logf("%d series, %d for each connection, %d for each policy on one", fixed, connection, pair)
	for _, e := range estates {
		n := e.series(t)
		t.Logf("%-45s %8d series", e.name, n)
		require.Equal(t, fixed+connection*e.connections+pair*e.pairs(), n, "nothing grows faster than with what is configured")
	}
}

// costs are the series of the daemon, of a connection, and of a policy on one.
func costs(t *testing.T) (fixed, connection, pair int) {
	none, one, both := estate{}.series(t), estate{connections: 1}.series(t), estate{connections: 1, policies: 1, onEach: 1}.series(t)
	return none, one - none, both - one
}

// series gives how many series Prometheus makes of what an estate exports when everything has been
// measured once.
func (e estate) series(t *testing.T) (n int) {
	registry := prometheus.NewRegistry()
	m := metrics.New(registry, scheduler.Known())
	e.fill(m)
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, s := range f.GetMetric() {
			n++
			if h := s.GetHistogram(); h != nil { // as classic: its buckets, and the infinite one, a sum and a count
				n += len(h.GetBucket()) + 2
			}
		}
	}
	return n
}

func (e estate) fill(m *metrics.Metrics) {
	now := time.Unix(1e9, 0)
	m.Info("v", "go")
	m.Ledger(now, func() (int64, int64) { return 0, 0 })
	m.Reloaded(true, "hash", now)
	m.AddReceiver("receiver", notify.Results())
	for i := range e.connections {
		name := connectionName(i)
		m.AddConnection(name, 5, true)
		m.SetConnection(name, "")
		m.SetLease(name, true)
		m.ClockOffset.WithLabelValues(name).Set(0)
		m.OldestOpen.WithLabelValues(name).Set(1)
		m.ObserveCall(name, metrics.Call{Operation: scheduler.Known().Operations[0], Code: "200", CredentialsEnd: now})
	}
	for i := range e.policies {
		for j := range e.onEach {
			connection, policy := connectionName((i+j)%e.connections), fmt.Sprintf("policy-%03d", i)
			m.AddPolicy(connection, policy, "*/15 * * * *", []string{string(iotda.FirmwareUpgrade), string(iotda.SoftwareUpgrade)}, nil)
			m.SetTargets(connection, policy, nil)
			m.SetTasks(connection, policy, nil)
			m.LastSuccess.WithLabelValues(connection, policy).Set(1)
			m.NextSweep.WithLabelValues(connection, policy).Set(1)
		}
	}
}

func connectionName(i int) string { return fmt.Sprintf("connection-%02d", i) }

// seriesPage is the page's part about how many series there are.
func seriesPage(t *testing.T) string {
	fixed, connection, pair := costs(t)
	var b strings.Builder
	fmt.Fprintf(&b, `
## How many series

A daemon exports %d series of its own, %d for each connection and %d for each policy on a connection, counted with
classic buckets. A test holds them to %d, %d and %d: `+"`go test ./cmd/retryd -run TestSeriesStay -v`"+`.

| what is configured | series |
|---|---|
`, fixed, connection, pair, budgetFixed, budgetConnection, budgetPair)
	for _, e := range append(estates, everywhere) {
		fmt.Fprintf(&b, "| %s | %d |\n", e.name, fixed+connection*e.connections+pair*e.pairs())
	}
	b.WriteString(`
Beside these there are those of the Go runtime and of the process; one for each HTTP status but 200 that an operation
was answered with; and one for each of your own ` + "`errors`" + ` rules, by policy on a connection. A policy on many connections costs as
many policies: the last row is more than one scrape should have. Let each policy name the connections that it is
for, or run several daemons.

`)
	return b.String()
}
