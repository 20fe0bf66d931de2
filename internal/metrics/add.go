package metrics

import "github.com/prometheus/client_golang/prometheus"

// AddConnection gives a connection its series; logsIn tells whether its calls need logins at IAM.
func (m *Metrics) AddConnection(name string, perSecond float64, logsIn bool) {
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
	for _, kind := range m.known.Asked {
		for _, result := range m.known.Answered {
			m.Asked.WithLabelValues(name, kind, result)
		}
	}
	if logsIn {
		for _, result := range m.known.Logins {
			m.Logins.WithLabelValues(name, result)
		}
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
	m.SweepCalls.WithLabelValues(connection, policy)
	m.TimeToRecovery.WithLabelValues(connection, policy)
	m.AttemptsToRecovery.WithLabelValues(connection, policy)
}

// RemovePolicy takes the series of a policy on one connection away.
func (m *Metrics) RemovePolicy(connection, policy string) {
	labels := prometheus.Labels{"connection": connection, "policy": policy}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.Attempts, m.Settled, m.Closed, m.Failures, m.Targets, m.Tasks, m.TimeToRecovery, m.AttemptsToRecovery,
		m.TaskRetries, m.TicksSkipped, m.Sweeps, m.SweepDuration, m.SweepCalls, m.LastSuccess, m.NextSweep, m.PolicyInfo,
	} {
		v.DeletePartialMatch(labels)
	}
}

// RemoveConnection takes the series of a connection away.
func (m *Metrics) RemoveConnection(name string) {
	labels := prometheus.Labels{"connection": name}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.Requests, m.RequestDuration, m.Throttled, m.RateLimit, m.ConnectionUp, m.Surprises, m.ClockOffset,
		m.CredentialsEnd, m.OldestOpen, m.LeaseHeld, m.Asked, m.Logins,
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
