package web

import (
	"fmt"
	"strconv"
	"time"

	"retryd/internal/policy"
)

// rest is how the backoff after the last attempt comes about.
func (j *judged) rest() policy.Rest {
	r := j.facts.Record
	return j.policy.CauseOf(j.facts).Backoff.Explain(r.Counted, r.N, j.facts.Target)
}

// arithmetic is how the moment of the next attempt comes about, where it is to have one by time alone.
func (j *judged) arithmetic() (steps []Step) {
	if j.target.Reason != policy.InBackoff && j.target.Reason != policy.Due && j.target.Reason != policy.Capped && j.target.Reason != policy.Observed {
		return nil
	}
	add := func(what, value, note string) { steps = append(steps, Step{what, value, note}) }
	if r := j.facts.Record; r.Counted == 0 {
		add("attempts", "0", "a first attempt rests for nothing")
	} else {
		j.addBackoff(add)
	}
	if j.task.Reason != "" {
		note := j.task.Detail
		if !j.task.NotBefore.IsZero() {
			note += ", until " + j.clock(j.task.NotBefore)
		}
		add("task", plainly(string(j.task.Reason)), note)
	}
	from := j.from()
	if v := j.policy.Outside(from); v.Reason == "" {
		add("window", "open", "")
	} else {
		add("window", j.opens(v), v.Detail)
	}
	if j.next.IsZero() {
		return steps
	}
	add("next tick", j.full(j.next), fmt.Sprintf("of %q, with the policy's own delay on this connection", j.policy.Schedule.Spec))
	if j.policy.Targets.RequireOnline {
		add("online", "looked up then", "targets.require_online: a device that is not connected waits for the next sweep")
	}
	if end := j.givesUp(); !end.IsZero() {
		add("given up", j.full(end), "give_up_after "+policy.Short(j.policy.Attempts.GiveUpAfter)+" since its first attempt")
	}
	add("so", j.full(j.next), "limits may put it off further")
	return steps
}

func (j *judged) addBackoff(add func(what, value, note string)) {
	r, cause, rest := j.facts.Record, j.policy.CauseOf(j.facts), j.rest()
	add("attempts", fmt.Sprintf("%d of %d", r.Counted, cause.Max), "that count")
	add("last outcome", j.full(r.SeenAt), "seen then: "+string(r.State))
	b := cause.Backoff
	if len(b.Delays) > 0 {
		add("base", policy.Short(rest.Base), fmt.Sprintf("delay %d of %d", min(r.Counted, len(b.Delays)), len(b.Delays)))
	} else {
		add("base", policy.Short(rest.Base), "backoff.initial")
		grown := policy.Short(rest.Grown.Round(time.Second))
		add("grown", grown, fmt.Sprintf("× %s^%d", strconv.FormatFloat(b.Multiplier, 'g', -1, 64), r.Counted-1))
		if rest.Capped {
			add("at most", policy.Short(b.Max), "backoff.max")
		}
	}
	if b.Jitter > 0 {
		sign := "+"
		if rest.Jitter < 0 {
			sign = "−"
		}
		add("jitter", sign+policy.Short(rest.Jitter.Abs().Round(time.Second)),
			fmt.Sprintf("of ±%s %%, always the same for this attempt", strconv.FormatFloat(b.Jitter*100, 'g', 3, 64)))
	}
	add("= backoff", policy.Short(rest.Rest.Round(time.Second)), "")
	add("not before", j.full(r.SeenAt.Add(rest.Rest)), "")
}

func (j *judged) opens(v policy.Verdict) string {
	if v.NotBefore.IsZero() {
		return "none opens"
	}
	return "opens " + j.full(v.NotBefore)
}

// full gives a moment with its day.
func (j *judged) full(t time.Time) string {
	return t.Truncate(time.Second).In(j.zone).Format("2006-01-02 15:04:05 -07:00")
}
