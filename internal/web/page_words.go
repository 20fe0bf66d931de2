package web

import (
	"cmp"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// words are the functions of the templates.
func words(a assets) template.FuncMap {
	return template.FuncMap{
		"asset":        a.path,
		"number":       number,
		"gain":         gain,
		"percent":      percent,
		"counts":       counts,
		"join":         strings.Join,
		"mark":         mark,
		"means":        means,
		"plain":        plain,
		"taskPath":     taskPath,
		"devicePath":   func(device string) string { return "/devices?" + url.Values{"device": {device}}.Encode() },
		"query":        query,
		"short":        short,
		"bar":          barOf,
		"modes":        modes,
		"taskStatuses": func() []iotda.TaskStatus { return policy.TaskStatuses() },
	}
}

// number groups the digits of a number by three.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// percent gives a share; one that is not all and not nothing is never shown as that.
func percent(share *float64) string {
	switch {
	case share == nil:
		return "–"
	case *share > 0.999 && *share < 1:
		return "> 99.9 %"
	case *share > 0 && *share < 0.001:
		return "< 0.1 %"
	}
	return strconv.FormatFloat(*share*100, 'f', 1, 64) + " %"
}

// gain gives by how much more succeeds with retryd, in points of a hundred.
func gain(platform, all *float64) string {
	if platform == nil || all == nil {
		return "–"
	}
	return "+" + strconv.FormatFloat((*all-*platform)*100, 'f', 1, 64) + " %"
}

// count is how many there are of a name.
type count struct {
	Name string
	N    int
}

// counts gives what there is at all, the most first.
func counts(m map[string]int) (list []count) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != 0 {
			list = append(list, count{name, m[name]})
		}
	}
	slices.SortStableFunc(list, func(a, b count) int { return cmp.Compare(b.N, a.N) })
	return list
}

// plain makes words of a name of ours.
func plain(name string) string { return strings.ReplaceAll(name, "_", " ") }

// short cuts a hash to what tells it from others.
func short(hash string) string { return hash[:min(len(hash), 8)] }

func trimmed(s string) string { return strings.TrimSpace(s) }

func taskPath(project, task string) string {
	return "/tasks/" + url.PathEscape(project) + "/" + url.PathEscape(task)
}

// query gives a path with a query of names and values, without those that are empty.
func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// Pages gives the pages before and after the one that is shown.
func (v *view) Pages(next string) struct{ First, Next string } {
	q := url.Values{}
	maps.Copy(q, v.Query)
	links := struct{ First, Next string }{}
	if q.Get("after") != "" {
		q.Del("after")
		links.First = v.Path() + "?" + q.Encode()
	}
	if next != "" {
		q.Set("after", next)
		links.Next = v.Path() + "?" + q.Encode()
	}
	return links
}

func modes() []string {
	return []string{string(policy.ModeObserve), string(policy.ModeApprove), string(policy.ModeAuto)}
}

// mark gives the class of a state: its colour, and the shape that says the same.
func mark(state string) string {
	switch state {
	case "up", "complete", "recovered", "done", "Success":
		return "good"
	case "down", "failed", "exhausted", "permanent", "expired", "halted", "rejected", "Fail":
		return "bad"
	case "partial", "skipped", "paused", "awaiting_approval", "unknown", "capped", "PartialSuccess", "connection_down":
		return "warn"
	case "running", "open", "accepted", "claimed", "in_flight", "due", "Processing":
		return "busy"
	}
	return ""
}

// means says in a few words what a verdict or an end is; docs/deciding.md says it at length.
func means(reason string) string {
	switch policy.Reason(reason) {
	case policy.OtherPolicy:
		return "another policy owns the task"
	case policy.TaskStatus:
		return "the task is in a status in which nothing is retried"
	case policy.TaskAge:
		return "the task is too old"
	case policy.Backlog:
		return "the task is from before the policy"
	case policy.ConnectionDown:
		return "the connection cannot be used"
	case policy.Paused:
		return "a person has paused it"
	case policy.OutsideWindow:
		return "no window is open"
	case policy.AwaitingApproval:
		return "a person has to open the task"
	case policy.Halted:
		return "too many retries failed again"
	case policy.NotSelected:
		return "its status is not one that the policy retries"
	case policy.Excluded:
		return "the policy leaves the device out"
	case policy.SupersededBy:
		return "a newer task has the device too"
	case policy.InFlight:
		return "a retry is under way"
	case policy.Permanent:
		return "given up: no retry mends the cause"
	case policy.Exhausted:
		return "given up: all attempts are used"
	case policy.Expired:
		return "given up: too long since its first attempt"
	case policy.InBackoff:
		return "rests until its next attempt"
	case policy.Offline:
		return "the device is not online"
	case policy.Capped:
		return "a limit holds it back"
	case policy.Observed:
		return "due, but the policy only observes"
	case policy.Due:
		return "to be retried now"
	}
	switch reason {
	case "recovered":
		return "Success was read after a retry"
	case "resolved_elsewhere":
		return "succeeded without a retry of retryd's"
	case "gone":
		return "its task has ended, or no outcome came"
	}
	return ""
}
