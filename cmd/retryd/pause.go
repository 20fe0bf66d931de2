package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// scopeFlags say what a pause, or its end, is about.
type scopeFlags struct {
	All        bool     `xor:"scope" help:"Everything, on all connections."`
	Connection string   `xor:"scope" placeholder:"NAME" help:"One connection."`
	Policy     string   `xor:"scope" placeholder:"NAME" help:"One policy, on all its connections."`
	Task       string   `xor:"scope" placeholder:"TASK" help:"One task, by id or name; or some of its devices."`
	Devices    []string `arg:"" optional:"" name:"device" help:"Devices of the task."`
}

// Validate asks for a scope: kong would show four flags that are required, of which one is.
func (f scopeFlags) Validate() error {
	switch {
	case !f.All && f.Connection == "" && f.Policy == "" && f.Task == "":
		return errors.New("name what is meant: --all, --connection, --policy or --task")
	case len(f.Devices) > 0 && f.Task == "":
		return errors.New("devices are named with the task that they are in: --task")
	}
	return nil
}

// pauses gives the scope as the ledger keeps it: one, or one a device.
func (f scopeFlags) pauses(a *app, h *house) ([]store.Pause, error) {
	switch {
	case f.All:
		return []store.Pause{{Scope: store.PauseAll}}, nil
	case f.Connection != "":
		for _, c := range h.config.Connections {
			if c.Name == f.Connection {
				return []store.Pause{{Scope: store.PauseConnection, Connection: c.Name, Identity: c.Identity()}}, nil
			}
		}
		return nil, fmt.Errorf("there is no connection %q in the configuration", f.Connection)
	case f.Policy != "":
		return []store.Pause{{Scope: store.PausePolicy, Policy: f.Policy}}, nil
	}
	t, err := h.task(a, f.Task)
	if err != nil {
		return nil, err
	}
	if len(f.Devices) == 0 {
		return []store.Pause{{Scope: store.PauseTask, ProjectID: t.ProjectID, TaskID: t.ID}}, nil
	}
	var pauses []store.Pause
	for _, device := range f.Devices {
		pauses = append(pauses, store.Pause{Scope: store.PauseDevice, ProjectID: t.ProjectID, TaskID: t.ID, DeviceID: device})
	}
	return pauses, nil
}

func (f scopeFlags) String() string {
	switch {
	case f.All:
		return "all"
	case f.Connection != "":
		return "connection " + f.Connection
	case f.Policy != "":
		return "policy " + f.Policy
	}
	return strings.TrimSpace("task " + f.Task + " " + strings.Join(f.Devices, " "))
}

// task finds a task that the ledger knows, by id or by name.
func (h *house) task(a *app, idOrName string) (store.FoundTask, error) {
	found, err := h.store.FindTasks(a.ctx, idOrName)
	if err != nil {
		return store.FoundTask{}, err
	}
	switch len(found) {
	case 0:
		return store.FoundTask{}, fmt.Errorf("no task with the id or name %q has been listed yet: a sweep lists them", idOrName)
	case 1:
		return found[0], nil
	}
	lines := make([]string, len(found))
	for i, t := range found {
		lines[i] = fmt.Sprintf("  %s  %s  in project %s", t.ID, shown(t.Name), t.ProjectID)
	}
	return store.FoundTask{}, fmt.Errorf("%q is the name of %d tasks: name one by its id\n%s", idOrName, len(found), strings.Join(lines, "\n"))
}

// ledgerByHand opens the ledger to write what a person says, beside a daemon that may run.
func (a *app) ledgerByHand() (*house, error) {
	h, err := a.byHand()
	if err != nil {
		return nil, err
	}
	err = h.open(a, h.ledger(store.Options{Join: true}))
	if errors.Is(err, store.ErrNoLedger) {
		return nil, fmt.Errorf("%w: start `retryd run` first", err)
	}
	return h, err
}

