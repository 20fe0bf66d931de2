package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SetLease sets whether this replica drives a connection.
func (m *Metrics) SetLease(connection string, held bool) {
	n := 0.0
	if held {
		n = 1
	}
	m.LeaseHeld.WithLabelValues(connection).Set(n)
}

// Standby takes away the series that say how a connection and its policies stand: the replica that
// drives it has them. What was counted here stays.
func (m *Metrics) Standby(connection string) {
	m.SetLease(connection, false)
	for _, v := range []*prometheus.GaugeVec{m.Targets, m.Tasks, m.LastSuccess, m.NextSweep, m.ConnectionUp, m.ClockOffset, m.CredentialsEnd, m.OldestOpen, m.RateLimit} {
		v.DeletePartialMatch(prometheus.Labels{"connection": connection})
	}
}

// SetTasks sets how many tasks were in each state; a state without any is 0.
func (m *Metrics) SetTasks(connection, policy string, counts map[string]int) {
	for _, state := range m.known.TaskStates {
		m.Tasks.WithLabelValues(connection, policy, state).Set(float64(counts[state]))
	}
}

// Reloaded notes whether a configuration was taken, and which is in force since when.
func (m *Metrics) Reloaded(ok bool, hash string, at time.Time) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.configInfo.Reset()
	m.configInfo.WithLabelValues(hash).Set(1)
	m.reloadAt.WithLabelValues().Set(Seconds(at))
}

// SetTargets sets how many targets had each reason; a reason without any is 0.
func (m *Metrics) SetTargets(connection, policy string, counts map[string]int) {
	for _, reason := range m.known.Reasons {
		m.Targets.WithLabelValues(connection, policy, reason).Set(float64(counts[reason]))
	}
}

// SetConnection sets whether a connection is up; reason is empty where it is.
func (m *Metrics) SetConnection(name, reason string) {
	m.ConnectionUp.DeletePartialMatch(prometheus.Labels{"connection": name})
	up := 0.0
	if reason == "" {
		up = 1
	}
	m.ConnectionUp.WithLabelValues(name, reason).Set(up)
}

// Ledger exports the ledger's age and sizes, which are read when they are asked for.
func (m *Metrics) Ledger(created time.Time, sizes func() (ledger, wal int64)) {
	f := factory{m.reg}
	f.gaugeFunc("ledger_size_bytes", "Size of the ledger's file.", func() float64 { n, _ := sizes(); return float64(n) })
	f.gaugeFunc("ledger_wal_bytes", "Size of the ledger's write-ahead log.", func() float64 { _, n := sizes(); return float64(n) })
	f.gaugeFunc("ledger_created_timestamp_seconds", "When the ledger was made: one that is new has no attempts on record.",
		func() float64 { return Seconds(created) })
}

// Info exports what is running.
func (m *Metrics) Info(version, goVersion string) {
	f := factory{m.reg}
	f.gauge("build_info", "Always 1; what is running, as labels.", "version", "goversion").WithLabelValues(version, goVersion).Set(1)
}

// Call is one finished call of the platform's API.
type Call struct {
	Operation, Code string
	Duration        time.Duration
	Throttled       bool
	PerSecond       float64   // the rate that the connection has from now on
	CredentialsEnd  time.Time // zero = not known
}

// ObserveCall counts one call.
func (m *Metrics) ObserveCall(connection string, c Call) {
	m.Requests.WithLabelValues(connection, c.Operation, c.Code).Inc()
	m.RequestDuration.WithLabelValues(connection, c.Operation).Observe(c.Duration.Seconds())
	m.RateLimit.WithLabelValues(connection).Set(c.PerSecond)
	if c.Throttled {
		m.Throttled.WithLabelValues(connection).Inc()
	}
	if c.CredentialsEnd.IsZero() { // as after a reload to a key that does not end
		m.CredentialsEnd.DeleteLabelValues(connection)
	} else {
		m.CredentialsEnd.WithLabelValues(connection).Set(Seconds(c.CredentialsEnd))
	}
}

// ObserveWrite counts one write of the ledger.
func (m *Metrics) ObserveWrite(d time.Duration, err error) {
	m.LedgerWrites.Observe(d.Seconds())
	if err != nil {
		m.LedgerErrors.Inc()
	}
}

// Seconds is a time as Prometheus has it.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
