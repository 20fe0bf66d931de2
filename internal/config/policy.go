package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

func (d *decoder) policies(r *rawFile, c *Config) []*policy.Policy {
	if len(r.Policies) == 0 && !wrongKind(r.at, "policies") && !d.misspelt[keyIn{r.node, "policies"}] {
		d.problem(r.of("policies"), "policies is missing or empty: at least one is needed")
	}
	names := map[string]*yaml.Node{}
	var policies []*policy.Policy
	for i := range r.Policies {
		raw := &r.Policies[i]
		if raw.node == nil {
			continue
		}
		d.name(raw.at, "policy", "policies", raw.Name, names)
		p := d.policy(raw, c)
		for _, earlier := range policies {
			if hides(earlier, p) {
				d.warn(raw.node, "policy %q never gets a task: the earlier policy %q takes them all", p.Name, earlier.Name)
				break
			}
		}
		policies = append(policies, p)
		p.Blackouts = d.blackouts(r, p.Name)
		// Which connections it is for is not in it: one more does not make it another policy.
		rules := *raw
		rules.Connections = rawSelector{}
		p.Hash = hashOf(struct {
			Policy    any
			Blackouts []policy.Blackout
			IDs       []map[string]bool
		}{plainly(reflect.ValueOf(rules)), p.Blackouts, []map[string]bool{p.Targets.IncludeIDs, p.Targets.ExcludeIDs}})
		sum := p.Tasks.MaxAge + p.Attempts.GiveUpAfter
		if p.Tasks.MaxAge > 0 && p.Attempts.GiveUpAfter > 0 && sum > c.Store.Retention && c.Store.Retention > 0 {
			d.problem(raw.node, "tasks.max_age and attempts.give_up_after come to %s, which is longer than store.retention: history that is still needed would be deleted; raise store.retention", inDays(sum))
		}
	}
	for i := range r.Blackouts {
		d.known(r.Blackouts[i].Policies, names)
	}
	return policies
}

// known looks whether the policies that a list names are there.
func (d *decoder) known(list rawNames, names map[string]*yaml.Node) {
	for i, name := range list.names {
		if names[name] == nil && i < len(list.node.Content) {
			d.problem(list.node.Content[i], "there is no policy %q%s", clip(name), suggest(name, slices.Sorted(maps.Keys(names)), "there are"))
		}
	}
}

func inDays(t time.Duration) string {
	if t%day == 0 {
		return itoa(int(t/day)) + "d"
	}
	return policy.Short(t)
}

func (d *decoder) policy(r *rawPolicy, c *Config) *policy.Policy {
	p := &policy.Policy{
		Name: r.Name, Connections: d.selected(r, c), Mode: policy.Mode(r.Mode), Schedule: d.schedule(r), CatchUp: r.CatchUp,
		Tasks: d.tasks(r.Tasks), Targets: d.targets(r.Targets), Attempts: d.attempts(r.Attempts),
		Rules: d.rules(r.Errors), Limits: d.limits(r.Limits), Halt: d.halt(r.Halt, c),
	}
	p.Windows = d.windows(r, p.Schedule.Zone)
	d.opens(r, p)
	d.all(r, p)
	return p
}

// selected gives the names of a policy's connections: the only one where none is named.
func (d *decoder) selected(r *rawPolicy, c *Config) []string {
	var all, labelled []string
	for _, connection := range c.Connections {
		all = append(all, connection.Name)
		if matches(connection.Labels, r.Connections.labels) {
			labelled = append(labelled, connection.Name)
		}
	}
	s := r.Connections
	switch {
	case !r.has("connections"):
		if len(all) > 1 {
			d.problem(r.node, "connections is missing: there are several, so the policy has to name its own, or say `connections: all`")
		}
		return all
	case s.all:
		return all
	case s.labels != nil:
		if len(labelled) == 0 {
			d.problem(r.of("connections"), "no connection has these labels")
		}
		return labelled
	}
	for i, name := range s.names {
		n := r.item("connections", i)
		switch {
		case name != "" && !slices.Contains(all, name):
			d.problem(n, "there is no connection %q%s", clip(name), suggest(name, all, "there are"))
		case slices.Contains(s.names[:i], name):
			d.problem(n, "connection %q is named twice", name)
		}
	}
	return s.names
}

func matches(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if labels[name] != value {
			return false
		}
	}
	return true
}

