package grafana_test

// outcomes are the colours of how targets and attempts end, the same in every panel.
var outcomes = []string{
	"recovered", "green", "exhausted", "red", "permanent", "dark-red", "expired", "orange", "gone", "text", "resolved_elsewhere", "blue", "failed", "red",
}

const (
	recovered = `retryd_targets_closed_total{POLICY, outcome="recovered"}`
	givenUp   = `retryd_targets_closed_total{POLICY, outcome=~"exhausted|permanent|expired"}`
	ended     = `retryd_targets_closed_total{POLICY, outcome=~"recovered|exhausted|permanent|expired"}`
	// tasks and targets come from the replica that drives the connection; while that changes, two may have them.
	// Each job has a ledger of its own, and its connections may have the names of another's.
	tasks   = `max by (job, connection, policy, state) (retryd_tasks{POLICY})`
	targets = `max by (job, connection, policy, reason) (retryd_targets{POLICY})`
)

func fleet() dashboard {
	return newDashboard("retryd-fleet", "retryd: fleet remediation", "What recovers, what does not and why, how fast, and what waits for a person.",
		"now-7d", "1m", variables(policyVariable), []row{
			{"Now, and over the range that is shown", fleetNow()},
			{"What recovers", fleetRecovers()},
			{"What does not, and why", fleetFails()},
			{"How fast", fleetSpeed()},
			{"Where targets and tasks stand", fleetStand()},
			{"Sweeps", fleetSweeps()},
		})
}

func fleetNow() []*panel {
	return []*panel{
		number("Recovered", "short", "Targets that read as Success after an attempt, over the range that is shown.",
			query("recovered", `sum(increase(`+recovered+`[$__range]))`)).counts().from("green"),
		number("Given up", "short", "Targets that nobody will retry again by itself: all attempts used (exhausted), a failure that no retry mends (permanent), or too old (expired). Over the range that is shown.",
			query("given up", `sum(increase(`+givenUp+`[$__range]))`)).counts().from("green", at(1, "orange")),
		number("Recovery ratio", "percentunit", "Recovered, of those that recovered or were given up, over the range that is shown. Targets that vanished or were mended elsewhere are left out.",
			query("ratio", `sum(increase(`+recovered+`[$__range])) / (sum(increase(`+ended+`[$__range])) > 0)`)).
			ratio().empty("none ended").from("red", at(0.5, "orange"), at(0.8, "green")),
		number("Tasks held up", "short", "Tasks of which nothing is retried until a person acts: halted for the firmware's sake, or waiting to be approved. As of each policy's last complete sweep.",
			query("{{state}}", `sum by (state) (max by (job, connection, policy, state) (retryd_tasks{POLICY, state=~"halted|awaiting_approval"}))`)).
			wide(6).from("green", at(1, "orange")),
		number("To be retried", "short", "Failed targets that a coming sweep may retry without anybody's help: due, resting, offline, over a limit, outside the window, or with an attempt under way. As of each policy's last complete sweep.",
			query("to be retried", `sum(max by (job, connection, policy, reason) (retryd_targets{POLICY, reason=~"due|backoff|offline|capped|outside_window|in_flight"}))`)).wide(3),
		number("Connections down", "short", "Connections whose tasks could not be read the last time. Nothing is retried there meanwhile.",
			query("down", `count(max by (job, connection) (retryd_connection_up{CONNECTION}) == 0) or vector(0)`)).wide(3).from("green", at(1, "red")),
	}
}

func fleetRecovers() []*panel {
	return []*panel{
		history("Targets that ended, per hour", "short", "By how they ended. What is given up is counted once for each number of attempts it had by then.",
			query("{{outcome}}", `3600 * sum by (outcome) (rate(retryd_targets_closed_total{POLICY}[$__rate_interval]))`)).wide(12).stacked().colors(outcomes...),
		history("Attempts that ended, per hour", "short", "By what became of them: recovered reads as Success, failed failed again, gone has vanished with its task.",
			query("{{outcome}}", `3600 * sum by (outcome) (rate(retryd_attempts_settled_total{POLICY}[$__rate_interval]))`)).wide(12).stacked().colors(outcomes...),
		history("Requests to retry, per hour", "short", "Targets by what the request for them came to. Of unknown ones the answer was lost: they count against attempts.max. Released ones had no effect and do not.",
			query("{{result}}", `3600 * sum by (result) (rate(retryd_attempts_total{POLICY}[$__rate_interval]))`)).stacked().
			colors("accepted", "green", "rejected", "orange", "unknown", "red", "released", "text"),
		history("Recovery ratio of the day: the worst", "percentunit", "Recovered, of those that recovered or were given up within the 24 hours before. The ten policies with the lowest.",
			query("{{policy}} on {{connection}} ({{job}})", `bottomk(10, sum by (job, connection, policy) (increase(`+recovered+`[1d])) / (sum by (job, connection, policy) (increase(`+ended+`[1d])) > 0))`)).
			ratio().empty("none ended"),
		history("Whole tasks re-run, per hour", "short", "By policies in targets.mode all, by what became of the task. Their targets are not known one by one and are in no other panel.",
			query("{{outcome}}", `3600 * sum by (outcome) (rate(retryd_task_retries_total{POLICY}[$__rate_interval]))`)).stacked().colors(outcomes...),
	}
}

