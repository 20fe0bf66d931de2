package main

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

// planRow is what a plan says of a target, or of a task as a whole.
type planRow struct {
	Policy, Connection, Task, TaskName string
	Device                             string // empty = the task as a whole
	Targets                            int    // of it
	Verdict                            policy.Verdict
	Attempt                            int // that is in flight
	State                              policy.State
	Since                              time.Time
	Code, Text                         string // why the target failed last
}

// plan gathers the verdicts of a dry run.
type plan struct {
	mu     sync.Mutex
	all    bool
	rows   []planRow
	flying map[planKey]bool // those in flight that a sweep has read too

	hidden map[policy.Reason]int // targets that are not among the rows
	until  time.Time             // when the first of those that rest may be due
	capped map[string]int        // by limit, of those that are not among the rows
}

// planKey is what a verdict is about.
type planKey struct{ connection, task, device string }

func newPlan(all bool) *plan {
	return &plan{all: all, flying: map[planKey]bool{}, hidden: map[policy.Reason]int{}, capped: map[string]int{}}
}

func (p *plan) watch(e scheduler.Event) {
	row := planRow{
		Policy: e.Policy, Connection: e.Connection, Task: e.TaskID, TaskName: e.TaskName, Device: e.DeviceID, Targets: 1,
		Verdict: e.Verdict, Code: e.Code, Text: e.Text,
	}
	key := planKey{e.Connection, e.TaskID, e.DeviceID}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case scheduler.Decided:
		if e.Verdict.Reason == policy.InFlight {
			p.flying[key] = true
		}
		p.add(row, e.Verdict.Reason == policy.Due || e.Verdict.Reason == policy.Observed)
	case scheduler.DecidedTask:
		row.Device, row.Targets = "", e.Rows
		p.add(row, e.Rows > 0)
	case scheduler.Open:
		if row.Attempt, row.State, row.Since = e.Attempt, e.State, e.Since; !p.flying[key] {
			p.add(row, false)
			return
		}
		for i, known := range p.rows { // it reads as failed still
			if known.Verdict.Reason == policy.InFlight && (planKey{known.Connection, known.Task, known.Device}) == key {
				p.rows[i].Attempt, p.rows[i].State, p.rows[i].Since = e.Attempt, e.State, e.Since
			}
		}
	}
}

// add takes a row in, or counts it where not all are wanted.
func (p *plan) add(row planRow, wanted bool) {
	v := row.Verdict
	switch {
	case wanted || p.all:
		p.rows = append(p.rows, row)
		return
	case v.Reason == policy.Capped:
		p.capped[v.Detail]++
	case v.Reason == policy.InBackoff && (p.until.IsZero() || v.NotBefore.Before(p.until)):
		p.until = v.NotBefore
	}
	p.hidden[v.Reason] += row.Targets
}

// sorted gives the rows connection by connection: these are planned at the same time.
func (p *plan) sorted() []planRow {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortStableFunc(p.rows, func(a, b planRow) int { return cmp.Compare(a.Connection, b.Connection) })
	return p.rows
}

// name gives the target as a reader knows it.
func (r planRow) name() string {
	switch r.Device {
	case "":
		return "(" + plural(r.Targets, "target") + ")"
	case policy.WholeTask:
		return "(the whole task)"
	}
	return r.Device
}

// failure gives why the target failed last, in one line of up to n characters; empty where nothing is said.
func (r planRow) failure(n int) string {
	text := strings.Join(strings.Fields(r.Code+" "+r.Text), " ")
	if runes := []rune(text); len(runes) > n {
		text = string(runes[:n-1]) + "…"
	}
	return text
}

// stamp writes a time for a table or a program; empty where there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
