// Package metrics holds everything that retryd exports to Prometheus.
//
// Label sets are closed: no device ids, no texts of the platform. Each counter whose
// labels are known beforehand is there with 0 from the start, so that a first event is
// a rise and not a new series, which rate() would not see.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Known are the values that labels can have, in the words of the packages that count.
type Known struct {
	Results    []string // of an attempt's request
	Outcomes   []string // of an attempt
	Endings    []string // of a target
	Causes     []Cause  // of a failure
	Reasons    []string // of a verdict
	Operations []string // of the API
	Sweeps     []string // results of a sweep
	Surprises  []string // of the platform
	Skips      []string // why a tick is not swept by itself
	TaskStates []string
}

// Cause is why sub-tasks fail: a rule's name and the class of it.
type Cause struct{ Rule, Class string }

// Metrics are the program's own series.
type Metrics struct {
	known Known

	Attempts           *prometheus.CounterVec   // connection, policy, task_type, result
	Settled            *prometheus.CounterVec   // connection, policy, task_type, outcome
	Closed             *prometheus.CounterVec   // connection, policy, task_type, outcome
	Failures           *prometheus.CounterVec   // connection, policy, rule, class
	Targets            *prometheus.GaugeVec     // connection, policy, reason
	Tasks              *prometheus.GaugeVec     // connection, policy, state
	TimeToRecovery     *prometheus.HistogramVec // connection, policy
	AttemptsToRecovery *prometheus.HistogramVec // connection, policy

	TaskRetries   *prometheus.CounterVec   // connection, policy, task_type, outcome
	TicksSkipped  *prometheus.CounterVec   // connection, policy, why
	Sweeps        *prometheus.CounterVec   // connection, policy, result
	SweepDuration *prometheus.HistogramVec // connection, policy
	LastSuccess   *prometheus.GaugeVec     // connection, policy
	NextSweep     *prometheus.GaugeVec     // connection, policy
	PolicyInfo    *prometheus.GaugeVec     // connection, policy, schedule

	Requests        *prometheus.CounterVec   // connection, operation, code
	RequestDuration *prometheus.HistogramVec // connection, operation
	Throttled       *prometheus.CounterVec   // connection
	RateLimit       *prometheus.GaugeVec     // connection
	ConnectionUp    *prometheus.GaugeVec     // connection, reason
	Surprises       *prometheus.CounterVec   // connection, kind
	LeaseHeld       *prometheus.GaugeVec     // connection
	ClockOffset     *prometheus.GaugeVec     // connection
	CredentialsEnd  *prometheus.GaugeVec     // connection

	Notifications *prometheus.CounterVec // name of the receiver, result

	LedgerWrites prometheus.Histogram
	LedgerErrors prometheus.Counter
	LedgerFenced prometheus.Counter
	OldestOpen   *prometheus.GaugeVec // connection
	configInfo   *prometheus.GaugeVec // hash
	reloadOK     prometheus.Gauge
	reloadAt     *prometheus.GaugeVec
	reg          prometheus.Registerer
}

var perPolicy = []string{"connection", "policy"}

// New makes the series and registers them.
func New(reg prometheus.Registerer, known Known) *Metrics {
	f := factory{reg}
	return &Metrics{
		known: known, reg: reg,

		Attempts: f.counter("attempts_total", "Attempts by what their request came to. Released ones had no effect and do not count against attempts.max.", "connection", "policy", "task_type", "result"),
		Settled:  f.counter("attempts_settled_total", "Attempts by what became of them.", "connection", "policy", "task_type", "outcome"),
		Closed:   f.counter("targets_closed_total", "Targets that came to an end, once for each number of attempts they had by then.", "connection", "policy", "task_type", "outcome"),
		Failures: f.counter("failures_total", "Failed and rejected attempts by the rule that matched the error.", "connection", "policy", "rule", "class"),
		Targets:  f.gauge("targets", "Targets by the reason of their verdict in the last complete sweep.", "connection", "policy", "reason"),
		Tasks:    f.gauge("tasks", "Batch tasks of the policy in the last complete sweep: active ones are open to retries, and the others would be.", "connection", "policy", "state"),
		TimeToRecovery: f.histogram("time_to_recovery_seconds", "Time from a target's first attempt to its recovery.",
			[]float64{60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 2 * 86400, 4 * 86400, 7 * 86400, 14 * 86400}, perPolicy...),
		AttemptsToRecovery: f.histogram("attempts_to_recovery", "Attempts that a recovered target took.",
			[]float64{1, 2, 3, 4, 5, 7, 10, 20}, perPolicy...),

		TaskRetries:   f.counter("task_retries_total", "Whole tasks that a policy in targets.mode all re-ran, by what became of it.", "connection", "policy", "task_type", "outcome"),
		TicksSkipped:  f.counter("ticks_skipped_total", "Ticks that were not swept by themselves.", "connection", "policy", "why"),
		Sweeps:        f.counter("sweeps_total", "Sweeps by result.", "connection", "policy", "result"),
		SweepDuration: f.histogram("sweep_duration_seconds", "Duration of a sweep.", []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600}, perPolicy...),
		LastSuccess:   f.gauge("policy_last_success_timestamp_seconds", "When the policy's last complete sweep ended.", perPolicy...),
		NextSweep:     f.gauge("policy_next_sweep_timestamp_seconds", "When the policy is due next.", perPolicy...),
		PolicyInfo:    f.gauge("policy_info", "Always 1; the policy's schedule as a label.", "connection", "policy", "schedule"),

		Requests:        f.counter("api_requests_total", "Calls of the platform's API by HTTP status; error where no whole reply came.", "connection", "operation", "code"),
		RequestDuration: f.histogram("api_request_duration_seconds", "Duration of one call of the platform's API.", prometheus.DefBuckets, "connection", "operation"),
		Throttled:       f.counter("api_throttled_total", "Calls that the platform answered with flow control.", "connection"),
		RateLimit:       f.gauge("rate_limit", "Calls a second that the connection may make, with those that share its budget. Throttling lowers it for a while.", "connection"),
		ConnectionUp:    f.gauge("connection_up", "1 if the last reading of the connection's tasks succeeded; else 0, with the class of its error as reason.", "connection", "reason"),
		ClockOffset:     f.gauge("clock_offset_seconds", "How far the ledger's clock, which is this machine's or the database's, is ahead of the platform's.", "connection"),
		CredentialsEnd:  f.gauge("credentials_expiry_timestamp_seconds", "When the token or temporary key that the last call was made with ends, where that is known.", "connection"),
		LeaseHeld:       f.gauge("lease_held", "1 if this replica drives the connection, 0 if another does, or nobody.", "connection"),
		Surprises:       f.counter("platform_surprises_total", "Replies that contradict what is known of the platform.", "connection", "kind"),

		Notifications: f.counter("notifications_total", "Digests that a receiver of notices was sent, tries to send it one that failed, and notices that were dropped because they were a day old.", "name", "result"),

		LedgerWrites: f.histogram("ledger_write_duration_seconds", "Duration of one transaction that writes the ledger.", prometheus.DefBuckets).WithLabelValues().(prometheus.Histogram),
		LedgerErrors: f.counter("ledger_errors_total", "Transactions on the ledger that failed.").WithLabelValues(),
		LedgerFenced: f.counter("ledger_fenced_total", "Transactions on the ledger that were refused because another replica drives the budget now.").WithLabelValues(),
		configInfo:   f.gauge("config_info", "Always 1; a hash of the configuration that is in force.", "hash"),
		reloadOK:     f.gauge("config_last_reload_successful", "1 if the last reload took the configuration, or there was none.").WithLabelValues(),
		reloadAt:     f.gauge("config_last_reload_success_timestamp_seconds", "When the configuration that is in force was read."),
		OldestOpen:   f.gauge("oldest_open_attempt_timestamp_seconds", "When the oldest attempt without an outcome was claimed.", "connection"),
	}
}

