package config

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) connections(r *rawFile) []Connection {
	if len(r.Connections) == 0 && !wrongKind(r.at, "connections") {
		d.problem(r.of("connections"), "connections is missing or empty: at least one is needed")
	}
	names, identities := map[string]*yaml.Node{}, map[string]Connection{}
	connections := make([]Connection, 0, len(r.Connections))
	for i := range r.Connections {
		raw := &r.Connections[i]
		if raw.node == nil {
			continue // it is no mapping, which has been said
		}
		d.name(raw.at, "connection", "connections", raw.Name, names)
		c := d.connection(raw)
		connections = append(connections, c)
		if c.Endpoint == "" || c.ProjectID == "" {
			continue
		}
		u, _ := url.Parse(c.Endpoint)
		identity := strings.ToLower(u.Host) + " " + c.InstanceID + " " + c.ProjectID
		if first, taken := identities[identity]; taken {
			d.problem(raw.node, "connections %q and %q are the same instance and project: each task would be swept twice", first.Name, c.Name)
		}
		identities[identity] = c
	}
	return connections
}

var projectForm = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)

func (d *decoder) connection(r *rawConnection) Connection {
	c := Connection{
		Name: r.Name, Region: r.Region, ProjectID: r.ProjectID, InstanceID: r.InstanceID, RequestsPerSecond: r.RequestsPerSecond,
		Burst: r.Burst, Concurrency: r.Concurrency, Timeout: r.Timeout, Backoff: d.backoff(r.Backoff),
	}
	c.Endpoint = d.endpoint(r)
	if c.Region == "" {
		c.Region = regionOf(c.Endpoint)
	}
	if d.required(r.at, "project_id", r.ProjectID, "the 32 hex digits of the project in the console's My Credentials") && !projectForm.MatchString(r.ProjectID) {
		d.problem(r.of("project_id"), "project_id must be letters and digits, such as 0123456789abcdef0123456789abcdef, not %q", clip(r.ProjectID))
	}
	d.positive(r.at, "requests_per_second", r.RequestsPerSecond > 0)
	d.positive(r.at, "burst", r.Burst > 0)
	d.between(r.at, "concurrency", float64(r.Concurrency), 1, 100)
	d.positive(r.at, "timeout", r.Timeout > 0)
	if r.CAFile != "" {
		if c.CAFile = d.path(r.CAFile); !exists(c.CAFile) {
			d.problem(r.of("ca_file"), "ca_file does not exist: %s", c.CAFile)
		}
	}
	c.Auth = d.auth(r, c)
	return c
}

func (d *decoder) backoff(r rawBackoff) Backoff {
	d.positive(r.at, "initial", r.Initial > 0)
	d.positive(r.at, "max_elapsed", r.MaxElapsed > 0)
	d.checkBackoff(r.at, r.Multiplier, r.Jitter, r.Max < r.Initial)
	return Backoff{Initial: r.Initial, Multiplier: r.Multiplier, Max: r.Max, MaxElapsed: r.MaxElapsed, Jitter: r.Jitter}
}

func (d *decoder) checkBackoff(a at, multiplier, jitter float64, maxIsLess bool) {
	if a.node == nil {
		return // the defaults
	}
	d.between(a, "multiplier", multiplier, 1, 100)
	d.between(a, "jitter", jitter, 0, 1)
	if maxIsLess {
		d.problem(a.of("max"), "max is less than initial")
	}
}

const endpointHint = "https:// and the host that the console's Overview shows as application access address"

func (d *decoder) endpoint(r *rawConnection) string {
	if !d.required(r.at, "endpoint", r.Endpoint, endpointHint) {
		return ""
	}
	place := r.of("endpoint")
	u, err := url.Parse(r.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "https" && u.Scheme != "http") {
		d.problem(place, "endpoint must be scheme://host or scheme://host:port and nothing more: %s", endpointHint)
		return ""
	}
	switch host := u.Hostname(); {
	case u.Scheme == "http" && !loopback(host):
		d.problem(place, "endpoint is http, which would show keys to the network: use https (http is for loopback only)")
	case strings.Contains(host, "iotda-device"):
		d.problem(place, "endpoint is the address for devices: use the one for applications, with iotda-app in it")
	}
	return u.Scheme + "://" + u.Host
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

var (
	regionIn = regexp.MustCompile(`\.([a-z]{2,}-[a-z]+-\d{1,2})\.my(?:huaweicloud|hwclouds)\.`)
	// basicHost is what the SDK signs in the basic form [sdk derived_icredential.go].
	basicHost = regexp.MustCompile(`^https://[a-z][a-z0-9-]+(\.[a-z]{2,}-[a-z]+-\d{1,2})?\.(my)?(huaweicloud|myhwclouds)\.(com|cn)`)
)

func regionOf(endpoint string) string {
	if m := regionIn.FindStringSubmatch(endpoint); m != nil {
		return m[1]
	}
	return ""
}

func (d *decoder) auth(r *rawConnection, c Connection) Auth {
	raw := r.Auth
	switch aksk, token := raw.has("aksk"), raw.has("token"); {
	case !r.has("auth"):
		d.problem(r.node, "auth is missing: it holds aksk, with access_key and secret_key, or token")
		return Auth{}
	case raw.node == nil:
		return Auth{}
	case aksk == token:
		d.problem(raw.node, "auth needs exactly one of aksk and token")
		return Auth{}
	case aksk:
		return d.aksk(raw.AKSK, r, c)
	}
	return d.token(raw.Token)
}

func (d *decoder) aksk(r rawAKSK, parent *rawConnection, c Connection) Auth {
	if r.node == nil {
		return Auth{}
	}
	for _, key := range []string{"access_key", "secret_key"} {
		if !r.has(key) && !r.has(key+"_file") {
			d.problem(r.node, "%s is missing: set it or %s_file", key, key)
		}
	}
	if r.Signing == "" && !r.has("signing") {
		r.Signing = "auto"
	}
	d.oneOf(r.at, "signing", r.Signing, []string{"auto", "basic", "derived"})
	derived := r.Signing == "derived" || (r.Signing == "auto" && c.Endpoint != "" && !basicHost.MatchString(c.Endpoint))
	if derived && c.Region == "" && c.Endpoint != "" {
		d.problem(parent.node, "region is missing: the endpoint does not say it, and derived signing needs it, such as cn-north-4")
	}
	return Auth{
		AccessKey:     d.secret(r.at, "access_key", r.AccessKey, r.AccessKeyFile),
		SecretKey:     d.secret(r.at, "secret_key", r.SecretKey, r.SecretKeyFile),
		SecurityToken: d.secret(r.at, "security_token", r.SecurityToken, r.SecurityTokenFile),
		Signing:       r.Signing,
	}
}

func (d *decoder) token(r rawToken) Auth {
	switch {
	case r.node == nil:
	case r.has("file") == r.has("value"):
		d.problem(r.node, "token needs exactly one of file and value")
	case r.has("value") && r.Value == "":
		d.problem(r.of("value"), "value is empty")
	case r.has("value"):
		d.warn(r.of("value"), "a token ends after 24 hours: with token.file a renewed one is used at once")
	case !exists(d.path(r.File)):
		d.warn(r.of("file"), "the token's file does not exist yet: %s", d.path(r.File))
	}
	if r.File == "" {
		return Auth{Token: r.Value}
	}
	return Auth{TokenFile: d.path(r.File)}
}
