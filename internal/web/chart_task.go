package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/store"
)

// part is a part of a task's sub-tasks.
type part struct {
	key
	N    int
	X, W string // percents of the bar
}

// parts divides the sub-tasks of a task into kinds that do not overlap. The platform's counts and
// the ledger's are from different moments, so none is taken for more than there is room for.
func parts(t Task) (list []part) {
	givenUp, alone, perhaps := notToCome(t)
	left := max(t.Total, 0)
	sofar := 0
	take := func(class, name string, n int) {
		if n = min(max(n, 0), left); n == 0 {
			return
		}
		list = append(list, part{key{class, name}, n, share(sofar, t.Total), share(n, t.Total)})
		sofar, left = sofar+n, left-n
	}
	take("success", "succeeded", t.Success)
	take("open", "open", t.Open)
	take("lost", "given up", min(givenUp, t.Fail))
	if iotda.TaskStatus(t.Status).Ending() || t.Gone != nil {
		alone, perhaps = t.Fail-givenUp-t.Open, 0
	}
	take("other", "left alone", min(alone, t.Fail-givenUp-t.Open))
	perhaps = max(min(perhaps, t.Fail-givenUp-alone-t.Open), 0)
	take("other", "perhaps left alone", perhaps)
	take("waiting", "waiting", t.Fail-givenUp-alone-perhaps-t.Targets["in_flight"])
	take("other", "other", left)
	return list
}

// progressBar is what a bar shows: its parts, and the same in words.
type progressBar struct {
	Parts []part
	Words string
	Total int
}

// Rest is what has not succeeded.
func (b progressBar) Rest() []part {
	return slices.DeleteFunc(slices.Clone(b.Parts), func(p part) bool { return p.Class == "success" })
}

func barOf(t Task) progressBar {
	b := progressBar{Parts: parts(t), Total: t.Total}
	var texts []string
	for _, p := range b.Parts {
		texts = append(texts, number(p.N)+" "+p.Name)
	}
	b.Words = fmt.Sprintf("%s of %s sub-tasks", strings.Join(texts, ", "), number(t.Total))
	return b
}

// progressChart draws how many sub-tasks had succeeded, and failed, over time.
func progressChart(progress []store.Progress, now time.Time) chart {
	if len(progress) < 2 {
		return chart{}
	}
	progress = thinned(progress, 150)
	from, last := progress[0].At, progress[len(progress)-1]
	span := max(now.Sub(from), time.Second)
	most := 1
	for _, p := range progress {
		most = max(most, p.Total)
	}
	most = nice(most)
	c := chart{
		ID: "progress", Title: "Progress of the task", Down: grid(most), Head: []string{"From (UTC)", "succeeded", "failed", "of"},
		Desc: fmt.Sprintf("Two lines: %d had succeeded at first and %d now; %d had failed at first and %d now.", progress[0].Success, last.Success, progress[0].Fail, last.Fail),
		Keys: []key{{"success", "succeeded"}, {"lost", "failed (dashed)"}},
	}
	var success, failed strings.Builder
	step := func(b *strings.Builder, at time.Time, n int) {
		fmt.Fprintf(b, "%.1f,%.1f ", float64(at.Sub(from))/float64(span)*1000, 1000-float64(n)/float64(most)*1000)
	}
	for i, p := range progress {
		until := now // each holds until the next
		if i+1 < len(progress) {
			until = progress[i+1].At
		}
		for _, at := range []time.Time{p.At, until} {
			step(&success, at, p.Success)
			step(&failed, at, p.Fail)
		}
		c.Rows = append(c.Rows, []string{p.At.UTC().Format("2 Jan 15:04"), number(p.Success), number(p.Fail), number(p.Total)})
	}
	c.Lines = []line{{"lost", failed.String()}, {"success", success.String()}}
	c.Across = []label{{At: "0%", Text: from.UTC().Format("2 Jan 15:04"), Anchor: "start"}, {At: "100%", Text: "now", Anchor: "end"}}
	return c
}

// thinned leaves out rows, evenly, until there are at most so many; the last one stays.
func thinned(progress []store.Progress, most int) (kept []store.Progress) {
	every := (len(progress) + most - 1) / most
	for i, p := range progress {
		if (len(progress)-1-i)%every == 0 {
			kept = append(kept, p)
		}
	}
	return kept
}
