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
}

func (r *rawFile) defaults() {
	r.Server.defaults()
	r.Log.defaults()
	r.Store.defaults()
}

type rawServer struct {
	at
	// Address of /metrics, the probes and reload. There is no authentication: keep it on
	// loopback, or behind what has some.
	Listen string `key:"listen"`
}

func (r *rawServer) defaults() { r.Listen = "127.0.0.1:9464" }

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
	// else to the file that names it.
	URL string `key:"url"`
	// How long history is kept. Counts of attempts are kept for as long as their task is there.
	Retention time.Duration `key:"retention"`
}

func (r *rawStore) defaults() { r.URL, r.Retention = "sqlite:retryd.db", 90*day }

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

type rawPolicy struct {
	at
	// For logs and metrics. Renaming a policy changes no count.
	Name string `key:"name" example:"firmware-nightly"`
	// `all`, a list of names, or a mapping of labels that all have to match. Needed where
	// there is more than one.
	Connections rawSelector `key:"connections" example:"[prod]"`
	// observe decides and counts and sends nothing, approve waits for a person to open each
	// task, auto does it all.
	Mode string `key:"mode" one:"observe|approve|auto"`
	// Cron with 5 fields (minute hour day month weekday), @hourly, @daily or @every 15m.
	Schedule string `key:"schedule" example:"*/15 * * * *"`
	// Of the schedule and the windows. Required where there are windows.
	TimeZone string `key:"time_zone" example:"Asia/Shanghai"`
	// Retries leave only inside one of them. None = always.
	Windows []rawWindow `key:"windows"`
	// Downtime after which a tick that was missed is skipped.
	CatchUp time.Duration `key:"catch_up"`
	// Which tasks.
	Tasks rawTasks `key:"tasks"`
	// Which sub-tasks of a task.
	Targets rawTargets `key:"targets"`
	// How often one target is tried.
	Attempts rawAttempts `key:"attempts"`
	// What follows from a failure. The first that matches counts, before the built-in table.
	Errors []rawRule `key:"errors"`
	// How much at a time. `off` = no limit at all.
	Limits rawLimits `key:"limits"`
	// When to stop because retries fail. `off` = never.
	Halt rawHalt `key:"halt"`
}

func (r *rawPolicy) defaults() {
	r.TimeZone, r.Mode, r.CatchUp = "UTC", "auto", time.Hour
	r.Tasks.defaults()
	r.Targets.defaults()
	r.Attempts.defaults()
	r.Limits.defaults()
	r.Halt.defaults()
}

type rawWindow struct {
	at
	// When it opens: cron with 5 fields, in the policy's time zone.
	Start string `key:"start" example:"0 1 * * *"`
	// How long it stays open, by the clock on the wall.
	Duration time.Duration `key:"duration" example:"4h"`
}

type rawTasks struct {
	at
	// Types of tasks.
	Types []string `key:"types" one:"firmwareUpgrade|softwareUpgrade"`
	// Statuses of tasks. The platform refuses a retry in all others.
	Statuses []string `key:"statuses" one:"Fail|PartialSuccess|Processing"`
	// Patterns for the whole name. None = all.
	Names []string `key:"names" example:"['fw-.*']"`
	// Ids of tasks. None = all.
	IDs []string `key:"ids"`
	// Ids of resource spaces. None = all.
	Apps []string `key:"apps"`
	// Names of resource spaces. None = all.
	AppNames []string `key:"app_names"`
	// Older tasks are left alone. 0s = no limit.
	MaxAge time.Duration `key:"max_age"`
	// Whether tasks that were made before the policy was first seen are taken on, where it
	// names none by names, ids, apps or app_names.
	Backlog bool `key:"backlog"`
	// What happens to a device that a newer task of the same type has too.
	Superseded string `key:"superseded" one:"skip|retry"`
}

func (r *rawTasks) defaults() {
	r.Types, r.Statuses = taskTypes(), taskStatuses()
	r.MaxAge, r.Superseded = 30*day, "skip"
}

type rawTargets struct {
	at
	// explicit names up to 100 targets a call; all re-runs a whole task with one call,
	// stopped sub-tasks included.
	Mode string `key:"mode" one:"explicit|all"`
	// Statuses of sub-tasks: FailWaitRetry is about to be retried by the platform, Stopped was
	// stopped by a person.
	Statuses []string `key:"statuses" one:"Fail|FailWaitRetry|Stopped"`
	// Patterns for the whole device id. None, and no include_file, = all.
	Include []string `key:"include"`
	// A file with one device id a line.
	IncludeFile string `key:"include_file"`
	// Patterns for the whole device id.
	Exclude []string `key:"exclude"`
	// A file with one device id a line.
	ExcludeFile string `key:"exclude_file"`
	// Look each device up before it is retried; one that is offline costs no attempt.
	RequireOnline bool `key:"require_online"`
}

func (r *rawTargets) defaults() { r.Mode, r.Statuses = "explicit", []string{"Fail"} }

type rawAttempts struct {
	at
	// Of one device in one task, for good.
	Max int `key:"max"`
	// How long a device rests after its n-th attempt failed: hours.
	Backoff rawTargetBackoff `key:"backoff"`
	// Since its first attempt. 0s = never.
	GiveUpAfter time.Duration `key:"give_up_after"`
	// How long a device that was just retried may still read as failed.
	Settle time.Duration `key:"settle"`
	// An attempt without any outcome is closed after this.
	StaleAfter time.Duration `key:"stale_after"`
}

