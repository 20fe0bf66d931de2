package main

import (
	"cmp"
	"strconv"

	"retryd/internal/web"
)

type attemptsCmd struct {
	listFlags
	Task       string `arg:"" optional:"" help:"Of this task, by id or name."`
	Device     string `placeholder:"ID" help:"Of this device."`
	State      string `placeholder:"STATE" help:"In this state, such as recovered, failed or unknown."`
	Project    string `placeholder:"ID" help:"Of this project."`
	Policy     string `placeholder:"NAME" help:"By this policy."`
	Connection string `placeholder:"NAME" help:"On this connection."`
	sinceFlags
}

// sinceFlags choose a time.
type sinceFlags struct {
	Since string `placeholder:"24h" help:"Since this long ago, or since a moment such as 2027-02-13T08:00:00+08:00."`
	Until string `placeholder:"12h" help:"Until this long ago, or until a moment."`
}

// Run lists attempts.
func (c attemptsCmd) Run(a *app) error {
	q := query("task", c.Task, "device", c.Device, "state", c.State, "project", c.Project, "policy", c.Policy, "connection", c.Connection, "since", c.Since, "until", c.Until)
	return list(a, c.listFlags, "attempts", q, attemptTable, "No such attempt is on record.")
}

var attemptTable = tableOf[web.Attempt]{
	{"CLAIMED", func(t web.Attempt) string { return stamp(t.Claimed) }},
	{"DEVICE", func(t web.Attempt) string { return t.DeviceID }},
	{"TASK", func(t web.Attempt) string { return t.TaskID }},
	{"POLICY", func(t web.Attempt) string { return t.Policy }},
	{"CONNECTION", func(t web.Attempt) string { return t.Connection }},
	{"N", func(t web.Attempt) string { return strconv.Itoa(t.N) }},
	{"STATE", func(t web.Attempt) string { return t.State }},
	{"SETTLED", func(t web.Attempt) string { return at(t.Settled) }},
	{"WITH", func(t web.Attempt) string { return cmp.Or(failedWith(t.Code, t.Text), t.Detail) }},
	{"ASKED FOR BY", func(t web.Attempt) string { return t.AskedBy }},
}