type pauseCmd struct {
	scopeFlags
	For   *span  `placeholder:"12h" help:"Resume by itself after this long. Default: until retryd resume."`
	Until moment `placeholder:"2027-02-13T08:00:00+08:00" help:"Resume by itself at this moment."`
	Why   string `required:"" placeholder:"TEXT" help:"For whoever meets the pause."`
}

// Validate looks at what kong cannot.
func (c pauseCmd) Validate() error {
	switch {
	case c.For != nil && !time.Time(c.Until).IsZero():
		return errors.New("--for and --until are two ways to say one thing: name one")
	case strings.TrimSpace(c.Why) == "":
		return errors.New("--why is missing: whoever meets the pause has to learn the reason")
	}
	return c.scopeFlags.Validate()
}

// Run writes the pause. It holds from the next claim on, in every process.
func (c pauseCmd) Run(a *app) error {
	h, err := a.ledgerByHand()
	if err != nil {
		return err
	}
	defer h.close()
	pauses, err := c.pauses(a, h)
	if err != nil {
		return err
	}
	if c.Policy != "" && !hasPolicy(h.config, c.Policy) {
		return fmt.Errorf("there is no policy %q in the configuration", c.Policy)
	}
	now := h.store.Now()
	until := time.Time(c.Until)
	if c.For != nil {
		until = now.Add(time.Duration(*c.For))
	}
	if !until.IsZero() && !until.After(now) {
		return failure{exitUsage, errors.New("the pause would be over already")}
	}
	inFlight := 0
	for _, p := range pauses {
		p.Until, p.Who, p.Why = until, who(), c.Why
		if err := h.store.PauseNow(a.ctx, p, store.Action{Who: who(), Source: "pause", What: "pause", Subject: c.String(), Why: c.Why}); err != nil {
			return err
		}
		n, err := h.store.OpenIn(a.ctx, p)
		if err != nil {
			return err
		}
		inFlight += n
	}
	printf(a.stdout, "paused: %s", c)
	if !until.IsZero() {
		printf(a.stdout, ", until %s", until.UTC().Format(time.RFC3339))
	}
	printf(a.stdout, "\n")
	if inFlight > 0 {
		printf(a.stdout, "%s cannot be called back: the platform has been asked already. What comes of it is observed.\n", plural(inFlight, "attempt"))
	}
	return nil
}

func hasPolicy(c *config.Config, name string) bool {
	return slices.ContainsFunc(c.Policies, func(p *policy.Policy) bool { return p.Name == name })
}

type resumeCmd struct {
	scopeFlags
	Why string `placeholder:"TEXT" help:"For the record."`
}

// Run ends the pauses of exactly this scope, and the halts of a task or policy.
func (c resumeCmd) Run(a *app) error {
	h, err := a.ledgerByHand()
	if err != nil {
		return err
	}
	defer h.close()
	scopes, err := c.pauses(a, h)
	if err != nil {
		return err
	}
	pauses, halts := 0, 0
	for _, p := range scopes {
		ended, unhalted, err := h.store.Resume(a.ctx, p, store.Action{Who: who(), Source: "resume", What: "resume", Subject: c.String(), Why: c.Why})
		if err != nil {
			return err
		}
		pauses, halts = pauses+ended, halts+unhalted
	}
	if pauses+halts == 0 {
		return fmt.Errorf("nothing is paused or halted as %s%s", c, h.listPauses(a))
	}
	var ended []string
	if pauses > 0 {
		ended = append(ended, plural(pauses, "pause"))
	}
	if halts > 0 {
		ended = append(ended, plural(halts, "halt"))
	}
	printf(a.stdout, "resumed: %s (%s ended)\n", c, strings.Join(ended, " and "))
	return nil
}

// listPauses tells which pauses hold, one a line.
func (h *house) listPauses(a *app) string {
	pauses, err := h.store.Pauses(a.ctx)
	if err != nil || len(pauses) == 0 {
		return ", and no pause of another scope holds"
	}
	text := ": pauses end in the scope in which they were made. These hold:"
	for _, p := range pauses {
		text += fmt.Sprintf("\n  %s (%s)", p.Subject(), p)
	}
	return text
}
