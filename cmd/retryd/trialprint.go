package main

import (
	"fmt"
	"strings"
	"time"
)

// print shows a trial to a person.
func (t *trial) print(a *app) {
	if t.Class == "skipped" {
		printf(a.stdout, "connection %s at %s: %s\n", t.Connection, t.Endpoint, t.Problem)
		return
	}
	facts := []string{plural(t.Calls, "call")}
	if t.TokenEnds != nil {
		facts = append(facts, "its credentials end at "+stamp(*t.TokenEnds))
	}
	if words := t.clockWords(); words != "" && t.Class != "clock" {
		facts = append(facts, words)
	}
	word := "works"
	if !t.Works {
		word = "does not work"
	}
	printf(a.stdout, "connection %s at %s %s (%s)\n", t.Connection, t.Endpoint, word, strings.Join(facts, ", "))
	if !t.Works {
		printf(a.stdout, "  %s\n", shown(t.Problem))
	}
	if t.Remedy != "" {
		printf(a.stdout, "  to do: %s\n", shown(t.Remedy))
	}
	for _, p := range t.Policies {
		printf(a.stdout, "  policy %s: %s\n", p.Name, p)
	}
}

// clockWords says how the clock is; empty where nothing is to be said.
func (t *trial) clockWords() string {
	if t.ClockAhead == nil {
		return ""
	}
	ahead := time.Duration(*t.ClockAhead) * time.Second
	whose, how := "this machine's clock", "ahead of"
	if t.h.store.Shared() {
		whose = "the database's clock"
	}
	if ahead < 0 {
		how = "behind"
	}
	if ahead.Abs() <= time.Second {
		return whose + " is right"
	}
	return fmt.Sprintf("%s is %s %s the platform's", whose, ahead.Abs(), how)
}

// String says what the policy finds.
func (p triedPolicy) String() string {
	of := plural(int(p.Tasks), "task")
	if int64(p.Looked) < p.Tasks {
		of = fmt.Sprintf("the newest %d of %s", p.Looked, of)
	}
	text := fmt.Sprintf("%d of %s match", p.Matching, of)
	if p.Matching == 1 {
		text += "es"
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}
