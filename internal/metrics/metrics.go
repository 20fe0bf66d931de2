// Package metrics holds everything that retryd exports to Prometheus.
//
// Label sets are closed: no device ids, no texts of the platform. Each counter whose
// labels are known beforehand is there with 0 from the start, so that a first event is
// a rise and not a new series, which rate() would not see.
package metrics

import "github.com/prometheus/client_golang/prometheus"

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
	Asked      []string // kinds of requests by hand
	Answered   []string // what becomes of a request by hand
	Logins     []string // results of a login at IAM
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
	SweepCalls    *prometheus.HistogramVec // connection, policy
	LastSuccess   *prometheus.GaugeVec     // connection, policy
	NextSweep     *prometheus.GaugeVec     // connection, policy
	PolicyInfo    *prometheus.GaugeVec     // connection, policy, schedule

	Requests        *prometheus.CounterVec   // connection, operation, code
	RequestDuration *prometheus.HistogramVec // connection, operation
	Throttled       *prometheus.CounterVec   // connection
	RateLimit       *prometheus.GaugeVec     // connection
	ConnectionUp    *prometheus.GaugeVec     // connection, reason
	Surprises       *prometheus.CounterVec   // connection, kind
	Asked           *prometheus.CounterVec   // connection, kind, result
	Logins          *prometheus.CounterVec   // connection, result
	LeaseHeld       *prometheus.GaugeVec     // connection
	ClockOffset     *prometheus.GaugeVec     // connection
	CredentialsEnd  *prometheus.GaugeVec     // connection

	Notifications *prometheus.CounterVec // name of the receiver, result

	LedgerWrites     prometheus.Histogram
	LedgerErrors     prometheus.Counter
	LedgerReadErrors prometheus.Counter
	LedgerDamaged    prometheus.Gauge
	LedgerFenced     prometheus.Counter
	OldestOpen       *prometheus.GaugeVec // connection
	configInfo       *prometheus.GaugeVec // hash
	reloadOK         prometheus.Gauge
	reloadAt         *prometheus.GaugeVec
	reg              prometheus.Registerer
}

var perPolicy = []string{"connection", "policy"}

// New makes the series and registers them.
func New(reg prometheus.Registerer, known Known) *Metrics {
	f := factory{reg}
	return &Metrics{
		known: known, reg: reg,

		Attempts: f.counter("attempts_total", "Attempts by what their request came to. Released ones had no effect and do not count against attempts.max.", "connection", "policy", "task_type", "result"),
		Settled:  f.counter("attempts_settled_total", "Attempts by what became of them.", "connection", "policy", "task_type", "outcome"),
		Closed:   f.counter("targets_closed_total", "Targets that came to an end, once for each number of attempts they had by then; one that was given up and is mended elsewhere counts as both.", "connection", "policy", "task_type", "outcome"),
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
		SweepCalls: f.histogram("sweep_api_calls", "Calls of the platform's API that one sweep made; of calls that several sweeps share, the one that made them has them.",
			[]float64{1, 3, 10, 30, 100, 300, 1000, 3000, 10000}, perPolicy...),
		LastSuccess: f.gauge("policy_last_success_timestamp_seconds", "When the policy's last complete sweep ended.", perPolicy...),
		NextSweep:   f.gauge("policy_next_sweep_timestamp_seconds", "When the policy is due next.", perPolicy...),
		PolicyInfo:  f.gauge("policy_info", "Always 1; the policy's schedule as a label.", "connection", "policy", "schedule"),

		Requests:        f.counter("api_requests_total", "Calls of the platform's API by HTTP status; error where no whole reply came.", "connection", "operation", "code"),
		RequestDuration: f.histogram("api_request_duration_seconds", "Duration of one call of the platform's API.", prometheus.DefBuckets, "connection", "operation"),
		Throttled:       f.counter("api_throttled_total", "Calls that the platform answered with flow control.", "connection"),
		RateLimit:       f.gauge("rate_limit", "Calls a second that the connection may make, with those that share its budget. Throttling lowers it for a while.", "connection"),
		ConnectionUp:    f.gauge("connection_up", "1 if the last reading of the connection's tasks succeeded; else 0, with the class of its error as reason.", "connection", "reason"),
		ClockOffset:     f.gauge("clock_offset_seconds", "How far the ledger's clock, which is this machine's or the database's, is ahead of the platform's.", "connection"),
		CredentialsEnd:  f.gauge("credentials_expiry_timestamp_seconds", "When the token or temporary key that the last call was made with ends, where that is known.", "connection"),
		LeaseHeld:       f.gauge("lease_held", "1 if this replica drives the connection, 0 if another does, or nobody.", "connection"),
		Surprises:       f.counter("platform_surprises_total", "Replies that contradict what is known of the platform.", "connection", "kind"),
		Asked:           f.counter("manual_requests_total", "Sweeps and retries that people asked for by hand, by what became of them: failed could not be done, or not to its end, and expired was begun by nobody in time.", "connection", "kind", "result"),
		Logins:          f.counter("logins_total", "Logins at IAM, by the connection whose call needed one. Only connections with auth.iam have it.", "connection", "result"),

		Notifications: f.counter("notifications_total", "Digests that a receiver of notices was sent, tries to send it one that failed, and notices that were dropped because they were a day old.", "name", "result"),

		LedgerWrites:     f.histogram("ledger_write_duration_seconds", "Duration of one transaction that writes the ledger.", prometheus.DefBuckets).WithLabelValues().(prometheus.Histogram),
		LedgerErrors:     f.counter("ledger_errors_total", "Transactions that write the ledger and failed.").WithLabelValues(),
		LedgerReadErrors: f.counter("ledger_read_errors_total", "Reads of the ledger that failed.").WithLabelValues(),
		LedgerDamaged:    f.gauge("ledger_damaged", "1 once a read or a write has met damage of the ledger since the start. /-/ready then says what, until a restart.").WithLabelValues(),
		LedgerFenced:     f.counter("ledger_fenced_total", "Transactions on the ledger that were refused because another replica drives the budget now.").WithLabelValues(),
		configInfo:       f.gauge("config_info", "Always 1; a hash of the configuration that is in force.", "hash"),
		reloadOK:         f.gauge("config_last_reload_successful", "1 if the last reload took the configuration, or there was none.").WithLabelValues(),
		reloadAt:         f.gauge("config_last_reload_success_timestamp_seconds", "When the configuration that is in force was read."),
		OldestOpen:       f.gauge("oldest_open_attempt_timestamp_seconds", "When the oldest attempt without an outcome was claimed.", "connection"),
	}
}