func (d *decoder) schedule(r *rawPolicy) policy.Schedule {
	zone, ok := d.zone(r.at, r.TimeZone)
	if !ok {
		zone = time.UTC
	}
	if !d.required(r.at, "schedule", r.Schedule, `such as "*/15 * * * *" or "@every 15m"`) {
		return policy.Schedule{Zone: zone}
	}
	schedule, err := policy.ParseSchedule(r.Schedule, zone)
	if err != nil {
		d.problem(r.of("schedule"), "schedule %q: %s", clip(r.Schedule), err)
		return policy.Schedule{Zone: zone}
	}
	return schedule
}

func (d *decoder) zone(a at, name string) (*time.Location, bool) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		d.problem(a.of("time_zone"), "time_zone must be a name such as Asia/Shanghai or UTC, not %q", clip(name))
		return nil, false
	}
	return zone, true
}

func (d *decoder) windows(r *rawPolicy, zone *time.Location) (windows []policy.Window) {
	if len(r.Windows) > 0 && !r.has("time_zone") {
		d.problem(r.of("windows"), "time_zone is missing: windows are times of a day somewhere, such as Asia/Shanghai")
	}
	for _, raw := range r.Windows {
		if raw.node == nil || !d.required(raw.at, "start", raw.Start, `such as "0 1 * * *"`) {
			continue
		}
		if !raw.has("duration") {
			d.problem(raw.node, "duration is missing: how long the window stays open, such as 4h")
			continue
		}
		w, err := policy.ParseWindow(raw.Start, raw.Duration, zone)
		if err != nil {
			d.problem(raw.of("start"), "window %q: %s", clip(raw.Start), err)
			continue
		}
		windows = append(windows, w)
	}
	return windows
}

// opens looks whether any tick falls in a window: else nothing would ever be retried.
func (d *decoder) opens(r *rawPolicy, p *policy.Policy) {
	if len(p.Windows) == 0 || p.Schedule.Spec == "" || strings.HasPrefix(p.Schedule.Spec, "@every") {
		return
	}
	// From a fixed day, so that the same file gives the same answer on each; with leap days.
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, p.Schedule.Zone)
	end := start.AddDate(5, 0, 0)
	for at := start; at.Before(end); {
		opens := end
		for _, w := range p.Windows {
			if next := w.NextOpen(at); !next.IsZero() && next.Before(opens) {
				opens = next
			}
		}
		tick := p.Schedule.Next(opens.Add(-time.Second))
		if slices.ContainsFunc(p.Windows, func(w policy.Window) bool { return w.Contains(tick) }) {
			return
		}
		at = tick
	}
	d.problem(r.of("schedule"), "schedule %q has no tick inside any window: nothing would ever be retried", clip(r.Schedule))
}

// all looks whether a policy that re-runs whole tasks asks for anything that it cannot give.
func (d *decoder) all(r *rawPolicy, p *policy.Policy) {
	if p.Targets.Mode != policy.TargetsAll {
		return
	}
	n := r.Targets.of("mode")
	ruled := slices.ContainsFunc(p.Rules, func(rule policy.Rule) bool { return rule.Never || rule.Max > 0 })
	switch t := r.Targets; {
	case len(p.Targets.Statuses) != len(policy.TargetStatuses()):
		d.problem(n, "mode all re-runs Fail, FailWaitRetry and Stopped alike: targets.statuses has to name all three")
	case t.has("include") || t.has("include_file") || t.has("exclude") || t.has("exclude_file") || t.RequireOnline:
		d.problem(n, "mode all re-runs every target of a task: include, exclude and require_online need mode explicit")
	case ruled:
		d.problem(n, "mode all re-runs every target of a task: rules with action never or max need mode explicit")
	}
	if most, key := smallest(p.Limits); most > 0 {
		d.warn(n, "mode all re-runs a task whole or not at all: with limits.%s of %d, one with more failed targets is never retried", key, most)
	}
}

// smallest gives the limit that a whole task meets first; 0 for none.
func smallest(l policy.Limits) (most int, key string) {
	for _, limit := range []struct {
		n   int
		key string
	}{{l.TargetsPerSweep, "targets_per_sweep"}, {l.InFlight, "in_flight"}, {l.Ramp.Initial, "ramp.initial"}} {
		if limit.n > 0 && (most == 0 || limit.n < most) {
			most, key = limit.n, limit.key
		}
	}
	return most, key
}

