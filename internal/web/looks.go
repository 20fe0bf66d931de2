package web

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

const (
	// looksAtOnce is how many answers may be asking the platform: they do it on the sweeps' budget.
	looksAtOnce = 2
	// lookAgain is how long what the platform has shown is taken for what it shows.
	lookAgain = 10 * time.Second
)

// looks keeps those who look from using up what the sweeps need.
type looks struct {
	turn *semaphore.Weighted

	mu    sync.Mutex
	shown map[policy.Target]shown
}

// shown is what the platform has said of a device in a task.
type shown struct {
	at   time.Time
	seen *scheduler.Seen // nil = it does not know the task
}

func newLooks() *looks {
	return &looks{turn: semaphore.NewWeighted(looksAtOnce), shown: map[policy.Target]shown{}}
}

// recall gives what was shown a moment ago, unless the ledger has heard of the device since.
func (l *looks) recall(q *questions, one *question) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.shown[q.target(one)]
	if !ok || q.now.Sub(last.at).Abs() >= lookAgain || one.target != nil && one.target.Record.SeenAt.After(last.at) {
		return false
	}
	one.seen, one.gone, one.at = last.seen, last.seen == nil, last.at
	return true
}

// look asks the platform about a device in one task.
func (l *looks) look(ctx context.Context, by *scheduler.Scheduler, q *questions, one *question) error {
	seen, err := by.Look(ctx, one.ProjectID, one.ID, q.device)
	switch {
	case errors.Is(err, scheduler.ErrNoTask):
		one.gone, one.at = true, q.now
	case err != nil:
		return err
	default:
		one.seen, one.at = &seen, seen.At
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.shown, func(_ policy.Target, old shown) bool { return q.now.Sub(old.at).Abs() >= lookAgain })
	l.shown[q.target(one)] = shown{one.at, one.seen}
	return nil
}

// fromElsewhere refuses to ask the platform for what a page of another site has built in: a reader
// who follows a link from there has come by themselves.
func fromElsewhere(r *http.Request) error {
	came := r.Header.Get("Sec-Fetch-Mode") == "navigate" && slices.Contains([]string{"", "document"}, r.Header.Get("Sec-Fetch-Dest"))
	if slices.Contains([]string{"cross-site", "same-site"}, r.Header.Get("Sec-Fetch-Site")) && !came {
		return refusal(http.StatusForbidden, "a page of another site has asked for this: it costs calls to the platform")
	}
	return nil
}