// AddConnection gives a connection its series.
func (m *Metrics) AddConnection(name string, perSecond float64) {
	m.RateLimit.WithLabelValues(name).Set(perSecond)
	m.Throttled.WithLabelValues(name)
	for _, op := range m.known.Operations {
		m.RequestDuration.WithLabelValues(name, op)
		for _, code := range []string{"200", "error"} {
			m.Requests.WithLabelValues(name, op, code)
		}
	}
	for _, kind := range m.known.Surprises {
		m.Surprises.WithLabelValues(name, kind)
	}
}

// AddPolicy gives a policy its series on one connection. rules are its own.
func (m *Metrics) AddPolicy(connection, policy, schedule string, taskTypes []string, rules []Cause) {
	for _, rule := range rules {
		m.Failures.WithLabelValues(connection, policy, rule.Rule, rule.Class)
	}
	for _, why := range m.known.Skips {
		m.TicksSkipped.WithLabelValues(connection, policy, why)
	}
	m.PolicyInfo.WithLabelValues(connection, policy, schedule).Set(1)
	for _, taskType := range taskTypes {
		for _, result := range m.known.Results {
			m.Attempts.WithLabelValues(connection, policy, taskType, result)
		}
		for _, outcome := range m.known.Outcomes {
			m.Settled.WithLabelValues(connection, policy, taskType, outcome)
			m.TaskRetries.WithLabelValues(connection, policy, taskType, outcome)
		}
		for _, ending := range m.known.Endings {
			m.Closed.WithLabelValues(connection, policy, taskType, ending)
		}
	}
	for _, cause := range m.known.Causes {
		m.Failures.WithLabelValues(connection, policy, cause.Rule, cause.Class)
	}
	for _, result := range m.known.Sweeps {
		m.Sweeps.WithLabelValues(connection, policy, result)
	}
	m.SweepDuration.WithLabelValues(connection, policy)
	m.TimeToRecovery.WithLabelValues(connection, policy)
	m.AttemptsToRecovery.WithLabelValues(connection, policy)
}

// RemovePolicy takes the series of a policy on one connection away.
func (m *Metrics) RemovePolicy(connection, policy string) {
	labels := prometheus.Labels{"connection": connection, "policy": policy}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.Attempts, m.Settled, m.Closed, m.Failures, m.Targets, m.Tasks, m.TimeToRecovery, m.AttemptsToRecovery,
		m.TaskRetries, m.TicksSkipped, m.Sweeps, m.SweepDuration, m.LastSuccess, m.NextSweep, m.PolicyInfo,
	} {
		v.DeletePartialMatch(labels)
	}
}

// RemoveConnection takes the series of a connection away.
func (m *Metrics) RemoveConnection(name string) {
	labels := prometheus.Labels{"connection": name}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.Requests, m.RequestDuration, m.Throttled, m.RateLimit, m.ConnectionUp, m.Surprises, m.ClockOffset,
		m.CredentialsEnd, m.OldestOpen, m.LeaseHeld,
	} {
		v.DeletePartialMatch(labels)
	}
}

// AddReceiver gives a receiver of notices its series.
func (m *Metrics) AddReceiver(name string, results []string) {
	for _, result := range results {
		m.Notifications.WithLabelValues(name, result)
	}
}

// RemoveReceiver takes the series of a receiver away.
func (m *Metrics) RemoveReceiver(name string) {
	m.Notifications.DeletePartialMatch(prometheus.Labels{"name": name})
}

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
	if !c.CredentialsEnd.IsZero() {
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
