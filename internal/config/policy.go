package config

import (
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

func (d *decoder) policies(r *rawFile, c *Config) []*policy.Policy {
	if len(r.Policies) == 0 && !wrongKind(r.at, "policies") {
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
		sum := p.Tasks.MaxAge + p.Attempts.GiveUpAfter
		if p.Tasks.MaxAge > 0 && p.Attempts.GiveUpAfter > 0 && sum > c.Store.Retention && c.Store.Retention > 0 {
			d.problem(raw.node, "tasks.max_age and attempts.give_up_after come to %s, which is longer than store.retention: history that is still needed would be deleted; raise store.retention", inDays(sum))
		}
	}
	return policies
}

func inDays(t time.Duration) string {
	if t%day == 0 {
		return itoa(int(t/day)) + "d"
	}
	return t.String()
}

func (d *decoder) policy(r *rawPolicy, c *Config) *policy.Policy {
	p := &policy.Policy{
		Name: r.Name, Connections: d.named(r, c), Schedule: d.schedule(r),
		Tasks: d.tasks(r.Tasks), Attempts: d.attempts(r.Attempts),
		Targets: policy.TargetRules{
			Statuses: typed(d.choice(r.Targets.at, "statuses", r.Targets.Statuses, targetStatuses()), policy.TargetStatuses()),
			Include:  d.patterns(r.Targets.at, "include", r.Targets.Include),
			Exclude:  d.patterns(r.Targets.at, "exclude", r.Targets.Exclude),
		},
	}
	return p
}

// named gives the connections of a policy: the only one where none is named.
func (d *decoder) named(r *rawPolicy, c *Config) []string {
	var all []string
	for _, connection := range c.Connections {
		all = append(all, connection.Name)
	}
	if !r.has("connections") {
		if len(all) > 1 {
			d.problem(r.node, "connections is missing: there are several, so the policy has to name its own")
		}
		return all
	}
	if len(r.Connections) == 0 && r.of("connections").Kind == yaml.SequenceNode {
		d.problem(r.of("connections"), "connections is empty: the policy would do nothing")
	}
	for i, name := range r.Connections {
		switch {
		case name != "" && !slices.Contains(all, name):
			d.problem(r.item("connections", i), "there is no connection %q%s", clip(name), suggest(name, all, "there are"))
		case slices.Contains(r.Connections[:i], name):
			d.problem(r.item("connections", i), "connection %q is named twice", name)
		}
	}
	return r.Connections
}

func (d *decoder) schedule(r *rawPolicy) policy.Schedule {
	zone, err := time.LoadLocation(r.TimeZone)
	if err != nil || r.TimeZone == "" || r.TimeZone == "Local" {
		d.problem(r.of("time_zone"), "time_zone must be a name such as Asia/Shanghai or UTC, not %q", clip(r.TimeZone))
		zone = time.UTC
	}
	if !d.required(r.at, "schedule", r.Schedule, `such as "*/15 * * * *" or "@every 15m"`) {
		return policy.Schedule{}
	}
	schedule, err := policy.ParseSchedule(r.Schedule, zone)
	if err != nil {
		d.problem(r.of("schedule"), "schedule %q: %s", clip(r.Schedule), err)
	}
	return schedule
}

func (d *decoder) tasks(r rawTasks) policy.TaskRules {
	for i, id := range r.IDs {
		if !taskIDForm.MatchString(id) {
			d.problem(r.item("ids", i), "a task's id is 1 to 24 of 0-9 and a-f, not %q", clip(id))
		}
	}
	d.oneOf(r.at, "superseded", r.Superseded, []string{string(policy.SupersededSkip), string(policy.SupersededRetry)})
	return policy.TaskRules{
		Types:      typed(d.choice(r.at, "types", r.Types, taskTypes()), policy.TaskTypes()),
		Statuses:   typed(d.choice(r.at, "statuses", r.Statuses, taskStatuses()), policy.TaskStatuses()),
		Names:      d.patterns(r.at, "names", r.Names),
		IDs:        r.IDs,
		MaxAge:     r.MaxAge,
		Superseded: policy.Superseded(r.Superseded),
	}
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
	b := r.Backoff
	d.positive(b.at, "initial", b.Initial > 0)
	d.checkBackoff(b.at, b.Multiplier, b.Jitter, b.Max < b.Initial)
	return policy.AttemptRules{
		Max: r.Max, GiveUpAfter: r.GiveUpAfter, Settle: r.Settle, StaleAfter: r.StaleAfter,
		Backoff: policy.Backoff{Initial: b.Initial, Multiplier: b.Multiplier, Max: b.Max, Jitter: b.Jitter},
	}
}

// choice checks that a list holds only words it may hold.
func (d *decoder) choice(a at, key string, chosen, allowed []string) []string {
	if a.has(key) && len(chosen) == 0 && a.of(key).Kind == yaml.SequenceNode {
		d.problem(a.of(key), "%s is empty: the policy would do nothing; leave the key out for the default", key)
	}
	for i, word := range chosen {
		if !slices.Contains(allowed, word) && word != "" {
			d.problem(a.item(key, i), "%s cannot hold %q%s", key, clip(word), suggest(word, allowed, "it holds some of"))
		}
	}
	return chosen
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
	return subset(later.Connections, earlier.Connections) && subset(later.Tasks.Types, earlier.Tasks.Types)
}

func subset[T comparable](small, large []T) bool {
	for _, v := range small {
		if !slices.Contains(large, v) {
			return false
		}
	}
	return len(small) > 0
}
