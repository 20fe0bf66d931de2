package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"retryd/internal/config"
	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

type demoCmd struct {
	For    time.Duration `default:"0s" help:"End by itself after this long; 0s = run until Ctrl-C."`
	Listen string        `default:"127.0.0.1:9464" help:"Address for the page and the metrics; a free port is taken where it is in use."`
}

// Run runs an emulator and the daemon in one process and tells what happens. It leaves
// no file behind.
func (c demoCmd) Run(a *app) (err error) {
	signal.Ignore(syscall.SIGPIPE) // a reader who has gone does not keep it from cleaning up
	folder, err := os.MkdirTemp("", "retryd-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo's ledger: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	platform, err := listen(a.ctx, "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	e := newEmulator(emulator.Options{Latency: 20 * time.Millisecond, Upgrade: 1500 * time.Millisecond})
	scene, err := e.AddScene(60, time.Now())
	if err != nil {
		return errors.Join(err, platform.Close())
	}
	cfg, err := config.Parse(filepath.Join(folder, "retryd.yaml"), []byte(sample(platform.Addr().String())), env)
	if err != nil {
		return errors.Join(err, platform.Close())
	}
	cfg.Store.Path = filepath.Join(folder, "retryd.db")
	h := build(cfg, config.Log{Level: "warn", Format: "console"}, a.stderr)
	h.demo = true
	defer h.close()
	if err := h.open(a, h.ledger(store.Options{Create: true})); err != nil {
		return errors.Join(err, platform.Close())
	}
	metrics, err := listenNear(a.ctx, c.Listen)
	if err != nil {
		return errors.Join(err, platform.Close())
	}
	ctx := a.ctx
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	t := newTeller(a.stdout, e, scene)
	t.begin(metrics.Addr().String())
	if err := t.run(ctx, h, platform, metrics); err != nil {
		return err
	}
	return t.end(context.WithoutCancel(ctx), h.store)
}

// demoCaller lets whoever sits at this machine act: all that they can hurt is the demo.
func demoCaller(r *http.Request) web.Caller {
	if !onLoopback(r) {
		return web.Caller{From: r.RemoteAddr, Refused: "in the demo only a browser on this machine may act"}
	}
	return web.Caller{Name: who(), From: r.RemoteAddr}
}

// listenNear listens on the address, or on any free port where that one is in use.
func listenNear(ctx context.Context, address string) (net.Listener, error) {
	l, err := listen(ctx, address)
	if err == nil {
		return l, nil
	}
	if l, err := listen(ctx, "127.0.0.1:0"); err == nil {
		return l, nil
	}
	return nil, fmt.Errorf("--listen: %w", err)
}

// teller tells the demo's story from the scheduler's events.
type teller struct {
	w     io.Writer
	e     *emulator.Emulator
	scene emulator.Scene
	start time.Time

	mu       sync.Mutex
	sent     map[string]int // of the sweep under way, by task
	outcomes map[policy.State]int
	told     map[string]bool
	bar      *progressbar.ProgressBar // nil = no terminal
	closed   map[policy.Reason]string
}

func newTeller(w io.Writer, e *emulator.Emulator, scene emulator.Scene) *teller {
	t := &teller{w: w, e: e, scene: scene, start: time.Now(), sent: map[string]int{}, outcomes: map[policy.State]int{},
		told: map[string]bool{}, closed: map[policy.Reason]string{}}
	if isTerminal(w) {
		_, _, _, total := t.fleet()
		t.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionUseANSICodes(true))
	}
	return t
}

func (t *teller) begin(metrics string) {
	failing, _, _, total := t.fleet()
	printf(t.w, "An emulated IoTDA has a firmware and a software campaign of %d devices, of which %d failed.\n", total, failing)
	printf(t.w, "retryd sweeps it every 2 s, at most 3 attempts for each device, 2 s and then 4 s after a failure.\n")
	printf(t.w, "Watch it at http://%s/, and its metrics at /metrics. Stop with Ctrl-C.\n\n", metrics)
}

// fleet is how the two campaigns stand, by the platform's own account.
func (t *teller) fleet() (failing, upgrading, upgraded, total int) {
	for _, id := range []string{t.scene.Firmware, t.scene.Software} {
		task, _ := t.e.Task(id)
		p := task.Progress
		failing, upgrading, upgraded, total = failing+p.Fail, upgrading+p.Waitting+p.Processing, upgraded+p.Success, total+p.Total
	}
	return failing, upgrading, upgraded, total
}

