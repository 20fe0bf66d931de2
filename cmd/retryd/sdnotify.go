package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"retryd/internal/config"
	"retryd/internal/scheduler"
)

const (
	// sayEvery is how often systemd is told anew what is driven, where that has changed.
	sayEvery = 10 * time.Second
	// longestStatus is in characters: a message of systemd's is at most 4096 bytes.
	longestStatus = 500
)

// supervisor tells systemd how the daemon is [sd_notify(3)]. Without $NOTIFY_SOCKET it is silent.
type supervisor struct {
	log      *zap.Logger
	s        *scheduler.Scheduler
	writable func(context.Context) error // says why the ledger is not
	watchdog time.Duration               // after which a service that says nothing is killed; 0 = never

	mu       sync.Mutex
	said     string // as STATUS
	drives   string // what is driven
	refused  string // why the last reload was not taken; empty = it was
	stuck    string // which loop does not turn; empty = all do
	began    bool   // it was ready
	stopping bool
	deaf     bool // systemd did not take the last message
}

// newSupervisor reads what systemd has left in the environment.
func newSupervisor(log *zap.Logger, s *scheduler.Scheduler, writable func(context.Context) error) *supervisor {
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not fed: what it asks for cannot be read", zap.Error(err))
	}
	return &supervisor{log: log, s: s, writable: writable, watchdog: watchdog}
}

// follow says that the daemon is ready once it is, and from then on how it is. The watchdog is fed
// only when each loop of the scheduler has answered.
func (v *supervisor) follow(ctx context.Context) error {
	if !v.ready(ctx) {
		return nil
	}
	every := sayEvery
	if v.watchdog > 0 {
		every = min(every, v.watchdog/4)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		v.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// ready waits until the ledger can be written and the scheduler works: the configuration is loaded
// and the listeners are bound before.
func (v *supervisor) ready(ctx context.Context) bool {
	for {
		err := v.writable(ctx)
		if err == nil {
			err = v.s.Turn(ctx)
		}
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.began, v.drives = true, driving(v.s.Drives())
			v.send(sd.SdNotifyReady, v.status())
			return true
		}
		v.mu.Lock()
		v.send("", "waits for the ledger: "+err.Error())
		v.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// look has the scheduler show that it turns, and feeds the watchdog if it does.
func (v *supervisor) look(ctx context.Context) {
	inTime, cancel := context.WithTimeout(ctx, max(v.watchdog/4, time.Second))
	defer cancel()
	err := v.s.Turn(inTime)
	if ctx.Err() != nil {
		return
	}
	message, drives := "", ""
	if err == nil {
		drives = driving(v.s.Drives())
		if v.watchdog > 0 {
			message = sd.SdNotifyWatchdog
		}
	}
	v.mu.Lock()
	news := err != nil && v.stuck == ""
	if err == nil {
		v.stuck, v.drives = "", drives
	} else {
		v.stuck = err.Error()
	}
	v.send(message, v.status())
	v.mu.Unlock()
	if news { // systemd knows it by now: the log may be what it is stuck at
		v.log.Error("the scheduler does not turn", zap.Error(err), zap.Duration("watchdog", v.watchdog))
	}
}

// reloading says that a reload begins. With the moment in the same message systemd knows which of
// its signals that answers.
func (v *supervisor) reloading() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.began && !v.stopping { // a unit that is not ready yet has no reload to wait for
		v.send(sd.SdNotifyReloading+"\n"+strings.TrimSpace(sd.SdNotifyMonotonicUsec()), v.status())
	}
}

// reloaded says that it has ended, and how: a unit that is not told so stays "reloading" until that
// takes too long.
func (v *supervisor) reloaded(refused error) {
	drives := driving(v.s.Drives())
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drives, v.refused = drives, ""
	if refused != nil {
		v.refused = refused.Error()
	}
	if v.began && !v.stopping {
		v.send(sd.SdNotifyReady, v.status())
	}
}

// stops says that the daemon ends, once.
func (v *supervisor) stops() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.stopping {
		v.stopping = true
		v.send(sd.SdNotifyStopping, v.status())
	}
}

// send sends a message, with the status if that has changed, as one datagram. The caller holds v.mu,
// so that messages arrive in the order of what they say.
func (v *supervisor) send(message, status string) {
	if status = oneLine(status); status != v.said {
		message = strings.TrimPrefix(message+"\nSTATUS="+status, "\n")
	}
	if message == "" {
		return
	}
	_, err := sd.SdNotify(false, message)
	if err == nil {
		v.said = status
	} else if !v.deaf {
		v.log.Warn("systemd cannot be told how retryd is", zap.Error(err))
	}
	v.deaf = err != nil
}

// status is the line that `systemctl status` shows. The caller holds v.mu.
func (v *supervisor) status() string {
	if v.stopping {
		return "stops: calls in flight get 5 s"
	}
	var parts []string
	if v.stuck != "" {
		parts = append(parts, v.stuck)
	}
	parts = append(parts, v.drives)
	if v.refused != "" {
		parts = append(parts, "the last reload was refused: "+v.refused)
	}
	return strings.Join(parts, "; ")
}

func driving(driven, others []string) string {
	text := "drives nothing"
	if len(driven) > 0 {
		text = "drives " + few(driven)
	}
	if len(others) > 0 {
		text += ", does not drive " + few(others)
	}
	return text
}

// few names connections where they are few, else counts them.
func few(names []string) string {
	if text := strings.Join(names, ", "); len(names) == 1 || len(text) <= 100 {
		return text
	}
	return fmt.Sprintf("%d connections", len(names))
}

// oneLine makes a status of a text that may have several lines: a line break ends a field of the message.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longestStatus {
		text = string(runes[:longestStatus-1]) + "…"
	}
	return text
}

// badConfiguration marks an error that trying again does not help: systemd is told by the exit code. A file
// that cannot be read may be there later, as where its disk is mounted after the start.
func badConfiguration(err error) error {
	var problems config.Problems
	var file *fs.PathError
	if err == nil || errors.As(err, new(failure)) || errors.As(err, &file) ||
		errors.As(err, &problems) && slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Unread }) {
		return err
	}
	return failure{exitConfiguration, err}
}
