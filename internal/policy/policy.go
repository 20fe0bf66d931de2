package policy

import (
	"regexp"
	"slices"
	"time"

	"retryd/internal/iotda"
)

// Policy says which tasks and targets are retried, when, how often and when to stop.
// Every field is resolved: defaults are filled in and patterns are compiled.
type Policy struct {
	Name        string
	Connections []string // names
	Mode        Mode
	Schedule    Schedule
	Windows     []Window // retries leave only inside one; none = always
	Blackouts   []Blackout
	CatchUp     time.Duration // downtime after which a missed tick is skipped
	Tasks       TaskRules
	Targets     TargetRules
	Attempts    AttemptRules
	Rules       []Rule
	Limits      Limits
	Halt        Halt
	Hash        string // of everything above but Connections, as it is in force
}

// Mode says how far a policy goes.
type Mode string

// The modes of a policy.
const (
	ModeObserve Mode = "observe" // decides and counts, sends nothing
	ModeApprove Mode = "approve" // a person opens each task
	ModeAuto    Mode = "auto"
)

// TaskRules select tasks. An empty list selects everything.
type TaskRules struct {
	Types      []iotda.TaskType
	Statuses   []iotda.TaskStatus
	Names      []*regexp.Regexp // match the whole name
	IDs        []string
	Apps       []string      // ids
	AppNames   []string      // as ShowApplications names them
	MaxAge     time.Duration // since create_time; 0 = no limit
	Backlog    bool          // also tasks that were made before the policy was first seen
	Superseded Superseded
}

// Particular tells whether the rules name tasks: then older ones are meant as well.
func (r TaskRules) Particular() bool {
	return len(r.Names)+len(r.IDs)+len(r.Apps)+len(r.AppNames) > 0
}

// Superseded says what happens to targets that a newer task of the same type has too.
type Superseded string

// The choices for superseded targets.
const (
	SupersededSkip  Superseded = "skip"
	SupersededRetry Superseded = "retry"
)

// TargetRules select sub-tasks of a selected task.
type TargetRules struct {
	Mode          TargetMode
	Statuses      []iotda.SubtaskStatus
	Include       []*regexp.Regexp // match the whole device id
	Exclude       []*regexp.Regexp
	IncludeIDs    map[string]bool // of include_file; nil = no file. Without it and Include: all
	ExcludeIDs    map[string]bool
	RequireOnline bool
}

// TargetMode says how targets are named in a retry call.
type TargetMode string

// The modes of targets.
const (
	TargetsExplicit TargetMode = "explicit" // by name, 100 a call
	TargetsAll      TargetMode = "all"      // not at all: one call re-runs all of a task
)

func (r TargetRules) included(device string) bool {
	return (len(r.Include) == 0 && r.IncludeIDs == nil) || r.IncludeIDs[device] || matchesAny(r.Include, device)
}

func (r TargetRules) excluded(device string) bool {
	return r.ExcludeIDs[device] || matchesAny(r.Exclude, device)
}

// AttemptRules bound the attempts of one target.
type AttemptRules struct {
	Max         int
	Backoff     Backoff
	GiveUpAfter time.Duration // since the first counted attempt; 0 = never
	Settle      time.Duration // how long an accepted target may still read as before
	StaleAfter  time.Duration // an attempt without an outcome is closed after this
}

// Owns tells whether the policy selects the task on the connection by what a task
// keeps for life: its type, id, name and app. Status, age and time never move a task from
// one policy to another.
func (p *Policy) Owns(connection string, t iotda.Task) bool {
	return slices.Contains(p.Connections, connection) &&
		slices.Contains(p.Tasks.Types, t.Type) &&
		(len(p.Tasks.IDs) == 0 || slices.Contains(p.Tasks.IDs, t.ID)) &&
		(len(p.Tasks.Names) == 0 || matchesAny(p.Tasks.Names, t.Name)) &&
		p.ownsApp(t)
}

func (p *Policy) ownsApp(t iotda.Task) bool {
	return len(p.Tasks.Apps)+len(p.Tasks.AppNames) == 0 ||
		t.AppID != "" && (slices.Contains(p.Tasks.Apps, t.AppID) || slices.Contains(p.Tasks.AppNames, t.AppName))
}

// Owner gives the first policy, in file order, that owns the task; nil if none does.
func Owner(policies []*Policy, connection string, t iotda.Task) *Policy {
	for _, p := range policies {
		if p.Owns(connection, t) {
			return p
		}
	}
	return nil
}

// Pattern compiles an RE2 expression that has to match the whole string.
func Pattern(expr string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expr); err != nil { // its message quotes the operator's own text
		return nil, err
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

func matchesAny(patterns []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}
