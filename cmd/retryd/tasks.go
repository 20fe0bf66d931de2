package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"retryd/internal/web"
)

type tasksCmd struct {
	listFlags
	Task       string `arg:"" optional:"" help:"One task, by id or name."`
	Project    string `placeholder:"ID" help:"Of this project."`
	Policy     string `placeholder:"NAME" help:"That belong to this policy."`
	Connection string `placeholder:"NAME" help:"Of this connection."`
	Type       string `placeholder:"TYPE" help:"Of this type, such as firmwareUpgrade."`
	Status     string `placeholder:"STATUS" help:"In this status, such as Processing."`
	Gone       bool   `help:"Those too that the platform has no more."`
}

// Run lists tasks.
func (c tasksCmd) Run(a *app) error {
	q := query("task", c.Task, "project", c.Project, "policy", c.Policy, "connection", c.Connection, "type", c.Type, "status", c.Status)
	if c.Gone {
		q.Set("gone", "true")
	}
	return list(a, c.listFlags, "tasks", q, taskTable, "No such task is on record: a sweep lists tasks.")
}

var taskTable = tableOf[web.Task]{
	{"TASK", func(t web.Task) string { return t.ID }},
	{"NAME", func(t web.Task) string { return t.Name }},
	{"POLICY", func(t web.Task) string { return t.Policy }},
	{"STATUS", func(t web.Task) string {
		if t.Gone != nil {
			return t.Status + ", gone"
		}
		return t.Status
	}},
	{"SUCCEEDED", func(t web.Task) string { return partOf(t.Success, t.Total) }},
	{"FAILED", func(t web.Task) string { return strconv.Itoa(t.Fail) }},
	{"OPEN", func(t web.Task) string { return strconv.Itoa(t.Open) }},
	{"FAILED ONES ARE", failedOnes},
	{"CAPPED BY", func(t web.Task) string { return cappedBy(t.Capped) }},
	{"HELD BACK", func(t web.Task) string { return heldBack(t) }},
	{"DONE", whenDone},
}

func partOf(n, of int) string {
	if of == 0 {
		return "0 of 0"
	}
	return fmt.Sprintf("%d of %d (%d %%)", n, of, n*100/of)
}

// failedOnes says of what is not sure that it is not.
func failedOnes(t web.Task) string {
	text := counts(t.Targets, "")
	if t.Perhaps {
		text = strings.Replace(text, "superseded", "perhaps superseded", 1)
	}
	return text
}

func heldBack(t web.Task) string {
	if t.HeldBy == "" {
		return t.Held
	}
	return t.Held + ": " + t.HeldBy
}

// whenDone leaves out what the column beside it says.
func whenDone(t web.Task) string {
	words, _, _ := strings.Cut(t.ETA.Words, ", and held back: ")
	return words
}

type targetsCmd struct {
	listFlags
	Task       string `arg:"" optional:"" help:"Of this task, by id or name."`
	Is         string `enum:",waiting,open,exhausted,permanent,expired,recovered,gone,resolved_elsewhere" default:"" placeholder:"WORD" help:"That are this: waiting, open (an attempt is under way), or the end that they have come to: exhausted, permanent or expired (given up), recovered, gone or resolved_elsewhere."`
	Device     string `placeholder:"ID" help:"This device."`
	Project    string `placeholder:"ID" help:"Of this project."`
	Policy     string `placeholder:"NAME" help:"Of tasks that belong to this policy."`
	Connection string `placeholder:"NAME" help:"Of this connection."`
}

// Run lists targets.
func (c targetsCmd) Run(a *app) error {
	q := query("task", c.Task, "is", c.Is, "device", c.Device, "project", c.Project, "policy", c.Policy, "connection", c.Connection)
	return list(a, c.listFlags, "targets", q, targetTable, "No such target is on record: a target is, from its first attempt, or its end, on.")
}

var targetTable = tableOf[web.Target]{
	{"DEVICE", func(t web.Target) string { return t.DeviceID }},
	{"TASK", func(t web.Target) string { return t.TaskID }},
	{"NAME", func(t web.Target) string { return t.TaskName }},
	{"IS", func(t web.Target) string { return t.Is }},
	{"WHY", func(t web.Target) string { return cmp.Or(t.Why, t.Paused) }},
	{"ATTEMPTS", func(t web.Target) string { return strconv.Itoa(t.Attempts) }},
	{"LAST", func(t web.Target) string { return at(t.LastAt) }},
	{"LAST CAME TO", func(t web.Target) string { return t.State }},
	{"FAILED WITH", func(t web.Target) string { return failedWith(t.FailureCode, t.FailureText) }},
}

// failedWith says in one line why something failed, as a plan does.
func failedWith(code, text string) string {
	return planRow{Code: code, Text: text}.failure(failureWidth)
}
