package grafana_test

func daemon() dashboard {
	return newDashboard("retryd-daemon", "retryd: the daemon", "Whether retryd itself is well: its calls, sweeps, ledger, leases, configuration, notices and process.",
		"now-6h", "30s", variables(policyVariable), []row{
			{"Now", daemonNow()},
			{"Calls of the platform", append(daemonCalls(), daemonTrust()...)},
			{"Sweeps", daemonSweeps()},
			{"Ledger", daemonLedger()},
			{"Replicas, configuration, people", daemonWorld()},
			{"Process", daemonProcess()},
		})
}

func daemonNow() []*panel {
	return []*panel{
		number("Scraped", "none", "Whether Prometheus could read each instance's metrics the last time.",
			query("{{instance}}", `max by (instance) (up{INSTANCE})`)).from("red", at(1, "green")).says(map[string]object{"0": word("down", "red", 0), "1": word("up", "green", 1)}),
		number("Connections down", "short", "Connections whose tasks could not be read the last time. The panel Connections that are down says why.",
			query("down", `count(max by (job, connection) (retryd_connection_up{CONNECTION}) == 0) or vector(0)`)).from("green", at(1, "red")),
		number("Driven by nobody", "short", "Connections that no replica drives: nothing is swept there. For as long as a lease lasts this can be so when a replica has died.",
			query("connections", `count(sum by (job, connection) (retryd_lease_held{CONNECTION}) == 0) or vector(0)`)).from("green", at(1, "red")),
		number("Last reload", "none", "Whether the last reload took the configuration. Where it was refused, the one before is still in force; `retryd reload` says what is wrong.",
			query("{{instance}}", `min by (instance) (retryd_config_last_reload_successful{INSTANCE})`)).
			from("red", at(1, "green")).says(map[string]object{"0": word("refused", "red", 0), "1": word("taken", "green", 1)}),
		number("Ledger", "none", "Whether damage of the ledger was met since the start. The instance is not ready then; `retryd ledger check` says what is wrong.",
			query("{{instance}}", `max by (instance) (retryd_ledger_damaged{INSTANCE})`)).
			from("green", at(1, "red")).says(map[string]object{"0": word("sound", "green", 0), "1": word("damaged", "red", 1)}),
		number("Failed calls", "percentunit", "Part of the calls of the platform that got no answer, or one that is no success, over the range that is shown.",
			query("failed", `sum(increase(retryd_api_requests_total{CONNECTION, code!~"2.."}[$__range])) / (sum(increase(retryd_api_requests_total{CONNECTION}[$__range])) > 0)`)).
			ratio().empty("no calls").from("green", at(0.01, "orange"), at(0.1, "red")),
		table("What runs", "Version, configuration and start of each instance. Replicas should have one version and one configuration, but for a while a new one is rolled out.",
			query("", `max by (instance, version, goversion) (retryd_build_info{INSTANCE})`),
			query("", `max by (instance, hash) (retryd_config_info{INSTANCE})`),
			query("", `1000 * max by (instance) (retryd_config_last_reload_success_timestamp_seconds{INSTANCE})`),
			query("", `1000 * max by (instance) (process_start_time_seconds{INSTANCE})`),
			query("", `1000 * max by (instance) (retryd_ledger_created_timestamp_seconds{INSTANCE})`),
		).tall(5).columns("instance", "instance", "version", "version", "goversion", "Go", "hash", "configuration", "Value #C", "in force since", "Value #D", "running since", "Value #E", "ledger made").
			hideColumns("Value #A", "Value #B").
			column("in force since", "dateTimeAsIso").column("running since", "dateTimeAsIso").column("ledger made", "dateTimeAsIso"),
	}
}

