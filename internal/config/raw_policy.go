package config

import (
	"time"
)

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
	// Pattern that is searched for in the error's text; begin it with (?i) for any case.
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
	// Attempts without an outcome, younger than in_flight_for, that a task may always have.
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
	// How long it stays halted. 0s = until a person resumes it. After a halt the ramp starts anew.
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
