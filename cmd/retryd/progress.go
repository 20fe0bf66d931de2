package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

// progress shows how far a sweep is: a bar on a terminal, a line a task in a pipe.
type progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar // nil = plain lines

	mu                   sync.Mutex
	total, decided, sent int
	byTask               map[string]int // retried
	waits                *time.Timer
}

// patience is how long nothing may happen before it is said that the platform is waited for.
const patience = 10 * time.Second

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, byTask: map[string]int{}}
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
	printf(p.w, "%s: task %s %s: %s decided%s\n", e.Policy, e.TaskID, shown(e.TaskName), plural(e.Rows, "sub-task"), retried)
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