func (r *rawAttempts) defaults() {
	r.Max, r.GiveUpAfter, r.Settle, r.StaleAfter = 5, 14*day, 5*time.Minute, 7*day
	r.Backoff.defaults()
}

type rawTargetBackoff struct {
	at
	// The rest after the first attempt.
	Initial time.Duration `key:"initial"`
	// Each rest is this many times the one before.
	Multiplier float64 `key:"multiplier"`
	// The longest rest.
	Max time.Duration `key:"max"`
	// The rests one by one, instead of the three above; the last one stays.
	Delays []time.Duration `key:"delays" example:"[15m, 1h, 6h, 24h]"`
	// The part of a rest that is spread over the devices, 0 to 1.
	Jitter float64 `key:"jitter"`
}

func (r *rawTargetBackoff) defaults() {
	*r = rawTargetBackoff{Initial: 30 * time.Minute, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2}
}

type rawRule struct {
	at
	// For verdicts and metrics.
	Name string `key:"name" example:"offline"`
	// Pattern for the whole error code.
	Code string `key:"code"`
	// Pattern that is searched for in the error's text.
	Message string `key:"message" example:"(?i)offline|not online|online timeout"`
	// What kind of failure it is: halts count by it.
	Class string `key:"class" one:"device|network|firmware|platform"`
	// never gives the target up at once.
	Action string `key:"action" one:"retry|never"`
	// Instead of attempts.max. 0 = as that says.
	Max int `key:"max"`
	// Instead of attempts.backoff.
	Backoff rawTargetBackoff `key:"backoff"`
}

func (r *rawRule) defaults() {
	r.Action = "retry"
	r.Backoff.defaults()
}

type rawLimits struct {
	at
	// Targets that one sweep of the policy on one connection retries. 0 or off = no limit.
	TargetsPerSweep count `key:"targets_per_sweep"`
	// Attempts without an outcome, of those that are younger than in_flight_for. 0 or off = no
	// limit.
	InFlight count `key:"in_flight"`
	// After this an attempt without an outcome does not count against in_flight any more.
	InFlightFor time.Duration `key:"in_flight_for"`
	// Lets a task's retries grow with its recoveries. `off` = at once.
	Ramp rawRamp `key:"ramp"`
	off  bool
}

func (r *rawLimits) defaults() {
	*r = rawLimits{TargetsPerSweep: 1000, InFlight: 1000, InFlightFor: time.Hour}
	r.Ramp.defaults()
}

func (r *rawLimits) switchOff()  { *r = rawLimits{off: true, Ramp: rawRamp{off: true}} }
func (r *rawLimits) isOff() bool { return r.off }

type rawRamp struct {
	at
	// Attempts without an outcome that a task may always have.
	Initial int `key:"initial"`
	// Times the targets that recovered within halt.window, if that is more.
	Factor float64 `key:"factor"`
	off    bool
}

func (r *rawRamp) defaults()   { *r = rawRamp{Initial: 50, Factor: 2} }
func (r *rawRamp) switchOff()  { *r = rawRamp{off: true} }
func (r *rawRamp) isOff() bool { return r.off }

type rawHalt struct {
	at
	// Classes of failures that count.
	On []string `key:"on" one:"device|network|firmware|platform"`
	// The part of outcomes that has to be such failures, 0 to 1.
	FailureRatio float64 `key:"failure_ratio"`
	// Not before this many outcomes.
	MinOutcomes int `key:"min_outcomes"`
	// Outcomes of how long. The ramp reckons with it too.
	Window time.Duration `key:"window"`
	// How long it stays halted. 0s = until a person resumes it.
	Cooldown time.Duration `key:"cooldown"`
	// What is halted.
	Scope string `key:"scope" one:"task|policy"`
	off   bool
}

func (r *rawHalt) defaults() {
	*r = rawHalt{On: []string{"firmware"}, FailureRatio: 0.3, MinOutcomes: 20, Window: 48 * time.Hour, Scope: "task"}
}

func (r *rawHalt) switchOff() {
	r.defaults()
	r.On, r.off = nil, true
}
func (r *rawHalt) isOff() bool { return r.off }

type rawBlackout struct {
	at
	// The first moment, in time_zone.
	From string `key:"from" example:"2027-02-05T00:00"`
	// The first moment after it.
	To string `key:"to" example:"2027-02-13T00:00"`
	// Of from and to.
	TimeZone string `key:"time_zone" example:"Asia/Shanghai"`
	// For whoever reads the verdict.
	Why string `key:"why" example:"Spring Festival"`
	// `all`, or a list of names.
	Policies rawNames `key:"policies"`
}

func (r *rawBlackout) defaults() { r.TimeZone, r.Policies.all = "UTC", true }

// count is a number of which 0 and off mean no limit.
type count int

// rawNames is `all` or a list of names.
type rawNames struct {
	at
	all   bool
	names []string
}

// rawSelector is `all`, a list of names, or a mapping of labels.
type rawSelector struct {
	at
	all    bool
	names  []string
	labels map[string]string
}
