package config

import "time"

type rawNotify struct {
	at
	// For logs, metrics and `retryd notify test`. A receiver that is renamed is a new one: it is
	// told of what happens from then on.
	Name string `key:"name" example:"fleet"`
	// Where digests are sent, or its file. Whoever has the address of a Slack webhook can write
	// to its channel, so it is a secret. http is for loopback only.
	URL     Secret `key:"url" example:"${RETRYD_SLACK_URL}"`
	URLFile string `key:"url_file" example:"/etc/retryd/slack"`
	// slack is what Slack's incoming webhooks take; Mattermost's show its first line. json is
	// retryd's own.
	Format string `key:"format" one:"slack|json"`
	// What it is told of.
	Events []string `key:"events" one:"exhausted|permanent|expired|halted|connection_down|connection_up|awaiting_approval"`
	// `all`, or a list of names. A connection's events are for those whose policies use it.
	Policies rawNames `key:"policies"`
	// A digest has what happens within this time of its first event. 0s = each at once.
	Batch time.Duration `key:"batch"`
	// Signs each digest, of format json, or its file.
	Secret     Secret `key:"secret" example:"${RETRYD_NOTIFY_SECRET}"`
	SecretFile string `key:"secret_file"`
	// Of one request.
	Timeout time.Duration `key:"timeout"`
}

func (r *rawNotify) defaults() {
	r.Format, r.Policies.all, r.Batch, r.Timeout = "slack", true, 5*time.Minute, 10*time.Second
	r.Events = []string{"exhausted", "permanent", "expired", "halted", "connection_down", "connection_up", "awaiting_approval"}
}