func daemonCalls() []*panel {
	const calls, took = "retryd_api_requests_total", "retryd_api_request_duration_seconds"
	return []*panel{
		history("Calls by code", "reqps", "Calls of the platform's API by HTTP status; error where no whole reply came.",
			query("{{code}}", `sum by (code) (rate(`+calls+`{CONNECTION}[$__rate_interval]))`)).stacked().colors("200", "green", "429", "orange", "error", "red"),
		history("Calls by operation", "reqps", "Calls of the platform's API, by the platform's name of the operation.",
			query("{{operation}}", `sum by (operation) (rate(`+calls+`{CONNECTION}[$__rate_interval]))`)).stacked(),
		history("Calls that failed, by operation", "percentunit", "Part of each operation's calls that got no answer, or one that is no success.",
			query("{{operation}}", `sum by (operation) (rate(`+calls+`{CONNECTION, code!~"2.."}[$__rate_interval])) / (sum by (operation) (rate(`+calls+`{CONNECTION}[$__rate_interval])) > 0)`)).ratio().empty("no calls"),
		history("How long calls take", "s", "Duration of one call, over all operations.",
			quantiles(took, "CONNECTION", "rate", "", "", 0.5, 0.9, 0.99)...),
		history("How long calls take, by operation", "s", "Nine of ten calls of the operation took no longer.",
			quantiles(took, "CONNECTION", "rate", ", operation", ": {{operation}}", 0.9)...),
		history("Limit in use", "percentunit", "Calls of a connection, of those that it may make. The ten that use the most. Connections that share a budget share its limit.",
			query("{{connection}} ({{job}})", `topk(10, sum by (job, connection) (rate(`+calls+`{CONNECTION}[$__rate_interval])) / min by (job, connection) (retryd_rate_limit{CONNECTION}))`)).
			from("green", at(0.9, "orange")),
		history("Rate limit", "reqps", "Calls a second that a connection may make, which throttling lowers for a while. The ten with the lowest.",
			query("{{connection}} ({{job}})", `bottomk(10, min by (job, connection) (retryd_rate_limit{CONNECTION}))`)).steps(),
	}
}

func daemonTrust() []*panel {
	return []*panel{
		history("Calls that were throttled, per hour", "short", "Calls that the platform answered with flow control: requests_per_second is more than it grants, or others use up the same quota. The ten connections with the most.",
			query("{{connection}} ({{job}})", `topk(10, 3600 * sum by (job, connection) (rate(retryd_api_throttled_total{CONNECTION}[$__rate_interval])))`)).stacked(),
		history("Connections that are down", "short", "Those whose tasks could not be read the last time, with the class of the error as the reason. `retryd check --connect` says what to do.",
			query("{{connection}} ({{job}}): {{reason}}", `max by (job, connection, reason) (1 - retryd_connection_up{CONNECTION}) > 0`)).stacked().steps().empty("all are up"),
		history("Surprises, per hour", "short", "Replies that contradict what is known of the platform. Any is worth a look at the log.",
			query("{{kind}}", `3600 * sum by (kind) (rate(retryd_platform_surprises_total{CONNECTION}[$__rate_interval]))`)).wide(6).stacked(),
		history("Clock", "s", "How far the ledger's clock is ahead of the platform's. The platform refuses signatures of a clock that is far off. The five connections farthest to either side.",
			query("{{connection}} ({{job}})", `topk(5, max by (job, connection) (retryd_clock_offset_seconds{CONNECTION})) or bottomk(5, max by (job, connection) (retryd_clock_offset_seconds{CONNECTION}))`)).wide(6).signed(),
		history("Credentials end in", "s", "Until the token or temporary key of the last call ends, where that is known. A token that retryd renews by a login rises again by itself. The ten connections with the least.",
			query("{{connection}} ({{job}})", `bottomk(10, min by (job, connection) (retryd_credentials_expiry_timestamp_seconds{CONNECTION}) - time())`)).wide(6).signed().
			from("red", at(0, "orange"), at(3600, "green")).empty("they do not end, or it is not known when"),
		history("Logins at IAM, per hour", "short", "By result. Only connections with auth.iam log in.",
			query("{{result}}", `3600 * sum by (result) (rate(retryd_logins_total{CONNECTION}[$__rate_interval]))`)).wide(6).stacked().
			colors("accepted", "green", "refused", "red", "failed", "orange").empty("no connection logs in"),
	}
}

func daemonSweeps() []*panel {
	const took, calls = "retryd_sweep_duration_seconds", "retryd_sweep_api_calls"
	return []*panel{
		history("How long sweeps take", "s", "Duration of a sweep. One that takes longer than the policy's period makes ticks collapse.",
			quantiles(took, "POLICY", "rate", "", "", 0.5, 0.9, 0.99)...),
		ranking("How long sweeps take, by policy", "s", "Nine of ten sweeps took no longer, over the range that is shown. The ten policies with the longest.",
			slowest(took, "POLICY", "increase", ", job, connection, policy", "{{policy}} on {{connection}} ({{job}})", 0.9)).tall(8).empty("no sweeps"),
		history("Calls per sweep", "none", "Calls of the platform's API that one sweep made.",
			quantiles(calls, "POLICY", "rate", "", "", 0.5, 0.9, 0.99)...),
		history("Sweeps per hour", "short", "By result: a partial one could not read everything, a failed one nothing.",
			query("{{result}}", `3600 * sum by (result) (rate(retryd_sweeps_total{POLICY}[$__rate_interval]))`)).wide(12).stacked().
			colors("complete", "green", "partial", "orange", "failed", "red"),
		history("Oldest attempt without an outcome", "s", "The ten connections with the oldest. It is closed after attempts.stale_after.",
			query("{{connection}} ({{job}})", `topk(10, time() - min by (job, connection) (retryd_oldest_open_attempt_timestamp_seconds{CONNECTION}))`)).wide(12).empty("none is open"),
	}
}

