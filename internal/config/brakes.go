package config

import (
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

// rules makes the operator's rules for failures.
func (d *decoder) rules(raws []rawRule) (rules []policy.Rule) {
	names := map[string]*yaml.Node{}
	for _, r := range raws {
		if r.node == nil {
			continue
		}
		d.name(r.at, "rule", "rules", r.Name, names)
		if r.Code == "" && r.Message == "" && !d.told[r.of("code")] && !d.told[r.of("message")] {
			d.problem(r.node, "a rule needs code or message, to say which failures it is about")
		}
		if !r.has("class") {
			d.problem(r.node, "class is missing: device, network, firmware or platform")
		}
		if r.Max < 0 || r.Max > 100 {
			d.problem(r.of("max"), "max must be between 0 and 100")
		}
		rule := policy.Rule{Name: r.Name, Class: policy.CauseClass(r.Class), Never: r.Action == "never", Max: r.Max}
		if r.Code != "" {
			if list := d.patterns(r.at, "code", []string{r.Code}); len(list) == 1 {
				rule.Code = list[0]
			}
		}
		if r.Message != "" {
			re, err := regexp.Compile(r.Message)
			if err != nil {
				d.problem(r.of("message"), "message: %q is not a pattern: %s", clip(r.Message), plain(err))
			}
			rule.Message = re
		}
		if r.has("backoff") {
			b := d.targetBackoff(r.Backoff)
			rule.Backoff = &b
		}
		rules = append(rules, rule)
	}
	return rules
}

func (d *decoder) limits(r rawLimits) policy.Limits {
	d.positive(r.at, "in_flight_for", r.InFlightFor > 0)
	d.positive(r.Ramp.at, "initial", r.Ramp.Initial > 0)
	d.between(r.Ramp.at, "factor", r.Ramp.Factor, 0, 1000)
	return policy.Limits{
		TargetsPerSweep: int(r.TargetsPerSweep), InFlight: int(r.InFlight), InFlightFor: r.InFlightFor,
		Ramp: policy.Ramp{Initial: r.Ramp.Initial, Factor: r.Ramp.Factor},
	}
}

func (d *decoder) halt(r rawHalt, c *Config) policy.Halt {
	h := policy.Halt{
		FailureRatio: r.FailureRatio, MinOutcomes: r.MinOutcomes, Window: r.Window, Cooldown: r.Cooldown, Scope: policy.HaltScope(r.Scope),
	}
	for _, class := range r.On {
		h.On = append(h.On, policy.CauseClass(class))
	}
	if r.node == nil {
		return h
	}
	d.between(r.at, "failure_ratio", r.FailureRatio, 0.01, 1)
	d.positive(r.at, "min_outcomes", r.MinOutcomes > 0)
	d.positive(r.at, "window", r.Window > 0)
	if r.Window > c.Store.Retention && c.Store.Retention > 0 {
		d.problem(r.of("window"), "window is longer than store.retention, after which outcomes are deleted")
	}
	return h
}

// localTime is a moment without a zone, to the minute or to the second.
var localTime = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime, time.DateOnly}

// blackouts gives those that hold for a policy.
func (d *decoder) blackouts(r *rawFile, name string) (blackouts []policy.Blackout) {
	for i := range r.Blackouts {
		raw := &r.Blackouts[i]
		if raw.node == nil {
			continue
		}
		zone, ok := d.zone(raw.at, raw.TimeZone)
		if !ok {
			continue
		}
		from, okFrom := d.moment(raw.at, "from", raw.From, zone)
		to, okTo := d.moment(raw.at, "to", raw.To, zone)
		if !okFrom || !okTo {
			continue
		}
		if !from.Before(to) {
			d.problem(raw.of("to"), "to is not after from")
			continue
		}
		if raw.Policies.all || slices.Contains(raw.Policies.names, name) {
			blackouts = append(blackouts, policy.Blackout{From: from, To: to, Why: clip(raw.Why)})
		}
	}
	return blackouts
}

func (d *decoder) moment(a at, key, text string, zone *time.Location) (time.Time, bool) {
	if !d.required(a, key, text, "such as 2027-02-05T00:00") {
		return time.Time{}, false
	}
	for _, layout := range localTime {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t.UTC(), true
		}
	}
	d.problem(a.of(key), "%s must be a moment in time_zone, such as 2027-02-05T00:00, not %q", key, clip(text))
	return time.Time{}, false
}
