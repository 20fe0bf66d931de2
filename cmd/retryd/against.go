package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// compare plans twice, by the policies that are in force and by those of the files, and shows what differs.
func (c planCmd) compare(a *app, h *house) error {
	running, err := c.running(a)
	if err != nil {
		return err
	}
	inForce, err := running.Decides()
	if err != nil {
		return err
	}
	if err := h.openBeside(a, "both plans know of no attempt made before"); err != nil {
		return err
	}
	h.sayLostHolds(a)
	if own := h.ledger(store.Options{}).Where(); own != running.Ledger {
		printf(a.stderr, "The daemon's ledger is %s, and these files name %s: both plans go by the latter.\n", running.Ledger, own)
	}
	inForce = h.renamed(a, running, inForce)
	h.around = newReplay().around
	bar := newProgress(a.stderr)
	defer bar.done()
	h.heard = bar.hear(h.config)
	before, err := h.planBy(a.ctx, inForce, bar)
	if err != nil {
		return err
	}
	bar.again()
	after, err := h.planBy(a.ctx, h.config.Policies, bar)
	if err != nil {
		return err
	}
	bar.done()
	d := differences{before: before, after: after, changes: changesOf(before.rows, after.rows)}
	problem := errors.Join(before.problem, after.problem)
	if err := d.print(a.stdout, c.Format, problem == nil); err != nil {
		return err
	}
	return after.problemOr(before)
}

// renamed gives the policies that are in force the names that their connections have in the files. Those of
// connections that the files do not have cannot be planned here.
func (h *house) renamed(a *app, running config.Running, policies []*policy.Policy) (own []*policy.Policy) {
	names := map[string]string{}
	for _, there := range running.Connections {
		i := slices.IndexFunc(h.config.Connections, func(c config.Connection) bool { return c.Identity() == there.Identity })
		if i < 0 {
			printf(a.stderr, "The files have no connection like the daemon's %q: what it does there is not compared.\n", there.Name)
			continue
		}
		names[there.Name] = h.config.Connections[i].Name
	}
	for _, c := range h.config.Connections {
		if !slices.ContainsFunc(running.Connections, func(there config.RunningConnection) bool { return there.Identity == c.Identity() }) {
			printf(a.stderr, "Connection %q is new: the daemon does nothing there yet.\n", c.Name)
		}
	}
	for _, p := range policies {
		moved := *p
		moved.Connections = nil
		for _, name := range p.Connections {
			if names[name] != "" {
				moved.Connections = append(moved.Connections, names[name])
			}
		}
		own = append(own, &moved)
	}
	return own
}

// side is one of the two plans.
type side struct {
	rows    []planRow
	counts  map[string]int // targets by reason
	open    atomic.Int64   // attempts without an outcome
	problem error
}

// planBy plans by these policies, over the connections of the files.
func (h *house) planBy(ctx context.Context, policies []*policy.Policy, bar *progress) (*side, error) {
	setup, _, err := h.setup(h.config)
	if err != nil {
		return nil, err
	}
	setup.Policies = policies
	out := &side{counts: map[string]int{}}
	plan := newPlan(true)
	s := h.schedule(setup, func(e scheduler.Event) {
		bar.watch(e)
		switch {
		case e.Kind == scheduler.Open: // by no policy's verdict
			out.open.Add(1)
		case e.Verdict.Reason != policy.OtherPolicy: // what its owner says counts
			plan.watch(e)
		}
	})
	defer s.Close()
	reports, err := s.Plan(ctx, nil)
	out.rows, out.problem = plan.sorted(), verdictOf(reports)
	for _, r := range reports {
		for reason, n := range r.Counts {
			if reason != string(policy.OtherPolicy) {
				out.counts[reason] += n
			}
		}
	}
	return out, err
}

// problemOr gives what kept this plan, or the other, from being whole.
func (s *side) problemOr(other *side) error {
	if s.problem != nil {
		return s.problem
	}
	return other.problem
}

// change is a verdict that differs; either side may have none.
type change struct{ before, after *planRow }

