package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"retryd/internal/config"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

// reloader puts a new configuration in the place of the one that runs: the whole of it, or
// nothing of it.
type reloader struct {
	a     *app
	h     *house
	s     *scheduler.Scheduler
	tells *sender
	door  *door // goes by what is in force

	systemd *supervisor // is told of each

	one     sync.Mutex                    // one reload at a time
	current *config.Config                // in force
	inForce atomic.Pointer[config.Config] // the same, for those who do not wait for a reload
	refused string                        // why the last one was not taken; empty = it was
	refusal atomic.Pointer[web.Refusal]   // the same, for those who do not wait for a reload

	mu   sync.Mutex
	next *reload // asked for and not begun yet
}

// reload is one reading of the configuration, for everybody who asked for it before it began.
type reload struct {
	why   string
	auto  bool // only if anything has changed
	drop  bool // pauses and halts of policies that are gone
	done  chan struct{}
	hash  string
	error error

	warnings config.Problems // of the configuration that was taken
}

// ledgerAnswers is how long a reload waits for the ledger.
const ledgerAnswers = 30 * time.Second

// ask reloads and waits for it. Those who ask while another reload is under way share the next.
func (r *reloader) ask(ctx context.Context, want reload) *reload {
	r.mu.Lock()
	n := r.next
	if n == nil {
		n = &reload{why: want.why, auto: want.auto, drop: want.drop, done: make(chan struct{})}
		r.next = n
		go r.run(ctx, n)
	} else {
		n.auto, n.drop = n.auto && want.auto, n.drop || want.drop
	}
	r.mu.Unlock()
	<-n.done
	return n
}

func (r *reloader) run(ctx context.Context, n *reload) {
	defer close(n.done)
	r.one.Lock()
	defer r.one.Unlock()
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerAnswers) // whoever asked may leave
	defer cancel()
	if !n.auto {
		r.systemd.reloading()
	}
	c, err := r.a.load()
	if err == nil && n.auto && r.refused == "" && c.Hash == r.current.Hash {
		n.hash = c.Hash
		return
	}
	defer func() { r.systemd.reloaded(n.error) }()
	if err == nil {
		err = r.take(ctx, c, n.drop, n.why)
	}
	if err != nil {
		n.error = err
		r.h.metrics.Reloaded(false, "", time.Time{})
		if !n.auto || err.Error() != r.refused {
			r.h.log.Error("the new configuration is refused; the one before stays in force", zap.String("by", n.why), zap.Error(err))
		}
		if r.refused != err.Error() {
			r.refusal.Store(&web.Refusal{At: r.h.store.Now(), Why: err.Error()})
		}
		r.refused = err.Error()
		return
	}
	r.refusal.Store(nil)
	r.current, r.refused, n.hash, n.warnings = c, "", c.Hash, c.Warnings
	r.inForce.Store(c)
	r.door.asks.Store(&c.Server.Web)
	r.h.metrics.Reloaded(true, c.Hash, time.Now())
	r.h.warn(c)
	r.h.log.Info("configuration reloaded", zap.String("by", n.why), zap.String("config_hash", c.Hash),
		zap.Int("connections", len(c.Connections)), zap.Int("policies", len(c.Policies)))
}

// take puts a configuration in force.
func (r *reloader) take(ctx context.Context, c *config.Config, drop bool, by string) error {
	if problems := c.NeedRestart(r.current); len(problems) > 0 {
		return problems
	}
	lost, err := r.h.lostHolds(ctx, c, drop)
	if err != nil {
		return err
	}
	setup, rates, err := r.h.setup(c)
	if err != nil {
		return err
	}
	if err := r.h.dropHolds(ctx, lost, by); err != nil {
		closeAll(setup)
		return err
	}
	if err := r.tells.apply(ctx, c); err != nil {
		closeAll(setup)
		return err
	}
	rates()
	r.s.Apply(setup)
	r.h.level.SetLevel(level(c.Log.Level))
	return nil
}