func (t *teller) run(ctx context.Context, h *house, platform, metrics net.Listener) error {
	s, err := h.scheduler(t.watch)
	if err != nil {
		return errors.Join(err, platform.Close(), metrics.Close())
	}
	defer s.Close()
	probes := http.NewServeMux()
	serveProbes(probes, h.registry, s.Ready, s.Drives)
	probes.Handle("/", web.New(web.Options{
		Store: h.store, Config: func() *config.Config { return h.config }, Scheduler: s, Version: readVersion().Version, Log: h.log, Caller: demoCaller,
	}))
	g, ctx := errgroup.WithContext(ctx)
	work, stopped := context.WithCancel(context.WithoutCancel(ctx)) // the emulator outlives the calls to it
	g.Go(func() error {
		return serve(work, platform, t.e, func(ctx context.Context) error { <-ctx.Done(); return nil })
	})
	g.Go(func() error {
		defer stopped()
		return serve(ctx, metrics, http.NewCrossOriginProtection().Handler(limitBody(probes)), s.Run)
	})
	g.Go(func() error { return t.pulse(ctx) })
	return g.Wait()
}

// pulse tells once a second what has changed: in a bar on a terminal, else in a line.
func (t *teller) pulse(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		failing, upgrading, upgraded, total := t.fleet()
		t.mu.Lock()
		if t.bar != nil {
			t.bar.Describe(fmt.Sprintf("%d failing, %d upgrading", failing, upgrading))
			_ = t.bar.Set(upgraded) // a picture only
		} else if line := fmt.Sprintf("%d failing, %d upgrading, %d of %d upgraded", failing, upgrading, upgraded, total); line != last {
			t.say("%s", line)
			last = line
		}
		t.mu.Unlock()
	}
}

// say prints a line of the story, above the bar where there is one. t.mu is held.
func (t *teller) say(format string, args ...any) {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
	printf(t.w, "%5.1fs  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
	if t.bar != nil {
		_ = t.bar.RenderBlank()
	}
}

func (t *teller) watch(e scheduler.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Kind {
	case scheduler.Read:
		if n := t.sent[e.TaskID]; n > 0 {
			t.say("sweep: retried %s of task %s", plural(n, "device"), e.TaskName)
			t.sent[e.TaskID] = 0
		}
	case scheduler.Answered:
		if e.State == policy.Accepted {
			t.sent[e.TaskID]++
		}
	case scheduler.Settled:
		t.outcomes[e.State]++
		if e.State == policy.Recovered && !t.told[fmt.Sprint("recovered", e.Attempt)] {
			t.told[fmt.Sprint("recovered", e.Attempt)] = true
			t.say("%s has recovered at attempt %d", e.DeviceID, e.Attempt)
		}
	case scheduler.Closed:
		t.closed[e.Verdict.Reason] = e.DeviceID
		t.say("%s is given up: %s (%s), %q", e.DeviceID, e.Verdict.Reason, e.Verdict.Detail, e.Text)
	case scheduler.Decided:
		if e.Verdict.Reason == policy.SupersededBy && !t.told[e.DeviceID] {
			t.told[e.DeviceID] = true
			t.say("%s of task %s is left alone: superseded %s", e.DeviceID, e.TaskName, e.Verdict.Detail)
		}
	}
}

// end sums up, and holds what the ledger says against the emulator's own record.
func (t *teller) end(ctx context.Context, s *store.Store) error {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
	totals, err := s.Totals(ctx)
	if err != nil {
		return err
	}
	most, tries := 0, map[string]int{}
	for _, r := range t.e.Retries() {
		tries[r.TaskID+" "+r.Target]++
		most = max(most, tries[r.TaskID+" "+r.Target])
	}
	printf(t.w, "\nIn %s: %s on %s; %d recovered, %d still open.\n", time.Since(t.start).Round(time.Second),
		plural(totals.Attempts, "attempt"), plural(totals.Targets, "device"), totals.Recovered, totals.Open)
	for _, r := range []policy.Reason{policy.Exhausted, policy.Permanent} {
		if device := t.closed[r]; device != "" {
			printf(t.w, "Given up as %s: %s.\n", r, device)
		}
	}
	printf(t.w, "By the platform's own record no device was retried more than %s.\n", plural(most, "time"))
	if older, _ := t.e.Subtask(t.scene.Older, t.scene.Superseded); older.Status == iotda.SubtaskFail {
		printf(t.w, "%s was left to the newer of its two campaigns.\n", t.scene.Superseded)
	}
	return nil
}
