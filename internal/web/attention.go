package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// late is by how much a sweep may be late before somebody should look: longer than the pauses of
// its own tries, and than other sweeps that it waits for.
const late = 30 * time.Minute

// maxAttention is how many tasks, or sweeps, are named one by one.
const maxAttention = 10

// attention gives what a person should look at, the worst first: what keeps everything from being
// retried, what keeps a part from it, what people themselves hold back, and what waits for them.
func (k known) attention(s Status, tasks, awaiting []store.TaskRow) []Attention {
	list := []Attention{}
	for _, find := range []func(Status) []Attention{k.unconfigured, k.undriven, down, k.overdue, troubled, refusedNow, unlike, k.haltedNow} {
		list = append(list, find(s)...)
	}
	list = append(list, k.pausedNow(tasks)...)
	list = append(list, waiting(awaiting)...)
	list = append(list, k.stale()...)
	return append(list, lost(tasks)...)
}

// lost are targets that are given up, of tasks that have not come to their end.
func lost(tasks []store.TaskRow) []Attention {
	in, all, ends, link := 0, 0, map[string]int{}, ""
	for _, t := range tasks {
		n := 0
		for _, end := range store.GivenUp() { // no more than still read Fail: some may be mended, and that not be seen yet
			some := min(givenUp(t, end), t.Fail-n)
			ends[end] += some
			n += some
		}
		if n > 0 {
			in, all, link = in+1, all+n, taskPath(t.ProjectID, t.ID)
		}
	}
	var why, do []string
	for _, end := range store.GivenUp() {
		if ends[end] > 0 {
			why = append(why, fmt.Sprintf("%d %s", ends[end], end))
			do = append(do, "retryd targets --is "+end)
		}
	}
	if in == 0 {
		return nil
	}
	if in > 1 {
		link = "/tasks"
	}
	is := " are"
	if all == 1 {
		is = " is"
	}
	return []Attention{{
		What: fmt.Sprintf("%s in %s%s given up: %s", amount(all, "device"), amount(in, "task"), is, strings.Join(why, ", ")),
		Do:   "see which and why: " + strings.Join(do, ", "), Link: link,
	}}
}

// givenUp is how many targets of a task have come to an end from which only a person brings them
// back; none where there is nothing to bring them back to.
func givenUp(t store.TaskRow, end string) int {
	if finished(t) || iotda.TaskStatus(t.Status).Ending() {
		return 0
	}
	return t.Ended[end]
}

// unconfigured is a configuration of which only a part can be used, as where a command looks at the ledger for itself.
func (k known) unconfigured(s Status) (list []Attention) {
	if len(k.config.Connections) > 0 {
		return nil
	}
	if len(s.Replicas) == 0 {
		list = append(list, unattended())
	}
	return append(list, Attention{
		What: "The configuration cannot be used as it is: which policies and connections there are is not known here", Do: "see what is wrong: retryd check",
	})
}

func unattended() Attention {
	return Attention{What: "No retryd runs with this ledger: nothing is swept", Do: "start it: retryd run; if it should be running, its log says why it is not", Link: "/connections"}
}

