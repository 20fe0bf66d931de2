package web

import "time"

// The types of this file are the JSON of the API, for both of its ends. Moments are RFC 3339 in
// UTC and absent where there is none. Names that are absent are not known.

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // what to send as after for the next page; empty = this is the last
}

// Problem is what an error looks like, by RFC 9457.
type Problem struct { //nolint:errname // an answer first, an error by the way
	Type   string `json:"type"` // about:blank, or a name of ours
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"` // what to do about it

	foreign bool // not the API's, but of what stands before it
}

// Status is the overview: what goes on, and what holds it up.
type Status struct {
	Version    string    `json:"version"`
	Now        time.Time `json:"now"` // on the ledger's clock
	Ledger     string    `json:"ledger"`
	ConfigHash string    `json:"config_hash"`
	Observe    bool      `json:"observe,omitempty"` // the daemon that answers runs with --observe: it sends nothing, whatever the policies say
	// ReloadRefused is of the last reload by the daemon that answers; absent = it was taken, or there was none.
	ReloadRefused *Refusal     `json:"reload_refused,omitempty"`
	Replicas      []Replica    `json:"replicas"` // that are alive
	Connections   []Connection `json:"connections"`
	Policies      []Policy     `json:"policies"` // a row for each policy on each of its connections
	Pauses        []Pause      `json:"pauses"`
	Halts         []Halt       `json:"halts"`
	Awaiting      int          `json:"awaiting_approval"` // tasks
	Open          int          `json:"open_attempts"`
	Recovery      Recovery     `json:"recovery"` // of the last 7 days
	Attention     []Attention  `json:"attention"`
}

// Refusal is a configuration that a daemon did not take: the one before is in force.
type Refusal struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"` // each problem in a line
}

// Attention is something that a person should look at, the worst first.
type Attention struct {
	What string `json:"what"`           // in words
	Do   string `json:"do,omitempty"`   // what to do about it
	Link string `json:"link,omitempty"` // a path of the page
}

// Replica is a process that drives budgets, or would.
type Replica struct {
	ID         string    `json:"id"`
	Host       string    `json:"host"`
	Version    string    `json:"version"`
	ConfigHash string    `json:"config_hash"`
	Started    time.Time `json:"started"`
	Seen       time.Time `json:"seen"`
	Drives     []string  `json:"drives"` // names of connections, as far as they are configured
}

// Connection is how a connection stands.
type Connection struct {
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	ProjectID string            `json:"project_id"`
	Endpoint  string            `json:"endpoint"`
	State     string            `json:"state"` // up, down, or unknown where nobody has tried
	Reason    string            `json:"reason,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	Remedy    string            `json:"remedy,omitempty"` // what to do about it
	Since     *time.Time        `json:"since,omitempty"`
	Until     *time.Time        `json:"until,omitempty"`     // nothing is tried before
	DrivenBy  string            `json:"driven_by,omitempty"` // a replica's id
	Paused    string            `json:"paused,omitempty"`    // by whom and why
	Open      int               `json:"open_attempts"`
}

// Policy is how a policy stands on one of its connections.
type Policy struct {
	Name       string     `json:"name"`
	Connection string     `json:"connection"`
	Mode       string     `json:"mode"`
	Schedule   string     `json:"schedule"`
	Hash       string     `json:"hash"`
	NextTick   *time.Time `json:"next_tick,omitempty"`
	Window     string     `json:"window"`          // open, or why it is closed
	Opens      *time.Time `json:"opens,omitempty"` // when the window that is closed opens
	Paused     string     `json:"paused,omitempty"`
	Halted     string     `json:"halted,omitempty"`
	Driven     bool       `json:"driven"` // some replica drives its connection now
	Running    *Sweep     `json:"running,omitempty"`
	Last       *Sweep     `json:"last,omitempty"`
	Complete   *time.Time `json:"last_complete,omitempty"` // start of the last complete sweep
}

// Sweep is one look of a policy at the tasks of a connection.
type Sweep struct {
	Policy     string         `json:"policy"`
	Connection string         `json:"connection"`
	Tick       time.Time      `json:"tick"` // that it was due at
	Started    time.Time      `json:"started"`
	Finished   *time.Time     `json:"finished,omitempty"`
	Result     string         `json:"result"` // running, complete, partial, failed or skipped
	Why        string         `json:"why,omitempty"`
	Missed     int            `json:"missed,omitempty"`   // earlier ticks that it stands for
	Targets    map[string]int `json:"targets"`            // by verdict
	Tasks      map[string]int `json:"tasks"`              // by what holds them back
	Capped     map[string]int `json:"capped,omitempty"`   // targets by the limit that held them back
	Sent       map[string]int `json:"sent"`               // attempts by answer
	Problems   []string       `json:"problems,omitempty"` // why it is not complete
}

// Task is how far a batch task is.
type Task struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	ProjectID  string         `json:"project_id"`
	App        string         `json:"app,omitempty"`
	Type       string         `json:"type"`
	Status     string         `json:"status"`
	Policy     string         `json:"policy,omitempty"` // that it belongs to
	Connection string         `json:"connection,omitempty"`
	Created    *time.Time     `json:"created,omitempty"`
	Seen       time.Time      `json:"seen"` // when it was listed last
	Gone       *time.Time     `json:"gone,omitempty"`
	Total      int            `json:"total"` // sub-tasks, as the platform counts them
	Success    int            `json:"success"`
	Fail       int            `json:"fail"`
	Open       int            `json:"open_attempts"`
	Counted    *time.Time     `json:"counted,omitempty"`            // when its targets were looked at last
	Targets    map[string]int `json:"targets,omitempty"`            // failed ones by verdict, at that time
	Perhaps    bool           `json:"superseded_perhaps,omitempty"` // the superseded ones are that perhaps: a newer task's members could not be read
	Capped     map[string]int `json:"capped,omitempty"`             // by limit, at that time
	Ended      map[string]int `json:"ended,omitempty"`              // targets by the end that they have come to
	Held       string         `json:"held,omitempty"`               // what holds the whole task back now: paused, halted, awaiting_approval, …
	HeldBy     string         `json:"held_by,omitempty"`            // in words
	ETA        ETA            `json:"eta"`
}

// ETA is when a task is likely to be done, by how fast sub-tasks succeeded in the last 24 hours.
type ETA struct {
	At      *time.Time `json:"at,omitempty"`
	PerHour float64    `json:"per_hour"`
	Words   string     `json:"words"` // that, or why there is none
}

// Target is a device in a task, as the ledger knows it.
type Target struct {
	DeviceID    string     `json:"device_id"` // * = the task as a whole
	TaskID      string     `json:"task_id"`
	TaskName    string     `json:"task_name,omitempty"`
	TaskType    string     `json:"task_type"`
	ProjectID   string     `json:"project_id"`
	Policy      string     `json:"policy,omitempty"`
	Connection  string     `json:"connection,omitempty"`
	Is          string     `json:"is"`                 // waiting, open, or the end that it has come to
	Why         string     `json:"why,omitempty"`      // of its end
	Attempts    int        `json:"attempts"`           // that count
	Last        int        `json:"last"`               // number of the last attempt
	State       string     `json:"state,omitempty"`    // of the last attempt
	FirstAt     *time.Time `json:"first_at,omitempty"` // of the first that counts
	LastAt      *time.Time `json:"last_at,omitempty"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	FailureCode string     `json:"failure_code,omitempty"` // the platform's words for its last failure
	FailureText string     `json:"failure_text,omitempty"`
	Rule        string     `json:"rule,omitempty"` // that the failure falls under
	Class       string     `json:"class,omitempty"`
	Paused      string     `json:"paused,omitempty"`
	OpenTask    string     `json:"open_task,omitempty"` // in which the device has an open attempt
}

