package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

// Receiver is who is told of what happens.
type Receiver struct {
	Name        string
	URL         Secret
	Format      string   // slack or json
	Events      []string // of which it is told
	All         bool     // of every policy, and of every connection
	Policies    []string // else of these
	Connections []string // and of those that they use
	Batch       time.Duration
	Secret      Secret // of the signature; empty = there is none
	Timeout     time.Duration
}

// longestBatch leaves room to try again before a notice is too old.
const longestBatch = 12 * time.Hour

func (d *decoder) receivers(r *rawFile, policies []*policy.Policy) []Receiver {
	known := map[string]*yaml.Node{}
	for _, raw := range r.Policies {
		if raw.node != nil {
			known[raw.Name] = raw.node
		}
	}
	names := map[string]*yaml.Node{}
	var receivers []Receiver
	for i := range r.Notify {
		raw := &r.Notify[i]
		if raw.node == nil {
			continue
		}
		d.name(raw.at, "receiver", "receivers", raw.Name, names)
		d.known(raw.Policies, known)
		if raw.Timeout < time.Second || raw.Timeout > time.Minute {
			d.problem(raw.of("timeout"), "timeout must be between 1s and 1m")
		}
		if raw.Batch > longestBatch {
			d.problem(raw.of("batch"), "batch must be 12h at most: what is a day old is not sent any more")
		}
		receiver := Receiver{
			Name: raw.Name, URL: d.receiverURL(raw), Format: raw.Format, Events: raw.Events, All: raw.Policies.all, Policies: raw.Policies.names,
			Batch: raw.Batch, Secret: d.secret(raw.at, "secret", raw.Secret, raw.SecretFile), Timeout: raw.Timeout,
		}
		d.signed(raw)
		for _, p := range policies {
			if slices.Contains(receiver.Policies, p.Name) {
				receiver.Connections = append(receiver.Connections, p.Connections...)
			}
		}
		receivers = append(receivers, receiver)
	}
	return receivers
}

// receiverURL never quotes what it looks at.
func (d *decoder) receiverURL(r *rawNotify) Secret {
	if !r.has("url") && !r.has("url_file") {
		d.problem(r.node, "url is missing: set it or url_file")
		return ""
	}
	place, key := r.of("url"), "url"
	if r.has("url_file") {
		place, key = r.of("url_file"), "what is in url_file"
	}
	text := strings.TrimSpace(d.secret(r.at, "url", r.URL, r.URLFile).Reveal())
	if d.told[place] {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		d.problem(place, "%s must be an address such as https://hooks.slack.com/services/…", key)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		d.problem(place, "%s is http, which would show digests and the address itself to the network: use https (http is for loopback only)", key)
	}
	return Secret(text)
}

func (d *decoder) signed(r *rawNotify) {
	switch has := r.has("secret") || r.has("secret_file"); {
	case has && r.Format == "slack":
		place := r.of("secret")
		if r.has("secret_file") {
			place = r.of("secret_file")
		}
		d.problem(place, "a secret signs digests of format json; Slack does not look at signatures")
	case !has && r.Format == "json":
		d.warn(r.node, "whoever knows the receiver's address can send it what looks like a digest: secret_file has them signed")
	}
}

// externalURL gives the address that links in digests begin with, without a slash at its end.
func (d *decoder) externalURL(r rawServer) string {
	if r.ExternalURL == "" {
		return ""
	}
	u, err := url.Parse(r.ExternalURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		d.problem(r.of("external_url"), "external_url must be where people reach retryd, such as https://retryd.example.com, without user, query and fragment")
		return ""
	}
	return strings.TrimRight(u.String(), "/")
}
