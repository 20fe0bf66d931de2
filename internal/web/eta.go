package web

import (
	"fmt"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/store"
)

const (
	// etaOver is how far back it is looked how fast sub-tasks succeed.
	etaOver = 24 * time.Hour
	// etaAfter is how long a task has to be known before that says anything.
	etaAfter = 10 * time.Minute
	// etaWithin is how far ahead it is worth to be told.
	etaWithin = 365 * 24 * time.Hour
)

// forecast is what an ETA is made from.
type forecast struct {
	status   iotda.TaskStatus
	gone     bool
	progress store.Progress   // now
	past     []store.Progress // since etaOver ago, as Store.TaskProgress gives it
	givenUp  int              // failed targets that nothing but a person brings back
	alone    int              // failed targets that this task is not to upgrade: superseded or excluded ones
	held     string           // why the whole task is held back, in words; empty = it is not
}

// eta draws a line: what is left, at the rate of the last 24 hours. Targets that are given up are not
// waited for.
func (f forecast) eta(now time.Time) ETA {
	left := f.progress.Total - f.progress.Success
	givenUp := min(f.givenUp, f.progress.Fail, max(left, 0))
	alone := min(f.alone, f.progress.Fail-givenUp, max(left, 0)-givenUp)
	gained, over := f.gained(now)
	e := ETA{}
	if over >= etaAfter {
		e.PerHour = float64(gained) / over.Hours()
	}
	switch {
	case f.gone:
		e.Words = "the platform has the task no more"
	case f.progress.Total == 0:
		e.Words = "it has no sub-tasks yet"
	case left <= 0:
		e.Words = fmt.Sprintf("done: all %d have succeeded", f.progress.Total)
	case f.status.Ending():
		e.Words = fmt.Sprintf("%s, and the task is stopped", remain(left))
	case givenUp == left:
		e.Words = fmt.Sprintf("%s, all given up: none without you", remain(left))
	case alone == left:
		e.Words = fmt.Sprintf("%s, all left alone: in a newer task, or excluded", remain(left))
	case givenUp+alone == left:
		e.Words = fmt.Sprintf("%s: %d given up, %d in a newer task or excluded", remain(left), givenUp, alone)
	case f.held != "" && left == f.progress.Fail:
		e.Words = fmt.Sprintf("%s, and held back: %s", remain(left), f.held)
	case over < etaAfter:
		e.Words = fmt.Sprintf("%s; it has been seen for too short a time to tell", remain(left))
	case gained <= 0:
		e.Words = fmt.Sprintf("%s; none has succeeded in the last %s", remain(left), lasting(over))
	default:
		f.reckon(&e, left, givenUp, alone, now)
	}
	return e
}

func remain(n int) string {
	if n == 1 {
		return "1 is left"
	}
	return fmt.Sprintf("%d are left", n)
}

// gained is how many have succeeded, and in which time.
func (f forecast) gained(now time.Time) (n int, over time.Duration) {
	if len(f.past) == 0 {
		return 0, 0
	}
	from := f.past[0].At
	if ago := now.Add(-etaOver); from.Before(ago) { // it held at that moment still
		from = ago
	}
	return max(f.progress.Success-f.past[0].Success, 0), max(now.Sub(from), 0)
}

func (f forecast) reckon(e *ETA, left, givenUp, alone int, now time.Time) {
	hours := float64(left-givenUp-alone) / e.PerHour
	rest := ""
	if givenUp > 0 {
		rest = fmt.Sprintf(", but for %d given up", givenUp)
	}
	if alone > 0 {
		rest += fmt.Sprintf(", but for %d left alone", alone)
	}
	if hours > etaWithin.Hours() {
		e.Words = fmt.Sprintf("%s; at %s it would take more than a year", remain(left), perHour(e.PerHour))
		return
	}
	in := time.Duration(hours * float64(time.Hour))
	at := now.Add(in).Round(time.Second).UTC()
	e.At = &at
	e.Words = fmt.Sprintf("in about %s, at %s%s", lasting(in), perHour(e.PerHour), rest)
}

// perHour says a rate so that one of few is not none.
func perHour(rate float64) string {
	switch {
	case rate >= 10:
		return fmt.Sprintf("%.0f an hour", rate)
	case rate >= 1:
		return fmt.Sprintf("%.1f an hour", rate)
	}
	return fmt.Sprintf("%.1f a day", rate*24)
}

// lasting says a time in its largest unit that tells enough.
func lasting(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if n := d.Round(unit.of) / unit.of; n >= 2 {
			return fmt.Sprintf("%d %s", n, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
