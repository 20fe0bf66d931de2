package main

import (
	"fmt"
	"io"
	"strings"

	"retryd/internal/web"
)

type explainCmd struct {
	apiFlags
	Device string `arg:"" help:"The device."`
	Task   string `arg:"" optional:"" help:"In this task, by id or name. Default: in all that it is in."`
	Format string `enum:"text,json" default:"text" help:"text, or json for programs."`
}

// Run says why a device waits, and until when.
func (c explainCmd) Run(a *app) error {
	e, err := askFor[web.Explanation](a, c.apiFlags, "explanations", query("device", c.Device, "task", c.Task))
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return writeJSON(a.stdout, e)
	}
	writeExplanation(a.stdout, e, c.again(a))
	return nil
}

// writeExplanation shows it. again gives a command as it has to be called for the same daemon.
func writeExplanation(w io.Writer, e web.Explanation, again func(string) string) {
	for _, v := range e.Tasks {
		printf(w, "%s in task %s\n", shown(e.DeviceID), withName(v.TaskID, v.TaskName))
		printf(w, "  %s\n", shown(v.Summary))
		facts := []string{}
		add := func(format string, value string) {
			if value != "" {
				facts = append(facts, fmt.Sprintf(format, shown(value)))
			}
		}
		add("%s", verdictText(v.Reason, v.Detail))
		add("sub-task %s", v.Status)
		add("policy %s", v.Policy)
		add("connection %s", v.Connection)
		if v.Max > 0 {
			add("%s", fmt.Sprintf("%d of %d attempts", v.Attempts, v.Max))
		}
		printf(w, "  %s\n", strings.Join(facts, ", "))
		if text := failedWith(v.Code, v.Text); text != "" {
			printf(w, "  failed with: %s", shown(text))
			if v.Rule != "" {
				printf(w, " (rule %s)", shown(v.Rule))
			}
			printf(w, "\n")
		}
		if len(v.Arithmetic) > 0 {
			printf(w, "\n  How that comes about:\n")
			writeSteps(w, v.Arithmetic)
		}
		printf(w, "\n")
	}
	if len(e.Tasks) == 0 {
		printf(w, "%s is in no task that is looked at now.\n\n", shown(e.DeviceID))
	}
	writeHistory(w, e, again)
	if e.Live {
		printf(w, "The platform was read for this at %s.\n", stamp(e.AsOf))
		return
	}
	printf(w, "This is as of %s, and not what the platform shows now: %s.\n", stamp(e.AsOf), shown(strings.TrimSuffix(e.NotLive, ".")))
}

func verdictText(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return reason + " (" + detail + ")"
}

func writeSteps(w io.Writer, steps []web.Step) {
	what, value := 0, 0
	for _, s := range steps {
		what, value = max(what, wide(s.What)), max(value, wide(s.Value))
	}
	for _, s := range steps {
		line := fmt.Sprintf("    %s%s  %s%s  %s", s.What, strings.Repeat(" ", what-wide(s.What)), s.Value, strings.Repeat(" ", value-wide(s.Value)), s.Note)
		printf(w, "%s\n", shown(strings.TrimRight(line, " ")))
	}
}

// mostHistory is how many attempts, and actions, are told one by one.
const mostHistory = 20

func writeHistory(w io.Writer, e web.Explanation, again func(string) string) {
	if len(e.History) > 0 {
		printf(w, "Attempts, the newest first:\n")
		for i, h := range e.History {
			if i == mostHistory {
				printf(w, "  … and more: %s --device %s\n", again("retryd attempts"), shown(quotedForShell(e.DeviceID)))
				break
			}
			printf(w, "  %s  attempt %d in task %s: %s", stamp(h.Claimed), h.N, h.TaskID, h.State)
			if text := failedWith(h.Code, h.Text); text != "" {
				printf(w, ", %s", shown(text))
			}
			if h.AskedBy != "" {
				printf(w, ", asked for by %s", shown(h.AskedBy))
			}
			printf(w, "\n")
		}
		printf(w, "\n")
	}
	if len(e.Actions) > 0 {
		printf(w, "What people did:\n")
		for i, act := range e.Actions {
			if i == mostHistory {
				printf(w, "  … and more: %s\n", again("retryd actions"))
				break
			}
			printf(w, "  %s  %s: %s %s", stamp(act.At), shown(act.Who), shown(act.What), shown(act.Subject))
			if act.Why != "" {
				printf(w, " (%s)", shown(act.Why))
			}
			if act.Outcome != "" {
				printf(w, ": %s", shown(act.Outcome))
			}
			printf(w, "\n")
		}
		printf(w, "\n")
	}
}

// withName gives an id with the name that people know it by.
func withName(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return id + " " + shown(name)
}
