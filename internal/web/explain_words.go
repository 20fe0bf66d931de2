package web

import (
	"fmt"
	"strings"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// summary says the verdict in one sentence, of which the device is the subject; and where it has
// other reasons of its own, what holds its task back besides.
func (j *judged) summary() string {
	text := j.verdictText()
	switch {
	case j.task.Reason != policy.Paused && j.task.Reason != policy.Halted, j.verdict.Reason == j.task.Reason, j.settled():
		return text
	case j.task.Reason == policy.Paused:
		return text + "; besides, it is paused (" + j.task.Detail + ")"
	}
	return text + "; besides, its task is halted (" + j.task.Detail + ")"
}

// settled tells whether nothing is to come of the target in this task, whatever holds that back.
func (j *judged) settled() bool {
	switch j.verdict.Reason {
	case policy.OtherPolicy, policy.Excluded, policy.SupersededBy:
		return true
	case policy.NotSelected:
		return j.facts.Subtask.Status == iotda.SubtaskSuccess || j.facts.Subtask.Status == iotda.SubtaskRemoved
	}
	return false
}

func (j *judged) verdictText() string {
	d, r := j.verdict.Detail, j.facts.Record
	switch j.verdict.Reason {
	case policy.OtherPolicy:
		return "is in a task that no policy of the configuration selects: nothing is retried"
	case policy.NotSelected:
		return j.notSelected()
	case policy.Excluded:
		return fmt.Sprintf("is left out by policy %s: it is %s", j.policy.Name, d)
	case policy.SupersededBy:
		return "is left to a newer task that has the device too (" + d + "): an older one could undo it"
	case policy.InFlight:
		return "has an attempt under way, whose outcome is waited for (" + d + ")"
	case policy.Permanent:
		return fmt.Sprintf("is given up: no retry mends such a failure (%s); retryd retry --past-max tries once all the same, a rule in errors lets it be retried", d)
	case policy.Exhausted:
		return fmt.Sprintf("is given up: %s are used; retryd forgive lets it begin anew", d)
	case policy.Expired:
		return fmt.Sprintf("is given up: more than %s have passed since its %s; retryd forgive lets it begin anew", policy.Short(j.policy.Attempts.GiveUpAfter), d)
	case policy.Capped:
		return fmt.Sprintf("is due, and a limit holds it back (%s); the next sweep looks again", d)
	case policy.Observed:
		return fmt.Sprintf("is due, but policy %s only observes: nothing is sent", j.policy.Name)
	case policy.Due, policy.InBackoff, policy.OutsideWindow:
		return j.waits("")
	case policy.Paused:
		return j.waits("is paused (" + d + ")")
	case policy.Halted:
		return j.waits("is in a task that is halted (" + d + ")")
	case policy.AwaitingApproval:
		return fmt.Sprintf("waits for a person to approve its task (%s): retryd approve %s", d, j.facts.Target.TaskID)
	case policy.ConnectionDown:
		return fmt.Sprintf("waits until connection %s can be used again (%s)", j.connection.Name, d)
	case policy.TaskStatus:
		return "is in a task with a status in which nothing is retried (" + d + ")"
	case policy.TaskAge:
		return fmt.Sprintf("is in a task that is older than policy %s takes on (%s)", j.policy.Name, d)
	case policy.Backlog:
		return fmt.Sprintf("is in a task from before policy %s was first seen (%s), and the policy does not say backlog: true", j.policy.Name, d)
	}
	return fmt.Sprintf("waits: %s (%s), after %d attempts", plainly(string(j.verdict.Reason)), d, r.Counted)
}

func plainly(name string) string { return strings.ReplaceAll(name, "_", " ") }

func (j *judged) notSelected() string {
	switch status := j.facts.Subtask.Status; status {
	case iotda.SubtaskSuccess:
		if j.facts.Record.State == policy.Recovered {
			return fmt.Sprintf("has recovered: Success was read after attempt %d", j.facts.Record.N)
		}
		return "has succeeded: there is nothing to retry"
	case iotda.SubtaskProcessing, iotda.SubtaskWaitting, iotda.SubtaskFailWaitRetry:
		return fmt.Sprintf("is being worked on by the platform (%s): it is retried when that has failed", status)
	case iotda.SubtaskRemoved:
		return "is not in the task any more"
	default:
		return fmt.Sprintf("has a sub-task in status %s, which policy %s does not retry", iotda.Clip(string(status), 40), j.policy.Name)
	}
}

// waits says until when it waits, and what makes it so long.
func (j *judged) waits(held string) string {
	var because []string
	if held != "" {
		because = append(because, held)
	}
	if j.target.Reason == policy.InBackoff {
		because = append(because, fmt.Sprintf("its backoff of %s ends %s", policy.Short(j.rest().Rest.Round(time.Second)), j.clock(j.target.NotBefore)))
	}
	from := j.from()
	if v := j.policy.Outside(from); v.Reason != "" {
		if v.NotBefore.IsZero() {
			because = append(because, "no window opens after that")
		} else {
			because = append(because, "the window opens "+j.clock(v.NotBefore))
		}
	}
	switch {
	case j.next.IsZero() && held != "" && j.verdict.NotBefore.IsZero():
		return held + ", until a person resumes it"
	case j.next.IsZero():
		return "waits, and no sweep is in sight that could retry it: " + strings.Join(because, "; ")
	case len(because) == 0:
		return j.least("is due: the next sweep retries it, at " + j.clock(j.next))
	}
	return j.least(fmt.Sprintf("waits until %s (%s)", j.clock(j.next), strings.Join(because, "; ")))
}

// least adds what may come in between.
func (j *judged) least(text string) string {
	if j.unread && j.policy.Tasks.Superseded == policy.SupersededSkip {
		text += ", unless a newer task has the device too: not all were looked at"
	}
	if end := j.givesUp(); !end.IsZero() && !j.next.Before(end) {
		text += fmt.Sprintf(", but it is given up by then: give_up_after ends %s", j.clock(end))
	}
	return text
}

// from is when nothing but windows and ticks keep it waiting.
func (j *judged) from() time.Time {
	if j.verdict.NotBefore.After(j.now) && j.task.Reason != policy.OutsideWindow {
		return j.verdict.NotBefore
	}
	if j.target.NotBefore.After(j.now) {
		return j.target.NotBefore
	}
	return j.now
}

func (j *judged) givesUp() time.Time {
	if j.facts.Record.FirstAt.IsZero() || j.policy.Attempts.GiveUpAfter <= 0 {
		return time.Time{}
	}
	return j.facts.Record.FirstAt.Add(j.policy.Attempts.GiveUpAfter)
}

// clock says a moment as a clock in the policy's zone shows it: with the day where that is not today,
// and with seconds where it is soon.
func (j *judged) clock(t time.Time) string {
	t = t.Truncate(time.Second).In(j.zone)
	switch now := j.now.In(j.zone); {
	case t.YearDay() != now.YearDay() || t.Year() != now.Year():
		return t.Format("2006-01-02 15:04 -07:00")
	case t.Sub(now).Abs() < time.Hour:
		return t.Format("15:04:05 -07:00")
	}
	return t.Format("15:04 -07:00")
}
