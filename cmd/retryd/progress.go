package main

import (
	"fmt"
	"io"
	"os"
	"sync"

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
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
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
	switch e.Kind {
	case scheduler.Reading:
		p.total += e.Total
	case scheduler.Read:
		p.decided += e.Rows
		p.line(e)
	case scheduler.Answered:
		if e.State != policy.Released {
			p.sent++
		}
	}
	if p.bar != nil {
		p.bar.ChangeMax(max(p.total, p.decided, 1))
		p.bar.Describe(fmt.Sprintf("%d decided, %d retried", p.decided, p.sent))
		_ = p.bar.Set(p.decided) // it is a picture only
	}
}

func (p *progress) line(e scheduler.Event) {
	if p.bar == nil {
		printf(p.w, "%s: task %s %s: %s decided, %d retried so far\n", e.Policy, e.TaskID, shown(e.TaskName), plural(e.Rows, "sub-task"), p.sent)
	}
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
