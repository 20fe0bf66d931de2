package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
)

// act is a button. What it asks for is put together here, from the API's own types: the script adds
// what a person fills in, asks what would happen, shows it, and sends it.
type act struct {
	Label  string
	Title  string // of the dialog, and the button's name for who cannot see what it stands beside
	Says   string // what happens, in words
	Method string
	Path   string
	Body   string // JSON; empty where the path says it all
	Fields string // what can be filled in beside why: until, targets or past
	Dry    bool   // the API says what would happen
}

// May tells whether the reader may act.
func (v *view) May() bool { return v.Caller.Refused == "" }

// acts are the functions of the templates that make buttons.
func acts() template.FuncMap {
	return template.FuncMap{
		"pauseAll":        func() act { return pausing("everything", Scope{All: true}).labelled("Pause everything") },
		"pauseConnection": func(name string) act { return pausing("connection "+name, Scope{Connection: name}) },
		"pausePolicy":     func(name string) act { return pausing("policy "+name, Scope{Policy: name}) },
		"pauseTask": func(t Task) act {
			return pausing("task "+called(t.Name, t.ID), Scope{Task: t.ID, Project: t.ProjectID}).labelled("Pause task")
		},
		"pauseDevice": func(project, task, device string) act {
			return pausing("device "+device+" in task "+task, Scope{Task: task, Project: project, Devices: []string{device}})
		},
		"endPause":   endingPause,
		"endHalt":    endingHalt,
		"approve":    approving,
		"revoke":     revoking,
		"forgive":    func(project, task, device string) act { return forgiving(project, task, device) },
		"forgiveAll": func(t Task) act { return forgiving(t.ProjectID, t.ID).labelled("Forgive all") },
		"retry": func(project, task, device string) act {
			return retrying(NewRetry{Task: task, Project: project, Devices: []string{device}}, "device "+device+" in task "+task)
		},
		"retryAll": func(t Task) act {
			return retrying(NewRetry{Task: t.ID, Project: t.ProjectID, AllFailed: true}, "all that failed in task "+called(t.Name, t.ID)).labelled("Retry all")
		},
		"sweep": sweeping,
	}
}

// labelled gives the button other words; its dialog's title begins with them.
func (a act) labelled(words string) act {
	a.Label = words
	return a
}

func called(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

func asJSON(body any) string {
	text, err := json.Marshal(body)
	if err != nil { // of the API's own types there is none
		return ""
	}
	return string(text)
}

func pausing(what string, sc Scope) act {
	return act{
		Label: "Pause", Title: "Pause " + what, Method: http.MethodPost, Path: "/api/v1/pauses", Body: asJSON(NewPause{Scope: sc}), Fields: "until", Dry: true,
		Says: "From the next claim on no replica retries anything of it. Sweeps go on reading, and what is under way is observed.",
	}
}

func endingPause(p Pause) act {
	return act{
		Label: "Resume", Title: "Resume: end the pause of " + pausedWhat(p), Method: http.MethodDelete, Path: "/api/v1/pauses/" + strconv.FormatInt(p.ID, 10),
		Says: fmt.Sprintf("Ends the pause that %s made: %s. What is due is retried at the next sweep, unless something else holds it back.", p.Who, p.Why),
	}
}

func endingHalt(h Halt) act {
	what := "task " + h.TaskID
	if h.TaskID == "" {
		what = "policy " + h.Policy
	}
	return act{
		Label: "Resume", Title: "Resume: end the halt of " + what, Method: http.MethodDelete, Path: "/api/v1/halts/" + strconv.FormatInt(h.ID, 10),
		Says: fmt.Sprintf("%d of %d retried targets failed again: be sure that the package is good. Retries begin again with a small wave.", h.Failed, h.Failed+h.Recovered),
	}
}

func approving(t Task, policyHash string) act {
	return act{
		Label: "Approve", Title: "Approve task " + called(t.Name, t.ID), Method: http.MethodPost, Path: "/api/v1/approvals", Fields: "valid targets", Dry: true,
		Body: asJSON(NewApproval{Task: t.ID, Project: t.ProjectID, Policy: t.Policy, PolicyHash: policyHash}),
		Says: "Opens the task to its policy: what is due in it is retried from the next sweep on.",
	}
}

func revoking(a Approval) act {
	return act{
		Label: "Revoke", Title: "Revoke the approval of task " + a.TaskID, Method: http.MethodDelete, Path: "/api/v1/approvals/" + strconv.FormatInt(a.ID, 10),
		Says: "The task is closed again: nothing of it is retried until somebody approves it.",
	}
}

func forgiving(project, task string, devices ...string) act {
	a := act{
		Label: "Forgive", Title: "Forgive all that is given up in task " + task, Method: http.MethodPost, Path: "/api/v1/forgiveness", Dry: true,
		Body: asJSON(NewForgiveness{Task: task, Project: project, Devices: devices}),
		Says: "The counted attempts are 0 again: as many as the policy allows can follow.",
	}
	if len(devices) == 1 {
		a.Title = "Forgive device " + devices[0] + " in task " + task
	}
	return a
}

func retrying(body NewRetry, what string) act {
	return act{
		Label: "Retry", Title: "Retry " + what, Method: http.MethodPost, Path: "/api/v1/retries", Body: asJSON(body), Fields: "past", Dry: true,
		Says: "Retried now, once, and counted like any other attempt. Nothing is retried that is in flight, or whose task is in the wrong status.",
	}
}

func sweeping(policyName string) act {
	return act{
		Label: "Sweep", Title: "Sweep policy " + policyName + " now", Method: http.MethodPost, Path: "/api/v1/sweeps", Body: asJSON(NewSweep{Policies: []string{policyName}}), Dry: true,
		Says: "The policy looks at its tasks now on each of its connections, and retries what is due, as at a tick.",
	}
}

// pausedWhat names what a pause holds.
func pausedWhat(p Pause) string {
	switch p.Scope {
	case "connection":
		return "connection " + p.Connection
	case "policy":
		return "policy " + p.Policy
	case "task":
		return "task " + p.TaskID
	case "device":
		return "device " + p.DeviceID + " in task " + p.TaskID
	}
	return "everything"
}