func (d *decoder) tasks(r rawTasks) policy.TaskRules {
	for i, id := range r.IDs {
		if !taskIDForm.MatchString(id) {
			d.problem(r.item("ids", i), "a task's id is 1 to 24 of 0-9 and a-f, not %q", clip(id))
		}
	}
	return policy.TaskRules{
		Types:      typed(r.Types, policy.TaskTypes()),
		Statuses:   typed(r.Statuses, policy.TaskStatuses()),
		Names:      d.patterns(r.at, "names", r.Names),
		IDs:        r.IDs,
		Apps:       r.Apps,
		AppNames:   r.AppNames,
		MaxAge:     r.MaxAge,
		Backlog:    r.Backlog,
		Superseded: policy.Superseded(r.Superseded),
	}
}

func (d *decoder) targets(r rawTargets) policy.TargetRules {
	return policy.TargetRules{
		Mode:          policy.TargetMode(r.Mode),
		Statuses:      typed(r.Statuses, policy.TargetStatuses()),
		Include:       d.patterns(r.at, "include", r.Include),
		Exclude:       d.patterns(r.at, "exclude", r.Exclude),
		IncludeIDs:    d.ids(r.at, "include_file", r.IncludeFile),
		ExcludeIDs:    d.ids(r.at, "exclude_file", r.ExcludeFile),
		RequireOnline: r.RequireOnline,
	}
}

// ids reads a file with one device id a line; empty lines and what follows a # are left out.
func (d *decoder) ids(a at, key, file string) map[string]bool {
	if file == "" {
		return nil
	}
	data, ok := d.read(a.of(key), key, file)
	if !ok {
		return nil
	}
	ids := map[string]bool{}
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			ids[line] = true
		}
	}
	if len(ids) == 0 {
		d.warn(a.of(key), "%s names no device", key)
	}
	return ids
}

var taskIDForm = regexp.MustCompile(`^[0-9a-f]{1,24}$`)

func (d *decoder) attempts(r rawAttempts) policy.AttemptRules {
	if r.node != nil {
		d.between(r.at, "max", float64(r.Max), 1, 100)
		d.positive(r.at, "stale_after", r.StaleAfter > 0)
		if r.StaleAfter < r.Settle {
			d.problem(r.of("stale_after"), "stale_after is less than settle")
		}
	}
	return policy.AttemptRules{
		Max: r.Max, GiveUpAfter: r.GiveUpAfter, Settle: r.Settle, StaleAfter: r.StaleAfter, Backoff: d.targetBackoff(r.Backoff),
	}
}

func (d *decoder) targetBackoff(b rawTargetBackoff) policy.Backoff {
	if b.has("delays") {
		for _, key := range []string{"initial", "multiplier", "max"} {
			if b.has(key) {
				d.problem(b.of(key), "%s and delays are both set: the delays say it all", key)
			}
		}
		if len(b.Delays) == 0 && b.of("delays").Kind == yaml.SequenceNode {
			d.problem(b.of("delays"), "delays is empty")
		}
		d.between(b.at, "jitter", b.Jitter, 0, 1)
		return policy.Backoff{Delays: b.Delays, Jitter: b.Jitter}
	}
	d.positive(b.at, "initial", b.Initial > 0)
	d.checkBackoff(b.at, b.Multiplier, b.Jitter, b.Max < b.Initial)
	return policy.Backoff{Initial: b.Initial, Multiplier: b.Multiplier, Max: b.Max, Jitter: b.Jitter}
}

func (d *decoder) patterns(a at, key string, list []string) []*regexp.Regexp {
	var patterns []*regexp.Regexp
	for i, expr := range list {
		re, err := policy.Pattern(expr)
		if err != nil {
			d.problem(a.item(key, i), "%s: %q is not a pattern: %s", key, clip(expr), plain(err))
			continue
		}
		patterns = append(patterns, re)
	}
	return patterns
}

// hides tells whether an earlier policy owns every task that a later one could.
func hides(earlier, later *policy.Policy) bool {
	if len(earlier.Tasks.Names) > 0 || len(earlier.Tasks.IDs) > 0 {
		return false
	}
	return len(earlier.Tasks.Apps)+len(earlier.Tasks.AppNames) == 0 &&
		subset(later.Connections, earlier.Connections) && subset(later.Tasks.Types, earlier.Tasks.Types)
}

func subset[T comparable](small, large []T) bool {
	for _, v := range small {
		if !slices.Contains(large, v) {
			return false
		}
	}
	return len(small) > 0
}
