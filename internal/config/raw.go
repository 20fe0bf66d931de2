package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// at is where a mapping and its values stand in the file.
type at struct {
	node   *yaml.Node
	values map[string]*yaml.Node
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

type rawFile struct {
	at
	Server      rawServer       `key:"server"`
	Log         rawLog          `key:"log"`
	Store       rawStore        `key:"store"`
	Connections []rawConnection `key:"connections"`
	Policies    []rawPolicy     `key:"policies"`
}

func (r *rawFile) defaults() {
	r.Server.defaults()
	r.Log.defaults()
	r.Store.defaults()
}

type rawServer struct {
	at
	Listen string `key:"listen"`
}

func (r *rawServer) defaults() { r.Listen = "127.0.0.1:9464" }

type rawLog struct {
	at
	Level  string `key:"level"`
	Format string `key:"format"`
}

func (r *rawLog) defaults() { r.Level, r.Format = "info", "json" }

type rawStore struct {
	at
	URL       string        `key:"url"`
	Retention time.Duration `key:"retention"`
}

func (r *rawStore) defaults() { r.URL, r.Retention = "sqlite:retryd.db", 90*day }

type rawConnection struct {
	at
	Name              string        `key:"name"`
	Endpoint          string        `key:"endpoint"`
	Region            string        `key:"region"`
	ProjectID         string        `key:"project_id"`
	InstanceID        string        `key:"instance_id"`
	Auth              rawAuth       `key:"auth"`
	RequestsPerSecond float64       `key:"requests_per_second"`
	Burst             int           `key:"burst"`
	Concurrency       int           `key:"concurrency"`
	Timeout           time.Duration `key:"timeout"`
	Backoff           rawBackoff    `key:"backoff"`
	CAFile            string        `key:"ca_file"`
}

func (r *rawConnection) defaults() {
	r.RequestsPerSecond, r.Burst, r.Concurrency, r.Timeout = 5, 5, 4, 10*time.Second
	r.Backoff = rawBackoff{Initial: 500 * time.Millisecond, Multiplier: 2, Max: 30 * time.Second, MaxElapsed: 2 * time.Minute, Jitter: 0.5}
}

type rawAuth struct {
	at
	AKSK  rawAKSK  `key:"aksk"`
	Token rawToken `key:"token"`
}

type rawAKSK struct {
	at
	AccessKey         Secret `key:"access_key"`
	AccessKeyFile     string `key:"access_key_file"`
	SecretKey         Secret `key:"secret_key"`
	SecretKeyFile     string `key:"secret_key_file"`
	SecurityToken     Secret `key:"security_token"`
	SecurityTokenFile string `key:"security_token_file"`
	Signing           string `key:"signing"`
}

func (r *rawAKSK) defaults() { r.Signing = "auto" }

type rawToken struct {
	at
	File  string `key:"file"`
	Value Secret `key:"value"`
}

type rawBackoff struct {
	at
	Initial    time.Duration `key:"initial"`
	Multiplier float64       `key:"multiplier"`
	Max        time.Duration `key:"max"`
	MaxElapsed time.Duration `key:"max_elapsed"`
	Jitter     float64       `key:"jitter"`
}

type rawPolicy struct {
	at
	Name        string      `key:"name"`
	Connections []string    `key:"connections"`
	Schedule    string      `key:"schedule"`
	TimeZone    string      `key:"time_zone"`
	Tasks       rawTasks    `key:"tasks"`
	Targets     rawTargets  `key:"targets"`
	Attempts    rawAttempts `key:"attempts"`
}

func (r *rawPolicy) defaults() {
	r.TimeZone = "UTC"
	r.Tasks.defaults()
	r.Targets.defaults()
	r.Attempts.defaults()
}

type rawTasks struct {
	at
	Types      []string      `key:"types"`
	Statuses   []string      `key:"statuses"`
	Names      []string      `key:"names"`
	IDs        []string      `key:"ids"`
	MaxAge     time.Duration `key:"max_age"`
	Superseded string        `key:"superseded"`
}

func (r *rawTasks) defaults() {
	r.Types, r.Statuses = taskTypes(), taskStatuses()
	r.MaxAge, r.Superseded = 30*day, "skip"
}

type rawTargets struct {
	at
	Statuses []string `key:"statuses"`
	Include  []string `key:"include"`
	Exclude  []string `key:"exclude"`
}

func (r *rawTargets) defaults() { r.Statuses = []string{"Fail"} }

type rawAttempts struct {
	at
	Max         int              `key:"max"`
	Backoff     rawTargetBackoff `key:"backoff"`
	GiveUpAfter time.Duration    `key:"give_up_after"`
	Settle      time.Duration    `key:"settle"`
	StaleAfter  time.Duration    `key:"stale_after"`
}

func (r *rawAttempts) defaults() {
	r.Max, r.GiveUpAfter, r.Settle, r.StaleAfter = 5, 14*day, 5*time.Minute, 7*day
	r.Backoff = rawTargetBackoff{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2}
}

type rawTargetBackoff struct {
	at
	Initial    time.Duration `key:"initial"`
	Multiplier float64       `key:"multiplier"`
	Max        time.Duration `key:"max"`
	Jitter     float64       `key:"jitter"`
}