func fleetFails() []*panel {
	return []*panel{
		history("Failures by class, per hour", "short", "Failed and rejected attempts by what kind of thing failed. Halts look at firmware.",
			query("{{class}}", `3600 * sum by (class) (rate(retryd_failures_total{POLICY}[$__rate_interval]))`)).stacked(),
		ranking("Causes of failures", "short", "Failed and rejected attempts by the rule that matched their error, over the range that is shown: the ten that matched most.",
			query("{{rule}} ({{class}})", `topk(10, sum by (rule, class) (increase(retryd_failures_total{POLICY}[$__range])) > 0)`)).counts().empty("no failures"),
		ranking("Given up, by policy and task type", "short", "Over the range that is shown: the ten with the most.",
			query("{{policy}} on {{connection}} ({{job}}): {{task_type}}, {{outcome}}", `topk(10, sum by (job, connection, policy, task_type, outcome) (increase(`+givenUp+`[$__range])) > 0)`)).
			counts().empty("nothing given up"),
	}
}

func fleetSpeed() []*panel {
	const recovery, attempts = "retryd_time_to_recovery_seconds", "retryd_attempts_to_recovery"
	return []*panel{
		ranking("Time to recovery", "s", "From a target's first attempt to its recovery, over the range that is shown. Half of the targets that recovered took no longer than p50.",
			quantiles(recovery, "POLICY", "increase", "", "", 0.5, 0.9, 0.99)...).empty("none recovered"),
		ranking("Time to recovery, by policy", "s", "Nine of ten targets that recovered took no longer, over the range that is shown. The ten policies with the longest.",
			slowest(recovery, "POLICY", "increase", ", job, connection, policy", "{{policy}} on {{connection}} ({{job}})", 0.9)).empty("none recovered"),
		ranking("Attempts to recovery", "none", "Attempts that targets took to recover, over the range that is shown. Parts of an attempt come from how histograms are read.",
			quantiles(attempts, "POLICY", "increase", "", "", 0.5, 0.9, 0.99)...).empty("none recovered"),
	}
}

func fleetStand() []*panel {
	return []*panel{
		ranking("Verdicts now", "short", "Targets by the reason of their verdict in each policy's last complete sweep. docs/deciding.md explains each reason; `retryd explain DEVICE` does for one device.",
			query("{{reason}}", `sort_desc(sum by (reason) (`+targets+`) > 0)`)).tall(10).empty("no targets"),
		history("Verdicts", "short", "Targets by the reason of their verdict in each policy's last complete sweep.",
			query("{{reason}}", `sum by (reason) (`+targets+`) > 0`)).tall(10).stacked().right().steps().empty("no targets"),
		history("Tasks", "short", "Batch tasks by state, as of each policy's last complete sweep: active ones are open to retries, and the others would be.",
			query("{{state}}", `sum by (state) (`+tasks+`)`)).tall(10).stacked().steps().colors("active", "green", "halted", "red", "paused", "blue", "awaiting_approval", "orange"),
	}
}

func fleetSweeps() []*panel {
	moment := []object{{"id": "custom.width", "value": 170}}
	return []*panel{
		table("Policies", "Where each policy stands. What recovered and what was given up is over the range that is shown.",
			query("", `max by (job, connection, policy, schedule) (retryd_policy_info{POLICY})`),
			query("", `1000 * max by (job, connection, policy) (retryd_policy_last_success_timestamp_seconds{POLICY})`),
			query("", `1000 * max by (job, connection, policy) (retryd_policy_next_sweep_timestamp_seconds{POLICY})`),
			query("", `sum by (job, connection, policy) (increase(`+recovered+`[$__range]))`),
			query("", `sum by (job, connection, policy) (increase(`+givenUp+`[$__range]))`),
			query("", `sum by (job, connection, policy) (max by (job, connection, policy, state) (retryd_tasks{POLICY, state="halted"}))`),
		).counts().
			columns("job", "job", "connection", "connection", "policy", "policy", "schedule", "schedule", "Value #B", "last complete sweep", "Value #C", "next sweep",
				"Value #D", "recovered", "Value #E", "given up", "Value #F", "halted tasks").hideColumns("Value #A").
			column("last complete sweep", "dateTimeFromNow", moment...).column("next sweep", "dateTimeFromNow", moment...),
		history("Since the last complete sweep", "s", "The ten policies that were not swept for longest. Hold it against the policy's schedule: two missed sweeps are worth a look.",
			query("{{policy}} on {{connection}} ({{job}})", `topk(10, time() - max by (job, connection, policy) (retryd_policy_last_success_timestamp_seconds{POLICY}))`)).empty("no complete sweep yet"),
		history("Sweeps per hour", "short", "By result: a partial one could not read everything, a failed one nothing.",
			query("{{result}}", `3600 * sum by (result) (rate(retryd_sweeps_total{POLICY}[$__rate_interval]))`)).stacked().
			colors("complete", "green", "partial", "orange", "failed", "red"),
		history("Ticks that were not swept, per hour", "short", "downtime: retryd was away for longer than catch_up. collapsed: a later tick was due already, and one sweep does for both.",
			query("{{why}}", `3600 * sum by (why) (rate(retryd_ticks_skipped_total{POLICY}[$__rate_interval]))`)).stacked(),
	}
}
