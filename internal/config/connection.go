package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) connections(r *rawFile, all *Config) []Connection {
	if len(r.Connections) == 0 && !wrongKind(r.at, "connections") && !d.misspelt[keyIn{r.node, "connections"}] {
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
		c := d.connection(raw, all)
		connections = append(connections, c)
		if c.Endpoint == "" || c.ProjectID == "" {
			continue
		}
		if first, taken := identities[c.Identity()]; taken {
			d.problem(raw.node, "connections %q and %q are the same instance and project: each task would be swept twice", first.Name, c.Name)
		}
		identities[c.Identity()] = c
	}
	return connections
}

var projectForm = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)

func (d *decoder) connection(r *rawConnection, all *Config) Connection {
	c := Connection{
		Name: r.Name, Region: r.Region, ProjectID: r.ProjectID, InstanceID: r.InstanceID, RequestsPerSecond: r.RequestsPerSecond,
		Labels: r.Labels, Budget: d.budget(r, all), Burst: r.Burst, Concurrency: r.Concurrency, Timeout: r.Timeout, Backoff: d.backoff(r.Backoff),
	}
	c.Endpoint = d.endpoint(r)
	d.wary(r, c)
	if c.Region == "" {
		c.Region = RegionOf(c.Endpoint)
		r.Region, r.from = c.Region, map[string]string{"region": "from the endpoint"}
	}
	if d.required(r.at, "project_id", r.ProjectID, "the 32 hex digits of the project in the console's My Credentials") && !projectForm.MatchString(r.ProjectID) {
		d.problem(r.of("project_id"), "project_id must be letters and digits, such as 0123456789abcdef0123456789abcdef, not %q", clip(r.ProjectID))
	}
	d.rate(r.at, r.RequestsPerSecond)
	d.positive(r.at, "burst", r.Burst > 0)
	d.between(r.at, "concurrency", float64(r.Concurrency), 1, 100)
	d.positive(r.at, "timeout", r.Timeout > 0)
	if r.CAFile != "" {
		c.CAFile = d.path(r.of("ca_file"), r.CAFile)
		if data, ok := d.read(r.of("ca_file"), "ca_file", r.CAFile); ok {
			c.CASum = hashOf(string(data))
		}
	}
	c.Auth = d.auth(r, c)
	c.Hash = hashOf(c)
	return c
}

func (d *decoder) budget(r *rawConnection, c *Config) string {
	if r.Budget == "" {
		return ""
	}
	names := make([]string, len(c.Budgets))
	for i, b := range c.Budgets {
		names[i] = b.Name
	}
	if !slices.Contains(names, r.Budget) {
		d.problem(r.of("budget"), "there is no budget %q%s", clip(r.Budget), suggest(r.Budget, names, "there are"))
	}
	if r.has("requests_per_second") || r.has("burst") {
		d.problem(r.of("budget"), "budget and requests_per_second or burst are both set: the budget has its own")
	}
	return r.Budget
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

// RegionOf gives the region that an endpoint's host names, empty where it names none.
func RegionOf(endpoint string) string {
	if m := regionIn.FindStringSubmatch(endpoint); m != nil {
		return m[1]
	}
	return ""
}

func (d *decoder) auth(r *rawConnection, c Connection) Auth {
	raw := r.Auth
	chosen := 0
	for _, key := range []string{"aksk", "token", "iam", "provider"} {
		if raw.has(key) {
			chosen++
		}
	}
	switch {
	case !r.has("auth"):
		d.needsRegion(r, c, "auto")
		return Auth{Provider: "chain", Signing: "auto"}
	case raw.node == nil:
		return Auth{}
	case chosen != 1:
		d.problem(raw.node, "auth needs exactly one of aksk, token, iam and provider")
		return Auth{}
	case raw.has("aksk"):
		return d.aksk(raw.AKSK, r, c)
	case raw.has("token"):
		return d.token(raw.Token)
	case raw.has("iam"):
		return d.iam(raw.IAM, r, c)
	}
	d.needsRegion(r, c, "auto")
	return Auth{Provider: raw.Provider, Signing: "auto"}
}

// needsRegion looks whether calls are signed in the derived form, which names the region.
func (d *decoder) needsRegion(r *rawConnection, c Connection, signing string) {
	derived := signing == "derived" || (signing == "auto" && c.Endpoint != "" && !basicHost.MatchString(c.Endpoint))
	if derived && c.Region == "" && c.Endpoint != "" {
		d.problem(r.node, "region is missing: the endpoint does not say it, and derived signing needs it, such as cn-north-4")
	}
}

func (d *decoder) iam(r rawIAM, parent *rawConnection, c Connection) Auth {
	if r.node == nil {
		return Auth{}
	}
	d.required(r.at, "domain", r.Domain, "the account's name")
	d.required(r.at, "user", r.User, "the IAM user's name")
	if !r.has("password") && !r.has("password_file") {
		d.problem(r.node, "password is missing: set it or password_file")
	}
	endpoint := strings.TrimRight(r.Endpoint, "/")
	switch u, err := url.Parse(endpoint); {
	case endpoint == "" && c.Region == "" && c.Endpoint != "":
		d.problem(parent.node, "region is missing: the endpoint does not say it, and IAM's address needs it; or set auth.iam.endpoint")
	case endpoint == "":
		endpoint = "https://iam." + c.Region + ".myhuaweicloud.com"
	case err != nil || u.Host == "" || u.Path != "" || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))):
		d.problem(r.of("endpoint"), "endpoint must be https://host, such as https://iam.cn-north-4.myhuaweicloud.com, not %q", clip(r.Endpoint))
	}
	return Auth{IAM: IAM{Domain: r.Domain, User: r.User, Password: d.secret(r.at, "password", r.Password, r.PasswordFile), Endpoint: endpoint}}
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
	d.needsRegion(parent, c, r.Signing)
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
	case !exists(d.path(r.of("file"), r.File)):
		d.warn(r.of("file"), "the token's file does not exist yet: %s", d.path(r.of("file"), r.File))
	}
	if r.File == "" {
		return Auth{Token: r.Value}
	}
	return Auth{TokenFile: d.path(r.of("file"), r.File)}
}
