package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"retryd/internal/web"
)

type retryCmd struct {
	handFlags
	Task string `arg:"" help:"The task, by id or name."`
	projectFlag
	Devices    []string `arg:"" optional:"" name:"device" help:"Devices of the task."`
	AllFailed  bool     `help:"All of its failed targets, instead of devices that are named."`
	PastWindow bool     `help:"Also outside the policy's windows, and in a blackout."`
	PastLimit  bool     `help:"Also beyond the policy's limits; never beyond the account's rate."`
	PastMax    bool     `help:"One attempt more for targets that are exhausted, expired or permanent. It counts."`
}

// Help says what no flag goes past.
func (c retryCmd) Help() string {
	return "Targets that are named are retried although they rest, were never approved, or belong to a policy that only observes. " +
		"Never past these: the states in which the platform takes a retry, an attempt that is open, a newer task that has the device, a pause, a halt, a connection that is down."
}

// Validate looks at what kong cannot.
func (c retryCmd) Validate() error {
	if len(c.Devices) > 0 == c.AllFailed {
		return errors.New("name devices, or say --all-failed")
	}
	return c.handFlags.Validate()
}

// Run has the targets retried, and waits for what comes of it.
func (c retryCmd) Run(a *app) error {
	h, done, err := c.begin(a)
	if err != nil {
		return err
	}
	defer done()
	body := web.NewRetry{Task: c.Task, Project: c.Project, Devices: c.Devices, AllFailed: c.AllFailed, PastWindow: c.PastWindow, PastLimit: c.PastLimit, PastMax: c.PastMax, Why: c.Why}
	if !c.Yes || c.DryRun {
		would := body
		would.DryRun = true
		var answer web.Request
		if err := h.post("retries", would, &answer); err != nil {
			return err
		}
		due := answer.Result.Targets["due"]
		if due == 0 && !c.DryRun {
			printf(a.stdout, "retry of task %s: nothing%s\n", shown(c.Task), resultLines(answer.Result))
			return nothingOf(answer.Result)
		}
		if ok, err := h.sure("retry %s of task %s%s", plural(due, "target"), shown(c.Task), resultLines(answer.Result)); err != nil || !ok {
			return err
		}
	}
	var asked web.Request
	if err := h.post("retries", body, &asked); err != nil {
		return err
	}
	ended, err := h.await(asked)
	if err != nil {
		return err
	}
	came := ended.State
	if came == "done" && len(ended.Result.Sent) == 0 {
		came = "nothing"
	}
	printf(a.stdout, "retry of task %s: %s%s\n", shown(c.Task), came, resultLines(ended.Result))
	return verdictOn(ended)
}

// resultLines lists what came of it, or would.
func resultLines(o web.Outcome) (text string) {
	for _, reason := range slices.Sorted(maps.Keys(o.Targets)) {
		text += fmt.Sprintf("\n  %7d %s", o.Targets[reason], reason)
	}
	if capped := cappedBy(o.Capped); capped != "" {
		text += "\n  capped: " + capped
	}
	var sent []string
	for _, state := range slices.Sorted(maps.Keys(o.Sent)) {
		sent = append(sent, fmt.Sprintf("%d %s", o.Sent[state], state))
	}
	if len(sent) > 0 {
		text += "\n  attempts: " + strings.Join(sent, ", ")
	}
	for _, left := range o.Left[:min(len(o.Left), maxShown)] {
		text += fmt.Sprintf("\n  %s is not retried: %s: %s", shown(left.DeviceID), left.Reason, shown(left.Detail))
	}
	if more := len(o.Left) - maxShown; more > 0 {
		text += fmt.Sprintf("\n  … and %d more", more)
	}
	return text
}

// verdictOn gives the exit code of a request that has ended.
func verdictOn(r web.Request) error {
	sent := 0
	for _, n := range r.Result.Sent {
		sent += n
	}
	switch {
	case r.State == "done" && (sent > 0 || r.Kind == "sweep"):
		return nil
	case r.State == "done":
		return nothingOf(r.Result)
	case sent > 0:
		return failure{exitPartial, errors.New(strings.Join(r.Result.Problems, "\n"))}
	}
	return errors.New(strings.Join(append([]string{"request " + r.State}, r.Result.Problems...), ": "))
}

// nothingOf says why nothing is retried.
func nothingOf(o web.Outcome) error {
	why := "nothing of it may be now"
	if closed := slices.Sorted(maps.Keys(o.Targets)); len(closed) == 0 && len(o.Left) == 0 {
		why = "the task has no failed target"
	} else if len(closed) == 1 && o.Targets[closed[0]] == 0 {
		why = "the task as a whole may not be: " + closed[0]
	}
	return failure{exitNothing, errors.New("nothing was retried: " + why)}
}

// looksAgain is how often a request that waits is looked at with the eyes of who could perform it.
const looksAgain = 3 * time.Second

// await waits for a request to come to its end. Whoever drives the connection performs it: not this
// command, which can be left.
func (h *hand) await(r web.Request) (web.Request, error) {
	said, looked := false, time.Now()
	for begun := looked; !slices.Contains([]string{"done", "failed", "expired"}, r.State); {
		if !said && time.Since(begun) > 5*time.Second {
			said = true
			printf(h.a.stderr, "request %d is %s: whoever drives connection %s performs it. Ctrl-C leaves it to that.\n", r.ID, r.State, r.Connection)
		}
		select {
		case <-h.a.ctx.Done():
			return r, fmt.Errorf("left: request %d is %s, and whoever drives connection %s goes on with it", r.ID, r.State, r.Connection)
		case <-time.After(300 * time.Millisecond):
		}
		if time.Since(looked) > looksAgain {
			looked = time.Now()
			if err := h.api.own.again(h.a.ctx, r.ID); err != nil {
				return r, err
			}
		}
		if err := h.api.Get(h.a.ctx, fmt.Sprintf("requests/%d", r.ID), nil, &r); err != nil && h.a.ctx.Err() == nil {
			return r, err
		}
	}
	return r, nil
}
