package torture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// figures are what a proof has to show.
type figures struct {
	title                                              string
	begun                                              time.Time
	cycles, kills, edits, reloads, stopped, violations int
	rest                                               time.Duration
	ways                                               map[string]*way
	left                                               map[string]attempt // claimed at a kill
	phases                                             map[string]int     // how far their requests had come then
	lines                                              []string           // of the end
}

// way is what kills at one kind of moment came to.
type way struct{ kills, hits, claims int }

func newFigures(title string) figures {
	return figures{title: title, begun: time.Now(), ways: map[string]*way{}, phases: map[string]int{}, left: map[string]attempt{}}
}

// kill notes a kill, and the claims that it left.
func (f *figures) kill(how string, e *evidence) {
	if f.ways[how] == nil {
		f.ways[how] = &way{}
	}
	w, claimed := f.ways[how], slices.DeleteFunc(e.ledger.claimed(), func(a attempt) bool { // by the process before
		_, known := f.left[a.name()]
		return known
	})
	w.kills++
	f.kills++
	w.claims += len(claimed)
	if len(claimed) > 0 {
		w.hits++
	}
	for _, a := range claimed {
		f.left[a.name()] = a
		phase := "between claim and effect"
		for _, r := range e.retries {
			switch {
			case r.TaskID != a.task || r.Target != a.device || r.At.Before(a.claimed):
			case r.Replied:
				phase = "between answer and commit"
			default:
				phase = "between effect and answer"
			}
		}
		f.phases[phase]++
	}
}

// end sums up the evidence.
func (f *figures) end(e *evidence) {
	add := func(format string, args ...any) { f.lines = append(f.lines, fmt.Sprintf(format, args...)) }
	landed, attempts := 0, e.ledger.byTarget()
	sent := map[string]bool{}
	for _, s := range e.sends() {
		if i := latest(attempts[s.key], s.at.Add(e.skew)); i >= 0 {
			sent[attempts[s.key][i].name()] = true
		}
	}
	for name := range f.left {
		if sent[name] {
			landed++
		}
	}
	if len(f.left) > 0 {
		add("claims left by kills                    %d, of which %d reached the platform and %d did not", len(f.left), landed, len(f.left)-landed)
	}
	for _, phase := range slices.Sorted(maps.Keys(f.phases)) {
		add("  killed %-31s%d", phase, f.phases[phase])
	}
	accepted, lost, most, tries := 0, 0, 0, map[key]int{}
	for _, r := range e.later {
		if !r.Accepted {
			continue
		}
		accepted++
		if !r.Replied {
			lost++
		}
		tries[key{r.TaskID, r.Target}]++
		most = max(most, tries[key{r.TaskID, r.Target}])
	}
	add("retries that were accepted              %d, and the answers to %d were lost", accepted, lost)
	add("most for one target                     %d of %d", most, maxAttempts)
	states, ends := map[string]int{}, map[string]int{}
	for _, a := range e.ledger.attempts {
		states[a.state]++
	}
	for _, t := range e.ledger.targets {
		ends[cmp.Or(t.outcome, "none")]++ // it waits, or a person stopped its task
	}
	add("attempts in the ledger                  %v", states)
	add("ends of targets                         %v", ends)
	if n := len(e.waiting()); n > 0 {
		add("  cannot have settled yet               %d devices", n)
	}
	_, fullest := e.bucket()
	add("calls                                   %d, at most %.1f above %d a second at once, of %d and %d in flight", len(e.calls), fullest, perSecond, burst, concurrency)
}

// text is for whoever reads it. What a proof does not do is left out.
func (f *figures) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-40s"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintln(&b, f.title)
	if f.cycles > 0 {
		line("cycles", "%d, %.2f s each, and %.0f s of rest", f.cycles, (time.Since(f.begun)-f.rest).Seconds()/float64(f.cycles), f.rest.Seconds())
	}
	if f.edits > 0 {
		line("edits of the configuration", "%d, %d of them under a running process", f.edits, f.reloads)
	}
	total := way{}
	for _, how := range slices.Sorted(maps.Keys(f.ways)) {
		w := f.ways[how]
		line("killed "+how, "%d; %d left claims, of %d targets", w.kills, w.hits, w.claims)
		total.kills, total.hits, total.claims = total.kills+w.kills, total.hits+w.hits, total.claims+w.claims
	}
	if len(f.ways) > 1 {
		line("killed, all", "%d; %d left claims, of %d targets", total.kills, total.hits, total.claims)
	}
	if f.stopped > 0 {
		line("ended by itself on SIGTERM", "%d", f.stopped)
	}
	for _, l := range f.lines {
		fmt.Fprintln(&b, l)
	}
	line("violations", "%d", f.violations)
	return b.String()
}
