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
	Schedule    Schedule
	Tasks       TaskRules
	Targets     TargetRules
	Attempts    AttemptRules
}

// TaskRules select tasks. An empty list selects everything.
type TaskRules struct {
	Types      []iotda.TaskType
	Statuses   []iotda.TaskStatus
	Names      []*regexp.Regexp // match the whole name
	IDs        []string
	MaxAge     time.Duration // since create_time; 0 = no limit
	Superseded Superseded
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
	Statuses []iotda.SubtaskStatus
	Include  []*regexp.Regexp // match the whole device id; empty = all
	Exclude  []*regexp.Regexp
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
// keeps for life: its type, id and name. Status, age and time never move a task from
// one policy to another.
func (p *Policy) Owns(connection string, t iotda.Task) bool {
	return slices.Contains(p.Connections, connection) &&
		slices.Contains(p.Tasks.Types, t.Type) &&
		(len(p.Tasks.IDs) == 0 || slices.Contains(p.Tasks.IDs, t.ID)) &&
		(len(p.Tasks.Names) == 0 || matchesAny(p.Tasks.Names, t.Name))
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