// undriven are connections that nobody sweeps.
func (k known) undriven(s Status) []Attention {
	var names []string
	for _, c := range s.Connections {
		if c.DrivenBy == "" && k.swept(c.Name) {
			names = append(names, c.Name)
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case len(s.Replicas) == 0:
		return []Attention{unattended()}
	}
	return []Attention{{
		What: "Nobody drives " + several("connection", names) + ": nothing is swept there", Link: "/connections",
		Do: "look at the logs of the replicas: the ledger is slow or cannot be reached, or none of them has it in its configuration",
	}}
}

// swept tells whether any policy wants a connection.
func (k known) swept(connection string) bool {
	return slices.ContainsFunc(k.config.Policies, func(p *policy.Policy) bool { return slices.Contains(p.Connections, connection) })
}

// down are connections that cannot be used, together where the same has to be done.
func down(s Status) (list []Attention) {
	var kinds [][]Connection
	for _, c := range s.Connections {
		if c.State != "down" {
			continue
		}
		i := slices.IndexFunc(kinds, func(kind []Connection) bool { return kind[0].Reason == c.Reason && kind[0].Remedy == c.Remedy })
		if i < 0 {
			kinds = append(kinds, []Connection{c})
		} else {
			kinds[i] = append(kinds[i], c)
		}
	}
	for _, kind := range kinds {
		c := kind[0]
		a := Attention{What: "Connection " + c.Name + " is down: " + c.Reason, Do: c.Remedy, Link: "/connections"}
		if len(kind) > 1 {
			a.What = amount(len(kind), "connection") + " are down (" + first(mapped(kind, func(c Connection) string { return c.Name })) + "): " + c.Reason
		}
		if c.Detail != "" {
			a.What += ", " + c.Detail
		}
		if c.Since != nil {
			a.What += ", since " + stamp(*c.Since)
		}
		list = append(list, a)
	}
	return list
}

// overdue are policies that are driven, and not swept.
func (k known) overdue(s Status) []Attention {
	var names []string
	for _, p := range k.config.Policies {
		for _, row := range s.Policies {
			if row.Name != p.Name || !row.Driven || row.Running != nil || isDown(s, row.Connection) {
				continue
			}
			from := k.baseline(p.Name, row.Connection)
			due := scheduler.NextSweep(p, row.Connection, from, from)
			if !due.IsZero() && k.now.Sub(due) > late {
				names = append(names, row.Name+" on "+row.Connection+" since "+stamp(due))
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Attention{{What: "Sweeps are overdue: " + first(names), Do: "look at the log of the replica that drives the connection", Link: "/policies"}}
}

// troubled are policies whose last sweep was not complete, for another reason than a connection
// that is down.
func troubled(s Status) (list []Attention) {
	for _, p := range s.Policies {
		if p.Last == nil || p.Last.Result == scheduler.SweepComplete || p.Last.Result == "skipped" && p.Complete != nil && p.Complete.After(p.Last.Started) || isDown(s, p.Connection) {
			continue
		}
		what := fmt.Sprintf("The last sweep of %s on %s (%s) was %s", p.Name, p.Connection, stamp(p.Last.Started), p.Last.Result)
		if len(p.Last.Problems) > 0 {
			what += ": " + p.Last.Problems[0]
		} else if p.Last.Why != "" {
			what += ": " + p.Last.Why
		}
		do := "none has been complete yet"
		if p.Complete != nil {
			do = "the last complete one began at " + stamp(*p.Complete)
		}
		list = append(list, Attention{What: what, Do: do, Link: query("/sweeps", "policy", p.Name, "connection", p.Connection)})
	}
	if n := len(list); n > maxAttention {
		list = append(list[:maxAttention], Attention{What: fmt.Sprintf("The last sweeps of %d more policies were not complete", n-maxAttention), Link: "/policies"})
	}
	return list
}

func isDown(s Status, connection string) bool {
	return slices.ContainsFunc(s.Connections, func(c Connection) bool { return c.Name == connection && c.State == "down" })
}

// unlike are replicas that do not have the configuration of this one.
func unlike(s Status) []Attention {
	var names []string
	for _, r := range s.Replicas {
		if s.ConfigHash != "" && r.ConfigHash != s.ConfigHash {
			names = append(names, r.ID+" ("+r.ConfigHash+")")
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Attention{{
		What: "Another configuration than the one looked at here (" + s.ConfigHash + ") is in force in " + first(names),
		Do:   "reload it: retryd reload, on each host; a refused reload is in its log",
	}}
}

// haltedNow are tasks and policies that have halted themselves.
func (k known) haltedNow(Status) (list []Attention) {
	for i, h := range k.halts {
		if i == maxAttention {
			return append(list, Attention{What: fmt.Sprintf("%d more tasks or policies are halted", len(k.halts)-i), Link: "/tasks"})
		}
		a := Attention{What: "Policy " + h.Policy + " is halted: " + h.String(), Do: "find out what fails; then retryd resume --policy " + h.Policy + " --why …", Link: "/policies"}
		if h.Scope == policy.HaltTask {
			a = Attention{What: "Task " + h.TaskID + " is halted: " + h.String(), Do: "find out what fails; then retryd resume --task " + h.TaskID + " --why …", Link: taskPath(h.ProjectID, h.TaskID)}
		}
		list = append(list, a)
	}
	return list
}

// maxPaused is how many paused tasks and devices are named one by one.
const maxPaused = 3

// pausedNow are the pauses one by one, and how many there are of tasks and devices where those are many.
func (k known) pausedNow(tasks []store.TaskRow) (list []Attention) {
	var one []Attention
	of := map[store.PauseScope]int{}
	for _, p := range k.pauses {
		of[p.Scope]++
		a := Attention{Link: "/policies"}
		switch p.Scope {
		case store.PauseAll:
			a.What, a.Do = "Everything is paused, ", "retryd resume --all --why …"
		case store.PauseConnection:
			a.What, a.Do, a.Link = "Connection "+p.Connection+" is paused, ", "retryd resume --connection "+p.Connection+" --why …", "/connections"
		case store.PausePolicy:
			a.What, a.Do = "Policy "+p.Policy+" is paused, ", "retryd resume --policy "+p.Policy+" --why …"
		case store.PauseTask, store.PauseDevice:
			what, device := taskName(tasks, p), ""
			if p.Scope == store.PauseDevice {
				what, device = "Device "+p.DeviceID+" in t"+what[1:], " "+p.DeviceID
			}
			one = append(one, Attention{What: what + " is paused, " + by(p), Do: "retryd resume --task " + p.TaskID + device + " --why …", Link: taskPath(p.ProjectID, p.TaskID)})
			continue
		}
		a.What += by(p)
		list = append(list, a)
	}
	if len(one) <= maxPaused {
		return append(list, one...)
	}
	var what []string
	if n := of[store.PauseTask]; n > 0 {
		what = append(what, amount(n, "task"))
	}
	if n := of[store.PauseDevice]; n > 0 {
		what = append(what, amount(n, "device"))
	}
	return append(list, Attention{What: strings.Join(what, " and ") + " are paused", Do: "retryd resume --task TASK --why …", Link: "/tasks"})
}

// taskName gives the task of a pause with its name, as far as that is known.
func taskName(tasks []store.TaskRow, p store.Pause) string {
	for _, t := range tasks {
		if t.ProjectID == p.ProjectID && t.ID == p.TaskID {
			return fmt.Sprintf("Task %q (%s)", t.Name, t.ID)
		}
	}
	return "Task " + p.TaskID
}

// refusedNow is the configuration that was not taken when the daemon was last to reload it.
func refusedNow(s Status) []Attention {
	if s.ReloadRefused == nil {
		return nil
	}
	return []Attention{{
		What: "The last reload was refused, at " + stamp(s.ReloadRefused.At) + "; the configuration before is in force: " + s.ReloadRefused.Why,
		Do:   "mend it until retryd check has nothing against it; then retryd reload",
	}}
}

// by says of a pause who made it, when and why.
func by(p store.Pause) string { return strings.TrimPrefix(p.String(), string(p.Scope)+", ") }

// waiting are tasks that a person has to approve.
func waiting(tasks []store.TaskRow) (list []Attention) {
	for i, t := range tasks {
		if i == maxAttention {
			return append(list, Attention{What: fmt.Sprintf("%d more tasks await approval", len(tasks)-i), Link: "/tasks"})
		}
		list = append(list, Attention{
			What: fmt.Sprintf("Task %q (%s) awaits approval: %s", t.Name, t.ID, amount(t.Fail, "failed target")),
			Do:   `retryd approve ` + t.ID + ` --why "…"`, Link: taskPath(t.ProjectID, t.ID),
		})
	}
	return list
}

// stale are approvals that open nothing any more.
func (k known) stale() (list []Attention) {
	for _, a := range k.approvals {
		for _, p := range k.config.Policies {
			if p.Name == a.Policy && p.Hash != a.PolicyHash && len(list) < maxAttention {
				list = append(list, Attention{
					What: fmt.Sprintf("The approval of task %s by %s opens nothing: policy %s has changed since", a.TaskID, a.Who, a.Policy),
					Do:   `look at the policy, and retryd approve ` + a.TaskID + ` --why "…" once more`, Link: taskPath(a.ProjectID, a.TaskID),
				})
			}
		}
	}
	return list
}

// several names some of a kind.
func several(kind string, names []string) string {
	if len(names) == 1 {
		return kind + " " + names[0]
	}
	return kind + "s " + first(names)
}

// first gives the first of names, and how many there are beside them.
func first(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func amount(n int, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	return fmt.Sprintf("%d %ss", n, kind)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
