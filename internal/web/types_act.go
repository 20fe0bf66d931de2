package web

import "time"

// What POSTs send. Each may have dry_run: then nothing is changed, and the answer says what would.

// NewPause asks for pauses: of all, of a connection, of a policy, of a task, or of devices in a
// task.
type NewPause struct {
	Scope
	Until  *time.Time `json:"until,omitempty"` // absent = until it is ended
	Why    string     `json:"why"`
	DryRun bool       `json:"dry_run,omitempty"`
}

// Scope names what is paused, or forgiven: exactly one of the first four. Tasks are named by id,
// or by name where only one has it.
type Scope struct {
	All        bool     `json:"all,omitempty"`
	Connection string   `json:"connection,omitempty"`
	Policy     string   `json:"policy,omitempty"`
	Task       string   `json:"task,omitempty"`
	Project    string   `json:"project,omitempty"` // of the task, where several have one of its id or name
	Devices    []string `json:"devices,omitempty"` // of the task
}

// Paused is the answer: the pauses, and what they cannot call back.
type Paused struct {
	Items    []Pause  `json:"items"`
	Accepted int      `json:"accepted"` // targets whose retries the platform has taken already
	Which    []string `json:"which"`    // at most 20 of them: device in task
	Unknown  []string `json:"unknown"`  // devices of which no attempt was ever made: perhaps misspelt
	DryRun   bool     `json:"dry_run,omitempty"`
}

// Resumed is the answer to the end of pauses and halts.
type Resumed struct {
	Pauses []Pause `json:"pauses"`
	Halts  []Halt  `json:"halts"`
	DryRun bool    `json:"dry_run,omitempty"`
}

// NewApproval approves a task.
type NewApproval struct {
	Task       string     `json:"task"`
	Project    string     `json:"project,omitempty"`     // needed where tasks of several could be meant
	Policy     string     `json:"policy,omitempty"`      // needed where several could be meant
	PolicyHash string     `json:"policy_hash,omitempty"` // that was looked at: another one is refused
	Targets    int        `json:"targets,omitempty"`     // at most; 0 = any number
	Until      *time.Time `json:"until,omitempty"`       // absent = 7 days
	Why        string     `json:"why"`
	DryRun     bool       `json:"dry_run,omitempty"`
}

// NewForgiveness lets targets begin anew: their counted attempts are 0 again.
type NewForgiveness struct {
	Task    string   `json:"task"`
	Project string   `json:"project,omitempty"` // needed where tasks of several could be meant
	Devices []string `json:"devices,omitempty"` // none = all that are Is
	Is      string   `json:"is,omitempty"`      // exhausted, expired or permanent; empty = each of them
	Why     string   `json:"why"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// Forgiven is the answer.
type Forgiven struct {
	Count   int      `json:"count"`
	Devices []string `json:"devices"` // at most 1000
	Going   []string `json:"going"`   // of those, that were not given up: they would have been retried without this
	Left    []Left   `json:"left"`    // named, and not forgiven; at most 1000
	DryRun  bool     `json:"dry_run,omitempty"`
}

// NewRetry asks for retries by hand.
type NewRetry struct {
	Task       string   `json:"task"`
	Project    string   `json:"project,omitempty"` // needed where tasks of several could be meant
	Devices    []string `json:"devices,omitempty"`
	AllFailed  bool     `json:"all_failed,omitempty"` // instead of devices
	PastWindow bool     `json:"past_window,omitempty"`
	PastLimit  bool     `json:"past_limit,omitempty"`
	PastMax    bool     `json:"past_max,omitempty"`
	Why        string   `json:"why"`
	DryRun     bool     `json:"dry_run,omitempty"`
}

// NewSweep asks for sweeps now.
type NewSweep struct {
	Policies []string `json:"policies,omitempty"` // none = all
	Why      string   `json:"why,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"` // what would be swept; plan says what that would come to
}