// follow reloads at each SIGHUP and, where every is set, whenever files have changed.
func (r *reloader) follow(ctx context.Context, hup <-chan os.Signal, every time.Duration) {
	var ticks <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			r.ask(ctx, reload{why: "SIGHUP"})
		case <-ticks:
			r.ask(ctx, reload{why: "auto-reload", auto: true})
		}
	}
}

// serve answers POST /-/reload once the reload has come to its end. To drop a pause takes somebody
// who has shown who they are, or a program on this machine.
func (r *reloader) serve(w http.ResponseWriter, req *http.Request) {
	by := r.door.caller(req)
	want := reload{why: "POST /-/reload from " + req.RemoteAddr, drop: req.URL.Query().Get("drop_pauses") == "true"}
	if by.Name != "" && !overSocket(req) {
		want.why += " by " + by.Name
	}
	if want.drop && by.Refused != "" && !r.door.knows(req) && !local(req) {
		http.Error(w, "drop_pauses is for this machine's own address or socket, or for users of server.web_config: run `retryd reload --drop-pauses` on it", http.StatusForbidden)
		return
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		status := http.StatusBadRequest
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "read the request: "+err.Error(), status)
		return
	}
	n := r.ask(req.Context(), want)
	if n.error != nil {
		http.Error(w, n.error.Error(), http.StatusBadRequest)
		return
	}
	printf(w, "reloaded: configuration %s is in force\n", n.hash)
	for _, warning := range n.warnings {
		printf(w, "%s (warning)\n", warning)
	}
}

// lostHolds gives the policies that are paused or halted and not in a configuration. Unless they
// are to be dropped, it refuses the configuration: under a new name such a policy would go on at
// once.
func (h *house) lostHolds(ctx context.Context, c *config.Config, drop bool) (lost []string, err error) {
	held, err := h.store.HeldPolicies(ctx)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, p := range held {
		if !hasPolicy(c, p.Policy) {
			lost = append(lost, p.Policy)
			texts = append(texts, fmt.Sprintf("policy %q is not in the configuration and was %s; under a new name it would go on", p.Policy, p.Why))
		}
	}
	if len(lost) > 0 && !drop {
		return nil, badConfiguration(errors.New(strings.Join(texts, "\n") + "\npause it under its new name and then `retryd resume --policy` the old one, or drop this with --drop-pauses"))
	}
	return lost, nil
}

func hasPolicy(c *config.Config, name string) bool {
	return slices.ContainsFunc(c.Policies, func(p *policy.Policy) bool { return p.Name == name })
}

func (h *house) dropHolds(ctx context.Context, lost []string, by string) error {
	if len(lost) == 0 {
		return nil
	}
	if err := h.store.DropPolicies(ctx, lost, store.Action{Who: who(), Source: by, What: "drop pauses and halts"}); err != nil {
		return err
	}
	h.log.Warn("pauses and halts are dropped: their policies are gone", zap.Strings("policies", lost), zap.String("by", by))
	return nil
}

func (h *house) warn(c *config.Config) {
	for _, warning := range c.Warnings {
		h.log.Warn(warning.Message, zap.String("file", warning.File), zap.Int("line", warning.Line))
	}
}

type reloadCmd struct {
	asker
	DropPauses bool `help:"Drop pauses and halts of policies that the configuration does not have any more, instead of refusing it."`
}

// Run has the daemon reload and says what came of it.
func (c reloadCmd) Run(a *app) error {
	a.toldBroken = true // the answer says what is wrong with it
	path := "/-/reload"
	if c.DropPauses {
		path += "?" + url.Values{"drop_pauses": {"true"}}.Encode()
	}
	answer, err := c.ask(a, http.MethodPost, path, time.Minute)
	if notThere(err) {
		return errors.New("what answers has no configuration to read again: it is retryd demo, or another program; give --url the address of the daemon")
	}
	if err != nil {
		return err
	}
	printf(a.stdout, "%s\n", answer)
	return nil
}