// changesOf gives what differs, task by task and device by device.
func changesOf(before, after []planRow) []change {
	found := map[planKey]*change{}
	of := func(r planRow) *change {
		key := planKey{r.Connection, r.Task, r.Device}
		if found[key] == nil {
			found[key] = &change{}
		}
		return found[key]
	}
	for i := range before {
		of(before[i]).before = &before[i]
	}
	for i := range after {
		of(after[i]).after = &after[i]
	}
	var out []change
	keys := slices.SortedFunc(maps.Keys(found), func(a, b planKey) int {
		return cmp.Or(cmp.Compare(a.connection, b.connection), cmp.Compare(b.task, a.task), cmp.Compare(a.device, b.device))
	})
	for _, key := range keys {
		if c := found[key]; c.differs() {
			out = append(out, *c)
		}
	}
	return out
}

// differs tells whether somebody would notice. That a policy has another name is no difference, nor that a
// moment has come in between.
func (c change) differs() bool {
	switch {
	case c.before == nil:
		return c.after.Targets > 0
	case c.after == nil:
		return c.before.Targets > 0
	case c.before.Targets+c.after.Targets == 0:
		return false
	}
	b, a := c.before.Verdict, c.after.Verdict
	waits := func(v policy.Verdict) bool { return v.Reason == policy.Due || v.Reason == policy.InBackoff }
	switch {
	case b.Detail != a.Detail || c.before.Targets != c.after.Targets:
		return true
	case waits(b) && waits(a) && strings.HasPrefix(a.Detail, "first"): // it is due from now on, whenever that is
		return false
	case waits(b) && waits(a):
		return !b.NotBefore.Equal(a.NotBefore)
	}
	return b.Reason != a.Reason
}

// differences is what changes from one plan to the other.
type differences struct {
	before, after *side
	changes       []change
}

func (d differences) print(w io.Writer, format string, whole bool) error {
	switch format {
	case "json":
		changes := make([]map[string]any, len(d.changes))
		for i, c := range d.changes {
			changes[i] = map[string]any{"before": nil, "after": nil}
			if c.before != nil {
				changes[i]["before"] = c.before.object()
			}
			if c.after != nil {
				changes[i]["after"] = c.after.object()
			}
		}
		return writeJSON(w, map[string]any{"whole": whole, "changes": changes, "before": d.before.counts, "after": d.after.counts, "in_flight": d.after.open.Load()})
	case "csv":
		return writeCSV(w, append([]string{"side"}, planColumns...), d.sides(), func(s sided) []string { return append([]string{s.side}, s.row.cells()...) })
	}
	d.table(w, whole)
	return nil
}

// sided is a row of one side.
type sided struct {
	side string // before or after
	row  planRow
}

func (d differences) sides() (out []sided) {
	for _, c := range d.changes {
		if c.before != nil {
			out = append(out, sided{"before", *c.before})
		}
		if c.after != nil {
			out = append(out, sided{"after", *c.after})
		}
	}
	return out
}

func (d differences) table(w io.Writer, whole bool) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if len(d.changes) > 0 {
		printf(t, "  POLICY\tCONNECTION\tTASK\tDEVICE\tVERDICT\tDETAIL\tNOT BEFORE\tFAILED WITH\n")
	}
	for _, s := range d.sides() {
		printf(t, "%s %s\n", map[string]string{"before": "-", "after": "+"}[s.side], s.row.line())
	}
	_ = t.Flush() // a reader who has gone misses nothing
	switch {
	case !whole:
		printf(w, "(not everything could be read: there may be more)\n")
	case len(d.changes) == 0:
		printf(w, "nothing changes\n")
	}
	if len(d.changes) > 0 {
		d.sums(w)
	}
	if n := d.after.open.Load(); n > 0 {
		printf(w, "(not compared: %d in flight, whose outcome is not known yet)\n", n)
	}
}

func (d differences) sums(w io.Writer) {
	for _, reason := range policy.Reasons() {
		if b, a := d.before.counts[string(reason)], d.after.counts[string(reason)]; b != a {
			printf(w, "  %s: %d -> %d\n", reason, b, a)
		}
	}
}
