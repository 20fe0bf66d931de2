package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// at is where a mapping and its values stand in the file.
type at struct {
	node   *yaml.Node
	values map[string]*yaml.Node
	from   map[string]string // where a value that nobody wrote comes from, unless it is a default
}

// of gives the place of a key's value, of the mapping itself where the key is not there.
func (a at) of(key string) *yaml.Node {
	if n := a.values[key]; n != nil {
		return n
	}
	return a.node
}

func (a at) has(key string) bool { return a.values[key] != nil }

// item gives the place of the i-th value of a list.
func (a at) item(key string, i int) *yaml.Node {
	if n := a.values[key]; n != nil && i < len(n.Content) {
		return n.Content[i]
	}
	return a.of(key)
}

func (a *at) place(n *yaml.Node, values map[string]*yaml.Node) { a.node, a.values = n, values }

// The raw structs are the file as it is written, with defaults filled in. The comment of
// each field is its text in docs/configuration.md and in the JSON Schema; the tag `one`
// lists the words that it can hold, and `example` shows a value where the default does
// not say enough.

type rawFile struct {
	at
	// Where the daemon listens.
	Server rawServer `key:"server"`
	// How the daemon logs, to standard error.
	Log rawLog `key:"log"`
	// The ledger: the record of every attempt.
	Store rawStore `key:"store"`
	// The right to drive a budget, where several replicas share a ledger in PostgreSQL.
	Lease rawLease `key:"lease"`
	// Request rates that several connections share.
	Budgets []rawBudget `key:"budgets"`
	// Keys that each connection and each policy starts from. Mappings are merged key by key;
	// lists and `auth` are replaced whole.
	Defaults rawDefaults `key:"defaults"`
	// The instances of IoTDA. At least one.
	Connections []rawConnection `key:"connections"`
	// What is retried. A task belongs to the first policy in the file that selects it by
	// connection, type, id, name and app. At least one.
	Policies []rawPolicy `key:"policies"`
	// Times in which nothing is retried.
	Blackouts []rawBlackout `key:"blackouts"`
	// Who is told of what happens, in digests.
	Notify []rawNotify `key:"notify"`
}

func (r *rawFile) defaults() {
	r.Server.defaults()
	r.Log.defaults()
	r.Store.defaults()
	r.Lease.defaults()
}

type rawServer struct {
	at
	// Address of the page, the API, /metrics and the probes. Without web_config everybody who
	// reaches it may look: keep it on loopback then.
	Listen string `key:"listen"`
	// A file that has TLS, passwords and client certificates for all that is served, in the form
	// of Prometheus' exporters:
	// https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
	// A relative path is relative to the file that names it.
	WebConfig string `key:"web_config" example:"web.yaml"`
	// A unix socket that the daemon listens on too, for people and programs of this machine: whoever
	// may open it may act. None by default. A relative path is relative to the file that names it.
	Socket string `key:"socket" example:"/run/retryd/retryd.sock"`
	// Who may open the socket, in octal: 0600 is the daemon's own user, 0660 its group as well.
	SocketMode string `key:"socket_mode" example:"0660"`
	// Who may act over HTTP: users in basic_auth_users of web_config, or names in client certificates.
	// Everybody else may look only.
	Admins []string `key:"admins" example:"[ann]"`
	// Where people reach the daemon: links in notices begin with it.
	ExternalURL string `key:"external_url" example:"https://retryd.example.com"`
}

func (r *rawServer) defaults() { r.Listen, r.SocketMode = "127.0.0.1:9464", "0600" }

type rawLog struct {
	at
	// From which level on: debug has a line an attempt, info a line a sweep and a batch.
	Level string `key:"level" one:"debug|info|warn|error"`
	// json, or console for reading by eye.
	Format string `key:"format" one:"json|console"`
}

func (r *rawLog) defaults() { r.Level, r.Format = "info", "json" }

type rawStore struct {
	at
	// `sqlite:` and a path. A relative path is relative to $STATE_DIRECTORY if that is set,
	// else to the file that names it. Or `postgres://user@host:5432/database`, which several
	// replicas can share; a password goes into url_file, $PGPASSWORD or $PGPASSFILE.
	URL string `key:"url"`
	// A file that holds the address instead, password and all.
	URLFile string `key:"url_file" example:"/etc/retryd/ledger-url"`
	// How long history is kept. Counts of attempts are kept for as long as their task is there.
	Retention time.Duration `key:"retention"`
}

// urlKey gives the key that says where the ledger is.
func (r *rawStore) urlKey() string {
	if r.has("url_file") {
		return "url_file"
	}
	return "url"
}

func (r *rawStore) defaults() { r.URL, r.Retention = "sqlite:retryd.db", 90*day }

type rawLease struct {
	at
	// How long a replica that is dead keeps a budget: 1s to 5m. Shorter, it passes on sooner;
	// longer, it rides out a database that is away.
	TTL time.Duration `key:"ttl"`
}