// Attempt is one retry of one target.
type Attempt struct {
	DeviceID   string     `json:"device_id"`
	TaskID     string     `json:"task_id"`
	TaskType   string     `json:"task_type"`
	ProjectID  string     `json:"project_id"`
	Policy     string     `json:"policy"`
	Connection string     `json:"connection"`
	N          int        `json:"n"`
	State      string     `json:"state"`
	Claimed    time.Time  `json:"claimed"`
	Answered   *time.Time `json:"answered,omitempty"`
	Settled    *time.Time `json:"settled,omitempty"`
	Code       string     `json:"code,omitempty"`
	Text       string     `json:"text,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Rule       string     `json:"rule,omitempty"`
	Class      string     `json:"class,omitempty"`
	RequestID  string     `json:"request_id,omitempty"` // the platform's, of the call
	AskedBy    string     `json:"asked_by,omitempty"`   // the person who asked for it by hand
}

// Action is what a person did.
type Action struct {
	ID         int64     `json:"id"`
	At         time.Time `json:"at"`
	Who        string    `json:"who"`
	From       string    `json:"from"` // terminal, socket, or an address
	What       string    `json:"what"`
	Subject    string    `json:"subject"`
	Why        string    `json:"why,omitempty"`
	Policy     string    `json:"policy,omitempty"`
	Connection string    `json:"connection,omitempty"`
	ProjectID  string    `json:"project_id,omitempty"`
	TaskID     string    `json:"task_id,omitempty"`
	DeviceID   string    `json:"device_id,omitempty"`
	Outcome    string    `json:"outcome,omitempty"` // what retries that were asked for have come to
}

// Pause holds back retries until it ends.
type Pause struct {
	ID         int64      `json:"id"`
	Scope      string     `json:"scope"` // all, connection, policy, task or device
	Connection string     `json:"connection,omitempty"`
	Policy     string     `json:"policy,omitempty"`
	ProjectID  string     `json:"project_id,omitempty"`
	TaskID     string     `json:"task_id,omitempty"`
	DeviceID   string     `json:"device_id,omitempty"`
	At         time.Time  `json:"at"`
	Until      *time.Time `json:"until,omitempty"` // absent = until a person ends it
	Who        string     `json:"who"`
	Why        string     `json:"why"`
}

// Halt is a task or policy that is halted because too many of its retries failed.
type Halt struct {
	ID         int64      `json:"id"`
	Scope      string     `json:"scope"` // task or policy
	Policy     string     `json:"policy"`
	Connection string     `json:"connection"`
	ProjectID  string     `json:"project_id"`
	TaskID     string     `json:"task_id,omitempty"`
	Failed     int        `json:"failed"`
	Recovered  int        `json:"recovered"`
	At         time.Time  `json:"at"`
	Until      *time.Time `json:"until,omitempty"` // absent = until a person ends it
}

// Approval lets a policy in mode approve retry a task.
type Approval struct {
	ID         int64     `json:"id"`
	ProjectID  string    `json:"project_id"`
	TaskID     string    `json:"task_id"`
	Policy     string    `json:"policy"`
	PolicyHash string    `json:"policy_hash"` // that was approved
	Stale      bool      `json:"stale"`       // the policy has changed since: it opens nothing
	Targets    int       `json:"targets"`     // at most; 0 = any number
	Used       int       `json:"used"`
	At         time.Time `json:"at"`
	Until      time.Time `json:"until"`
	Who        string    `json:"who"`
	Why        string    `json:"why"`
}

// Recovery is what came of retries in a time.
type Recovery struct {
	Since  time.Time      `json:"since"`
	Ends   map[string]int `json:"ends"`   // of attempts (recovered, failed, gone, rejected) and of targets (exhausted, permanent, expired, resolved_elsewhere)
	Needed []Needed       `json:"needed"` // attempts that recovered targets needed
	Hours  []Hour         `json:"hours"`  // the oldest first
	// PlatformShare is the part of sub-tasks of known tasks that succeeded by the platform's own
	// doing, and Share with retryd's; both from 0 to 1, absent where there are none.
	PlatformShare *float64 `json:"platform_share,omitempty"`
	Share         *float64 `json:"share,omitempty"`
}

// Needed is how many targets recovered at their n-th counted attempt.
type Needed struct {
	N     int `json:"n"` // 20 stands for more as well
	Count int `json:"count"`
}

// Hour is what came of retries in an hour.
type Hour struct {
	Hour time.Time      `json:"hour"` // its start
	Ends map[string]int `json:"ends"`
}

// Explanation says why a device waits, and until when.
type Explanation struct {
	DeviceID string    `json:"device_id"`
	AsOf     time.Time `json:"as_of"` // when the platform was read; when the sweep last looked if Live is false
	Live     bool      `json:"live"`  // the platform was read for this answer, or up to 10 s before it
	NotLive  string    `json:"not_live,omitempty"`
	Tasks    []Verdict `json:"tasks"`   // in which the device is, the newest first
	History  []Attempt `json:"history"` // the newest first
	Actions  []Action  `json:"actions"` // that concern it
}

// Verdict is what retryd would do about the device in one task now.
type Verdict struct {
	TaskID     string     `json:"task_id"`
	TaskName   string     `json:"task_name,omitempty"`
	ProjectID  string     `json:"project_id"`
	Policy     string     `json:"policy,omitempty"`
	Connection string     `json:"connection,omitempty"`
	Status     string     `json:"status,omitempty"` // of the sub-task
	Reason     string     `json:"reason"`
	Detail     string     `json:"detail,omitempty"`
	Summary    string     `json:"summary"`              // the answer in one sentence
	NotBefore  *time.Time `json:"not_before,omitempty"` // when it could be due
	NextTick   *time.Time `json:"next_tick,omitempty"`  // the first sweep after that inside a window: so then
	Attempts   int        `json:"attempts"`             // that count
	Max        int        `json:"max"`
	Code       string     `json:"code,omitempty"` // of its last failure
	Text       string     `json:"text,omitempty"`
	Rule       string     `json:"rule,omitempty"`
	Arithmetic []Step     `json:"arithmetic,omitempty"` // of the next attempt
}

// Step is one line of the arithmetic of the next attempt.
type Step struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Note  string `json:"note,omitempty"`
}

// Request is work that a person has asked for: a sweep, or retries by hand.
type Request struct {
	ID         int64      `json:"id"`
	Kind       string     `json:"kind"`  // sweep or retry
	State      string     `json:"state"` // waiting, running, done, failed or expired
	Policy     string     `json:"policy,omitempty"`
	Connection string     `json:"connection"`
	ProjectID  string     `json:"project_id,omitempty"`
	TaskID     string     `json:"task_id,omitempty"`
	Who        string     `json:"who"`
	Why        string     `json:"why,omitempty"`
	At         time.Time  `json:"at"`
	Ended      *time.Time `json:"ended,omitempty"`
	Result     Outcome    `json:"result"`
}

// Outcome is what a request came to.
type Outcome struct {
	Targets  map[string]int `json:"targets,omitempty"` // by verdict
	Sent     map[string]int `json:"sent,omitempty"`    // attempts by answer
	Capped   map[string]int `json:"capped,omitempty"`  // targets by the limit that held them back
	Left     []Left         `json:"left,omitempty"`    // named targets that were not retried, at most 1000
	Problems []string       `json:"problems,omitempty"`
}

// Left is a target that was named and not retried.
type Left struct {
	DeviceID string `json:"device_id"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail,omitempty"`
}
