package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"retryd/internal/web"
)

// scopeFlags say what a pause, or its end, is about.
type scopeFlags struct {
	All        bool   `xor:"scope" help:"Everything, on all connections."`
	Connection string `xor:"scope" placeholder:"NAME" help:"One connection."`
	Policy     string `xor:"scope" placeholder:"NAME" help:"One policy, on all its connections."`
	Task       string `xor:"scope" placeholder:"TASK" help:"One task, by id or name; or some of its devices."`
	projectFlag
	Devices []string `arg:"" optional:"" name:"device" help:"Devices of the task."`
}

// Validate asks for a scope: kong would show four flags that are required, of which one is.
func (f scopeFlags) Validate() error {
	switch {
	case !f.All && f.Connection == "" && f.Policy == "" && f.Task == "":
		return errors.New("name what is meant: --all, --connection, --policy or --task")
	case len(f.Devices) > 0 && f.Task == "":
		return errors.New("devices are named with the task that they are in: --task")
	case f.Project != "" && f.Task == "":
		return errors.New("--project goes with the task that is in it: --task")
	}
	return nil
}

func (f scopeFlags) scope() web.Scope {
	return web.Scope{All: f.All, Connection: f.Connection, Policy: f.Policy, Task: f.Task, Project: f.Project, Devices: f.Devices}
}

func (f scopeFlags) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"connection": f.Connection, "policy": f.Policy, "task": f.Task, "project": f.Project} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.All {
		q.Set("all", "true")
	}
	for _, device := range f.Devices {
		q.Add("device", device)
	}
	return q
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

type pauseCmd struct {
	scopeFlags
	handFlags
	For   *span  `placeholder:"12h" help:"Resume by itself after this long. Default: until retryd resume."`
	Until moment `placeholder:"2027-02-13T08:00:00+08:00" help:"Resume by itself at this moment."`
}

// Validate looks at what kong cannot.
func (c pauseCmd) Validate() error {
	if c.For != nil && !time.Time(c.Until).IsZero() {
		return errors.New("--for and --until are two ways to say one thing: name one")
	}
	return errors.Join(c.handFlags.Validate(), c.scopeFlags.Validate())
}

// Run pauses. It holds from the next claim on, in every process. Nobody is asked first: it is the
// brake.
func (c pauseCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	body := web.NewPause{Scope: c.scope(), Until: until(c.For, c.Until), Why: c.Why, DryRun: c.DryRun}
	var answer web.Paused
	if err := h.post("pauses", body, &answer); err != nil {
		return err
	}
	verb := "paused"
	if c.DryRun {
		verb = "would be paused"
	}
	printf(a.stdout, "%s: %s", verb, c)
	if body.Until != nil {
		printf(a.stdout, ", until %s", body.Until.UTC().Format(time.RFC3339))
	}
	printf(a.stdout, "\n")
	for _, device := range answer.Unknown {
		printf(a.stderr, "%s has no attempt on record in this task: is its id right? (warning)\n", shown(device))
	}
	if answer.Accepted == 0 {
		return nil
	}
	printf(a.stdout, "%s cannot be called back: the platform has been asked already. What comes of it is observed.\n", plural(answer.Accepted, "attempt"))
	for _, target := range answer.Which {
		printf(a.stdout, "  %s\n", shown(target))
	}
	if more := answer.Accepted - len(answer.Which); more > 0 {
		printf(a.stdout, "  … and %d more\n", more)
	}
	return nil
}

// until gives the moment that --for or --until names; nil = neither does.
func until(length *span, at moment) *time.Time {
	t := time.Time(at)
	if length != nil {
		t = time.Now().Add(time.Duration(*length))
	}
	if t.IsZero() {
		return nil
	}
	return &t
}

type resumeCmd struct {
	scopeFlags
	handFlags
}

// Validate looks at what kong cannot.
func (c resumeCmd) Validate() error {
	return errors.Join(c.handFlags.Validate(), c.scopeFlags.Validate())
}

// Run ends the pauses of exactly this scope, and the halts of a task or policy.
func (c resumeCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	if !c.Yes || c.DryRun {
		dry := *h
		dry.DryRun = true
		would, err := c.end(&dry)
		if err != nil {
			return c.explain(h, err)
		}
		if ok, err := h.sure("resume %s: %s%s", c, ended(would), holds(would)); err != nil || !ok {
			return err
		}
	}
	answer, err := c.end(h)
	if text := ended(answer); text != "" {
		printf(a.stdout, "resumed: %s (%s ended)\n", c, text)
	}
	return c.explain(h, err)
}

// devicesAtOnce is how many devices fit into the address of a request.
const devicesAtOnce = 40

// end has the pauses and halts end, some devices at a time: all that did, and an error if none did.
func (c resumeCmd) end(h *hand) (all web.Resumed, err error) {
	for devices := c.Devices; ; devices = devices[min(devicesAtOnce, len(devices)):] {
		some := c.scopeFlags
		some.Devices = devices[:min(devicesAtOnce, len(devices))]
		var answer web.Resumed
		switch e := h.delete("pauses", some.query(), &answer); {
		case isNotFound(e):
			err = e // unless there is something of the others
		case e != nil:
			return all, e
		}
		all.Pauses, all.Halts = append(all.Pauses, answer.Pauses...), append(all.Halts, answer.Halts...)
		if len(devices) <= devicesAtOnce {
			break
		}
	}
	if len(all.Pauses)+len(all.Halts) > 0 {
		err = nil
	}
	return all, err
}

func isNotFound(err error) bool {
	problem := (*web.Problem)(nil)
	return errors.As(err, &problem) && problem.Status == http.StatusNotFound
}

// ended counts what ended.
func ended(r web.Resumed) string {
	var parts []string
	if n := len(r.Pauses); n > 0 {
		parts = append(parts, plural(n, "pause"))
	}
	if n := len(r.Halts); n > 0 {
		parts = append(parts, plural(n, "halt"))
	}
	return strings.Join(parts, " and ")
}

// holds names them, one a line.
func holds(r web.Resumed) (text string) {
	for _, p := range r.Pauses {
		text += fmt.Sprintf("\n  %s", pauseLine(p))
	}
	for _, halt := range r.Halts {
		text += fmt.Sprintf("\n  halted since %s: %d of %d retried targets failed again", halt.At.Format(time.RFC3339), halt.Failed, halt.Failed+halt.Recovered)
	}
	return text
}

// explain tells which pauses hold where none is of the scope.
func (c resumeCmd) explain(h *hand, err error) error {
	if !isNotFound(err) {
		return err
	}
	var all web.List[web.Pause]
	if err := h.api.Get(h.a.ctx, "pauses", nil, &all); err != nil || len(all.Items) == 0 {
		return fmt.Errorf("nothing is paused or halted as %s, and no pause of another scope holds", c)
	}
	text := ""
	for _, p := range all.Items {
		text += "\n  " + pauseLine(p)
	}
	return fmt.Errorf("nothing is paused or halted as %s: pauses end in the scope in which they were made. These hold:%s", c, text)
}

// pauseLine says who paused what, since when, until when, and why.
func pauseLine(p web.Pause) string {
	subject := "all"
	switch p.Scope {
	case "connection":
		subject = "connection " + p.Connection
	case "policy":
		subject = "policy " + p.Policy
	case "task":
		subject = "task " + p.TaskID
	case "device":
		subject = "device " + shown(p.DeviceID) + " in task " + p.TaskID
	}
	text := subject + ", by " + shown(p.Who) + " since " + p.At.UTC().Format(time.RFC3339)
	if p.Until != nil {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text + ": " + shown(p.Why)
}