func (r *rawLease) defaults() { r.TTL = 15 * time.Second }

type rawBudget struct {
	at
	// What connections name it by.
	Name string `key:"name" example:"account-a"`
	// Calls a second of all its connections together.
	RequestsPerSecond float64 `key:"requests_per_second" example:"50"`
	// Calls that may leave at once.
	Burst int `key:"burst"`
}

func (r *rawBudget) defaults() { r.Burst = 5 }

type rawDefaults struct {
	at
	// The same keys as an entry of connections.
	Connection rawConnection `key:"connection"`
	// The same keys as an entry of policies.
	Policy rawPolicy `key:"policy"`
}

type rawConnection struct {
	at
	// For logs, metrics and policies. Renaming a connection changes no count.
	Name string `key:"name" example:"prod"`
	// scheme://host of the application side. http is for loopback only.
	Endpoint string `key:"endpoint" example:"https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com"`
	// From the endpoint where that says it. Derived signing and IAM need it.
	Region string `key:"region" example:"cn-north-4"`
	// The project's id, under My Credentials in the console.
	ProjectID string `key:"project_id" example:"0123456789abcdef0123456789abcdef"`
	// Sent as the Instance-Id header: needed where a project has several instances.
	InstanceID string `key:"instance_id"`
	// What policies can choose connections by.
	Labels map[string]string `key:"labels" example:"{env: prod}"`
	// Who calls: exactly one of its keys. Without it: provider chain.
	Auth rawAuth `key:"auth"`
	// A budget to share, instead of requests_per_second and burst.
	Budget string `key:"budget"`
	// Calls a second, where no budget is named.
	RequestsPerSecond float64 `key:"requests_per_second"`
	// Calls that may leave at once, where no budget is named.
	Burst int `key:"burst"`
	// Calls in flight.
	Concurrency int `key:"concurrency"`
	// Of one call.
	Timeout time.Duration `key:"timeout"`
	// Between the tries of one call that failed for a while: seconds.
	Backoff rawBackoff `key:"backoff"`
	// PEM file of the certificate authority, for a proxy of your own.
	CAFile string `key:"ca_file"`
}

func (r *rawConnection) defaults() {
	r.Auth.AKSK.defaults()
	r.RequestsPerSecond, r.Burst, r.Concurrency, r.Timeout = 5, 5, 4, 10*time.Second
	r.Backoff = rawBackoff{Initial: 500 * time.Millisecond, Multiplier: 2, Max: 30 * time.Second, MaxElapsed: 2 * time.Minute, Jitter: 0.5}
}

type rawAuth struct {
	at
	// An access key, permanent or temporary.
	AKSK rawAKSK `key:"aksk"`
	// A token that something else renews.
	Token rawToken `key:"token"`
	// A login at IAM that retryd renews.
	IAM rawIAM `key:"iam"`
	// Where the official SDK looks for keys: the environment, ~/.huaweicloud/credentials, the
	// metadata of the machine, or all in that order.
	Provider string `key:"provider" one:"env|profile|metadata|chain" example:"chain"`
}

type rawAKSK struct {
	at
	// The access key, or its file.
	AccessKey     Secret `key:"access_key" example:"${HUAWEICLOUD_SDK_AK}"`
	AccessKeyFile string `key:"access_key_file"`
	// The secret key, or its file.
	SecretKey     Secret `key:"secret_key" example:"${HUAWEICLOUD_SDK_SK}"`
	SecretKeyFile string `key:"secret_key_file"`
	// Of a temporary key, or its file.
	SecurityToken     Secret `key:"security_token"`
	SecurityTokenFile string `key:"security_token_file"`
	// auto chooses as the official SDK does; basic edition has basic, an instance's own host
	// has derived.
	Signing string `key:"signing" one:"auto|basic|derived"`
}

func (r *rawAKSK) defaults() { r.Signing = "auto" }

type rawToken struct {
	at
	// A file that holds an X-Auth-Token. It is read for each call.
	File string `key:"file"`
	// The token itself. It ends after 24 hours.
	Value Secret `key:"value"`
}

type rawIAM struct {
	at
	// The account's name.
	Domain string `key:"domain"`
	// The IAM user's name.
	User string `key:"user"`
	// The IAM user's password, or its file.
	Password     Secret `key:"password"`
	PasswordFile string `key:"password_file"`
	// Default: https://iam.<region>.myhuaweicloud.com.
	Endpoint string `key:"endpoint"`
}

type rawBackoff struct {
	at
	// The first pause.
	Initial time.Duration `key:"initial"`
	// Each pause is this many times the one before.
	Multiplier float64 `key:"multiplier"`
	// The longest pause.
	Max time.Duration `key:"max"`
	// No further try after this.
	MaxElapsed time.Duration `key:"max_elapsed"`
	// The part of a pause that is left to chance, 0 to 1.
	Jitter float64 `key:"jitter"`
}
