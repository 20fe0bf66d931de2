package main

import (
	"strings"

	"retryd/internal/web"
)

type sweepsCmd struct {
	listFlags
	Policy     string `arg:"" optional:"" help:"Of this policy."`
	Connection string `placeholder:"NAME" help:"On this connection."`
	Result     string `enum:",running,complete,partial,failed,skipped" default:"" placeholder:"WORD" help:"That are running, or were complete, partial, failed or skipped."`
	sinceFlags
}

// Run lists sweeps.
func (c sweepsCmd) Run(a *app) error {
	q := query("policy", c.Policy, "connection", c.Connection, "result", c.Result, "since", c.Since, "until", c.Until)
	return list(a, c.listFlags, "sweeps", q, sweepTable, "No such sweep is on record. `retryd status` says what goes on, and when the next one is.")
}

var sweepTable = tableOf[web.Sweep]{
	{"TICK", func(t web.Sweep) string { return stamp(t.Tick) }},
	{"POLICY", func(t web.Sweep) string { return t.Policy }},
	{"CONNECTION", func(t web.Sweep) string { return t.Connection }},
	{"RESULT", func(t web.Sweep) string { return t.Result }},
	{"SENT", func(t web.Sweep) string { return counts(t.Sent, "") }},
	{"TARGETS", func(t web.Sweep) string { return counts(t.Targets, "") }},
	{"CAPPED BY", func(t web.Sweep) string { return cappedBy(t.Capped) }},
	{"TASKS", func(t web.Sweep) string { return counts(t.Tasks, "") }},
	{"WHY", whySweep},
}

// whySweep says why a sweep was not the usual one.
func whySweep(t web.Sweep) string {
	texts := []string{t.Why}
	if t.Missed > 0 {
		texts = append(texts, "stands for "+plural(t.Missed, "missed tick"))
	}
	return strings.Join(nonEmpty(append(texts, t.Problems...)), "; ")
}

func nonEmpty(texts []string) (some []string) {
	for _, text := range texts {
		if text != "" {
			some = append(some, text)
		}
	}
	return some
}

type actionsCmd struct {
	listFlags
	Who        string `placeholder:"NAME" help:"By this person: the whole name, or what is before its @."`
	What       string `placeholder:"WORD" help:"Of this kind, such as pause, resume, approve or retry."`
	Task       string `arg:"" optional:"" help:"About this task, by id or name."`
	Device     string `placeholder:"ID" help:"About this device."`
	Project    string `placeholder:"ID" help:"In this project."`
	Policy     string `placeholder:"NAME" help:"About this policy."`
	Connection string `placeholder:"NAME" help:"About this connection."`
	sinceFlags
}

// Run lists actions.
func (c actionsCmd) Run(a *app) error {
	q := query("who", c.Who, "what", c.What, "task", c.Task, "device", c.Device, "project", c.Project, "policy", c.Policy, "connection", c.Connection, "since", c.Since, "until", c.Until)
	return list(a, c.listFlags, "actions", q, actionTable, "No such action is on record.")
}

var actionTable = tableOf[web.Action]{
	{"WHEN", func(t web.Action) string { return stamp(t.At) }},
	{"WHO", func(t web.Action) string { return t.Who }},
	{"FROM", func(t web.Action) string { return t.From }},
	{"WHAT", func(t web.Action) string { return t.What }},
	{"TO WHAT", func(t web.Action) string { return t.Subject }},
	{"WHY", func(t web.Action) string { return t.Why }},
	{"CAME TO", func(t web.Action) string { return t.Outcome }},
}
