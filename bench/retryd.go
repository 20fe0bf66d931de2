package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// binary gives the program to measure: what was named, or one that is built of these sources as a
// release is.
type binary struct {
	Retryd  string `help:"The program to measure; empty = build it." type:"path"`
	Profile string `help:"A folder for profiles of the program's CPU and allocations; it is a little slower then." type:"existingdir"`
	Keep    string `help:"A folder to work in, which is kept; empty = a temporary one." type:"path"`
}

// workshop is a folder with the program in it.
type workshop struct {
	folder string
	retryd string
	remove func()
}

func (b binary) open(ctx context.Context) (*workshop, error) {
	w := &workshop{folder: b.Keep, retryd: b.Retryd, remove: func() {}}
	var err error
	if w.folder == "" {
		if w.folder, err = os.MkdirTemp("", "retryd-bench-"); err != nil {
			return nil, err
		}
		w.remove = func() { _ = os.RemoveAll(w.folder) }
	} else if err := os.MkdirAll(w.folder, 0o700); err != nil {
		return nil, err
	}
	if w.retryd != "" {
		return w, nil
	}
	w.retryd = filepath.Join(w.folder, "retryd")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", w.retryd}
	if b.Profile != "" {
		overlay, err := w.profiling()
		if err != nil {
			w.remove()
			return nil, err
		}
		args = append(args, overlay)
		if err := os.Setenv("RETRYD_BENCH_PROFILE", b.Profile); err != nil {
			return nil, err
		}
	}
	build := exec.CommandContext(ctx, "go", append(args, "retryd/cmd/retryd")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		w.remove()
		return nil, fmt.Errorf("build retryd: %w\n%s", err, out)
	}
	return w, nil
}

// setting is what a configuration says beside the usual.
type setting struct {
	address     string // of the platform
	ledger      string // path or postgres://…; empty = retryd.db in the folder
	connections int    // one for each project; 0 = one
	project     int    // number of the first
	rate        float64
	burst       int
	slots       int
	policies    int    // 0 = one
	schedule    string // empty = every 5 minutes
	settle      string // empty = 5m
	listen      string
	budgets     int // that the connections share in turn; 0 = each has its own
}

// noLimit is a rate that no platform on this machine reaches.
const noLimit = 1e6

// configure writes a configuration and gives its path.
func (w *workshop) configure(name string, s setting) (string, error) {
	file := filepath.Join(w.folder, name+".yaml")
	return file, os.WriteFile(file, []byte(s.yaml(filepath.Join(w.folder, name+".db"))), 0o600)
}

func (s setting) yaml(ledger string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if s.ledger != "" {
		ledger = s.ledger
	} else {
		ledger = "sqlite:" + ledger
	}
	say("store: {url: %q}", ledger)
	say("log: {level: error}")
	if s.listen != "" {
		say("server: {listen: %q}", s.listen)
	}
	if s.budgets > 0 {
		say("budgets:")
		for n := range s.budgets {
			say("  - {name: budget-%d, requests_per_second: %g, burst: %d}", n, s.rate, s.burst)
		}
	}
	say("connections:")
	for n := range max(1, s.connections) {
		say("  - name: c%04d", n)
		say("    endpoint: http://%s", s.address)
		say("    region: %s", regionID)
		say("    project_id: %s", projectID(s.project+n))
		say("    auth: {aksk: {access_key: %s, secret_key: %s, signing: derived}}", accessKey, secretKey)
		say("    concurrency: %d", s.slots)
		say("    timeout: 60s")
		if s.budgets > 0 {
			say("    budget: budget-%d", n%s.budgets)
		} else {
			say("    requests_per_second: %.0f\n    burst: %d", s.rate, s.burst)
		}
	}
	say("policies:")
	for n := range max(1, s.policies) {
		say("  - name: p%02d", n)
		say("    connections: all")
		say("    schedule: %q", or(s.schedule, "@every 5m"))
		say("    tasks: {backlog: true%s}", names(n, s.policies))
		say("    attempts: {settle: %s}", or(s.settle, "5m"))
		say("    limits: off\n    halt: off")
	}
	return b.String()
}

// names shares the tasks out where there are several policies.
func names(n, of int) string {
	if of < 2 {
		return ""
	}
	return fmt.Sprintf(", names: ['task-%03d']", n)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// sweep runs `retryd sweep` with a configuration.
func (w *workshop) sweep(ctx context.Context, file string, args ...string) (usage, error) {
	return measure(ctx, w.retryd, append([]string{"-c", file, "sweep"}, args...)...)
}

// complete checks that a platform was left with nothing to do, and that nothing was done twice.
func complete(r record, targets int) error {
	var errs []error
	if r.Once != targets || r.Missed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d targets were retried exactly once, %d never", r.Once, targets, r.Missed))
	}
	if r.Twice > 0 {
		errs = append(errs, fmt.Errorf("%d targets were retried twice, or when they could not be", r.Twice))
	}
	if r.Open > 0 {
		errs = append(errs, fmt.Errorf("%d calls were not answered", r.Open))
	}
	if r.Refused > 0 {
		errs = append(errs, fmt.Errorf("%d calls were refused", r.Refused))
	}
	return errors.Join(errs...)
}
