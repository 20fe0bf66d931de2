package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"retryd/internal/web"
)

type statusCmd struct {
	apiFlags
	All    bool   `short:"a" help:"Show every policy, also where many go on as planned."`
	Format string `enum:"text,json" default:"text" help:"text, or json for programs."`
}

// Run says what goes on, what holds it up, and what to do about that.
func (c statusCmd) Run(a *app) error {
	s, err := askFor[web.Status](a, c.apiFlags, "status", nil)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return writeJSON(a.stdout, s)
	}
	again := c.again(a)
	for i := range s.Attention {
		s.Attention[i].Do = again(s.Attention[i].Do)
	}
	writeStatus(a.stdout, s, c.All)
	return nil
}

func writeStatus(w io.Writer, s web.Status, all bool) {
	printf(w, "%s; ledger %s\n", runs(s), shown(s.Ledger))
	if s.Observe {
		printf(w, "It runs with --observe: it looks on, and sends nothing, whatever the policies say.\n")
	}
	if len(s.Attention) == 0 {
		printf(w, "Nothing holds it up.\n")
	} else {
		printf(w, "\nLook at this, the worst first:\n")
	}
	for _, a := range s.Attention {
		printf(w, "  ! %s\n", indented(a.What))
		if a.Do != "" {
			printf(w, "    do: %s\n", shown(a.Do))
		}
	}
	printf(w, "\n")
	writePolicies(w, s, all)
	printf(w, "\nNow: %s under way, %s.\n", plural(s.Open, "attempt"), waitForApproval(s.Awaiting))
	printf(w, "%s\n", recoveredText(s.Recovery))
}

// indented shows a text that can have several, each under the first.
func indented(text string) string {
	parts := strings.Split(text, "\n")
	for i := range parts {
		parts[i] = shown(parts[i])
	}
	return strings.Join(parts, "\n    ")
}

// runs says who sweeps.
func runs(s web.Status) string {
	var who []string
	for _, r := range s.Replicas {
		what := "stands by"
		if n := len(r.Drives); n > 0 && n == len(s.Connections) {
			what = "drives all connections"
		} else if n > 0 {
			what = "drives " + strings.Join(r.Drives[:min(n, 5)], ", ")
			if n > 5 {
				what += fmt.Sprintf(" and %d more", n-5)
			}
		}
		who = append(who, fmt.Sprintf("retryd %s on %s %s, started %s", shown(r.Version), shown(r.Host), shown(what), ago(r.Started, s.Now)))
	}
	if len(who) == 0 {
		return "No daemon runs"
	}
	return strings.Join(who, "; ")
}

// fewPolicies fit on one screen with everything else.
const fewPolicies = 15

func writePolicies(w io.Writer, s web.Status, all bool) {
	rows := slices.Clone(s.Policies)
	slices.SortStableFunc(rows, func(a, b web.Policy) int { return cmp.Compare(calm(a), calm(b)) })
	left := 0
	if !all && len(rows) > fewPolicies {
		rows, left = rows[:fewPolicies], len(rows)-fewPolicies
	}
	tableOf[web.Policy]{
		{"POLICY", func(p web.Policy) string { return p.Name }},
		{"CONNECTION", func(p web.Policy) string { return p.Connection }},
		{"MODE", func(p web.Policy) string { return p.Mode }},
		{"NEXT SWEEP", func(p web.Policy) string { return nextSweep(p, s) }},
		{"WINDOW", windowText},
		{"LAST SWEEP", func(p web.Policy) string { return lastSweep(p, s) }},
		{"CAME TO", lastCameTo},
		{"HELD BACK", holdsText},
	}.write(w, rows)
	if left > 0 {
		printf(w, "(and %d more, which are as well or better: --all shows them)\n", left)
	}
}

// calm sorts what is held up first.
func calm(p web.Policy) int {
	switch {
	case p.Halted != "" || p.Paused != "":
		return 0
	case !p.Driven || p.Last != nil && p.Last.Result != "complete":
		return 1
	case p.Window != "open":
		return 2
	}
	return 3
}

func nextSweep(p web.Policy, s web.Status) string {
	switch {
	case !p.Driven: // a sweep that it began is one that was interrupted
		return "nobody drives it"
	case p.Running != nil:
		return "now"
	case p.NextTick == nil:
		return "none"
	}
	return ago(*p.NextTick, s.Now)
}

func windowText(p web.Policy) string {
	if p.Opens == nil {
		return p.Window
	}
	return "opens " + stamp(*p.Opens)
}

func lastSweep(p web.Policy, s web.Status) string {
	if p.Last == nil {
		return "none yet"
	}
	text := p.Last.Result + ", " + ago(p.Last.Started, s.Now)
	if p.Last.Result != "complete" && p.Last.Why != "" {
		text += " (" + p.Last.Why + ")"
	}
	return text
}

// lastCameTo says what the last sweep sent and, of what it did not send, why.
func lastCameTo(p web.Policy) string {
	if p.Last == nil {
		return ""
	}
	sent := 0
	for _, n := range p.Last.Sent {
		sent += n
	}
	parts := []string{fmt.Sprintf("%d sent", sent)}
	if text := counts(p.Last.Targets, ""); text != "" {
		parts = append(parts, text)
	}
	if text := cappedBy(p.Last.Capped); text != "" {
		parts = append(parts, "capped: "+text)
	}
	return strings.Join(parts, "; ")
}

func holdsText(p web.Policy) string {
	var parts []string
	if p.Halted != "" {
		parts = append(parts, "halted: "+p.Halted)
	}
	if p.Paused != "" {
		parts = append(parts, "paused: "+p.Paused)
	}
	return strings.Join(parts, "; ")
}

func waitForApproval(n int) string {
	switch n {
	case 0:
		return "no task waits for approval"
	case 1:
		return "1 task waits for approval"
	}
	return fmt.Sprintf("%d tasks wait for approval", n)
}

func recoveredText(r web.Recovery) string {
	text := fmt.Sprintf("Since %s: %d recovered", stamp(r.Since), r.Ends["recovered"])
	others := map[string]int{}
	for end, n := range r.Ends {
		if end != "recovered" {
			others[end] = n
		}
	}
	if rest := counts(others, ""); rest != "" {
		text += "; " + rest
	}
	if r.Share != nil && r.PlatformShare != nil {
		text += fmt.Sprintf(". Of all sub-tasks %.1f %% have succeeded, without retryd it would be %.1f %%", *r.Share*100, *r.PlatformShare*100)
	}
	return text + "."
}