func daemonLedger() []*panel {
	return []*panel{
		history("Size", "bytes", "Size of the ledger's file, or of PostgreSQL's whole database.",
			query("{{instance}}", `max by (instance) (retryd_ledger_size_bytes{INSTANCE})`)),
		history("Write-ahead log", "bytes", "Size of the ledger's write-ahead log, on SQLite. It is folded back from time to time; one that only grows is held up by a reader that does not end.",
			query("{{instance}}", `max by (instance) (retryd_ledger_wal_bytes{INSTANCE})`)),
		history("How long writes take", "s", "Duration of one transaction that writes the ledger, to the disk's own answer.",
			quantiles("retryd_ledger_write_duration_seconds", "INSTANCE", "rate", "", "", 0.5, 0.9, 0.99)...),
		history("Errors per hour", "short", "Transactions that failed, reads that failed, and writes that were refused because another replica drives the budget now. The last are how a handover looks; the others are not.",
			query("writes", `3600 * sum(rate(retryd_ledger_errors_total{INSTANCE}[$__rate_interval]))`),
			query("reads", `3600 * sum(rate(retryd_ledger_read_errors_total{INSTANCE}[$__rate_interval]))`),
			query("fenced", `3600 * sum(rate(retryd_ledger_fenced_total{INSTANCE}[$__rate_interval]))`)).wide(24).stacked().
			colors("writes", "red", "reads", "orange", "fenced", "blue"),
	}
}

func daemonWorld() []*panel {
	return []*panel{
		history("Connections driven", "short", "By instance: how many connections each replica drives.",
			query("{{instance}}", `sum by (instance) (retryd_lease_held{CONNECTION})`)).stacked().steps(),
		history("Notices per hour", "short", "Digests by receiver: sent, tries that failed, and notices that were dropped because they were a day old.",
			query("{{name}} {{result}}", `3600 * sum by (name, result) (rate(retryd_notifications_total{INSTANCE}[$__rate_interval]))`)).stacked().empty("nobody is told"),
		history("Requests by hand, per hour", "short", "What people asked for with `retryd retry`, `retryd sweep` or the page, by what became of it.",
			query("{{kind}} {{result}}", `3600 * sum by (kind, result) (rate(retryd_manual_requests_total{CONNECTION}[$__rate_interval]))`)).stacked(),
	}
}

func daemonProcess() []*panel {
	return []*panel{
		history("CPU", "short", "Processor cores in use.",
			query("{{instance}}", `sum by (instance) (rate(process_cpu_seconds_total{INSTANCE}[$__rate_interval]))`)),
		history("Memory", "bytes", "Resident, and of that what Go's heap has in use.",
			query("resident {{instance}}", `max by (instance) (process_resident_memory_bytes{INSTANCE})`),
			query("heap {{instance}}", `max by (instance) (go_memstats_heap_inuse_bytes{INSTANCE})`)),
		history("Goroutines", "short", "A number that only grows is a leak.",
			query("{{instance}}", `max by (instance) (go_goroutines{INSTANCE})`)),
		history("Pauses of the garbage collector", "percentunit", "Part of the time in which Go's runtime stopped the program.",
			query("{{instance}}", `sum by (instance) (rate(go_gc_duration_seconds_sum{INSTANCE}[$__rate_interval]))`)),
		history("Memory made anew", "Bps", "Bytes that are allocated in a second, most of them for a short time.",
			query("{{instance}}", `sum by (instance) (rate(go_memstats_alloc_bytes_total{INSTANCE}[$__rate_interval]))`)),
		history("Open files", "percentunit", "Of those that the process may have open. Connections count too.",
			query("{{instance}}", `max by (instance) (process_open_fds{INSTANCE} / process_max_fds{INSTANCE})`)).ratio(),
	}
}
