package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

// progress shows how far a sweep is: a bar on a terminal, a line a task in a pipe.
type progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar // nil = plain lines

	mu                   sync.Mutex
	total, decided, sent int
	byTask               map[string]int  // retried
	told                 map[string]int  // sub-tasks by task that lines have told of
	known                map[string]int  // of them, those of a run before: it is not told of them again
	down                 map[string]bool // connections whose calls fail, which is said
	waits                *time.Timer
}

// patience is how long nothing may happen before it is said that the platform is waited for.
const patience = 10 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, byTask: map[string]int{}, told: map[string]int{}, down: map[string]bool{}}
	p.waits = time.AfterFunc(patience, p.wait)
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(1, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(),
			progressbar.OptionSetDescription("listing tasks"), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionUseANSICodes(true))
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *progress) watch(e scheduler.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits.Reset(patience)
	switch e.Kind {
	case scheduler.Reading:
		p.total += e.Total
	case scheduler.Read:
		p.decided += e.Rows
		p.line(e)
	case scheduler.Answered:
		if e.State != policy.Released {
			p.sent++
			p.byTask[e.TaskID]++
		}
	}
	if p.bar != nil {
		p.bar.ChangeMax(max(p.total, p.decided, 1))
		p.bar.Describe(fmt.Sprintf("%d decided, %d retried", p.decided, p.sent))
		_ = p.bar.Set(p.decided) // it is a picture only
	}
}

// line tells of a wave; one without rows, of a status that no sub-task has, tells nothing.
func (p *progress) line(e scheduler.Event) {
	if p.bar != nil || e.Rows == 0 {
		return
	}
	retried := ""
	if n := p.byTask[e.TaskID]; n > 0 {
		retried = fmt.Sprintf(", %d retried", n)
	}
	p.byTask[e.TaskID] = 0
	if p.told[e.TaskID] += e.Rows; p.told[e.TaskID] <= p.known[e.TaskID] {
		return
	}
	printf(p.w, "%s: task %s %s: %s decided%s\n", e.Policy, e.TaskID, shown(e.TaskName), plural(e.Rows, "sub-task"), retried)
}

// again begins anew for a second run over what the first has read: only what is new is told of.
func (p *progress) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.told = p.told, map[string]int{}
	p.total, p.decided = 0, 0
	p.waits.Reset(patience)
}

// hear gives what is told of each call, and names a connection as soon as a call to it fails that is
// repeated: that goes on for minutes. What is slowed down is no failure.
func (p *progress) hear(c *config.Config) func(connection string, x iotdaclient.Exchange) {
	lasts := map[string]time.Duration{}
	for _, one := range c.Connections {
		lasts[one.Name] = one.Backoff.MaxElapsed
	}
	return func(name string, x iotdaclient.Exchange) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if x.Err == nil {
			p.down[name] = false
			return
		}
		if p.down[name] || !x.Err.Transient() || x.Err.Class == iotda.ClassThrottled {
			return
		}
		p.down[name] = true
		if p.bar != nil {
			_ = p.bar.Clear() // it is a picture only
		}
		failed := *x.Err
		failed.Op = cmp.Or(failed.Op, x.Op) // it is not known there yet
		until := time.Now().Add(lasts[name] - x.Duration)
		printf(p.w, "connection %s fails: %s; trying again until %s\n", name, shown(failed.What()), stamp(until))
	}
}

func (p *progress) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		printf(p.w, "waiting for the platform: calls that fail for a while are repeated\n")
	} else {
		p.bar.Describe("waiting for the platform")
	}
	p.waits.Reset(3 * patience)
}

func (p *progress) done() {
	p.waits.Stop()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
