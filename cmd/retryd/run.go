package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/scheduler"
	"retryd/internal/store"
)

type runCmd struct {
	AutoReload      bool          `help:"Reload whenever what the configuration's files hold has changed."`
	AutoReloadEvery time.Duration `default:"10s" placeholder:"10s" help:"How often --auto-reload looks."`
	DropPauses      bool          `help:"Drop pauses and halts of policies that the configuration does not have any more, instead of refusing to start."`
}

// Run runs the daemon.
func (r runCmd) Run(a *app) error {
	hup := make(chan os.Signal, 1) // before the slow part: a signal that comes now would end the program
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	c, err := a.load()
	if err != nil {
		return err
	}
	h := build(c, c.Log, a.stderr)
	defer h.log.Sync() //nolint:errcheck // stderr cannot always be synced
	h.warn(c)
	listener, err := listen(a.ctx, c.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w: another program, or another retryd, uses the address", err)
	}
	defer listener.Close()
	if err := h.open(a, store.Options{Path: c.Store.Path, Create: true}); err != nil {
		return err
	}
	defer h.close()
	lost, err := h.lostHolds(a.ctx, c, r.DropPauses)
	if err != nil {
		return err
	}
	if err := h.dropHolds(a.ctx, lost, "run"); err != nil {
		return err
	}
	s, err := h.scheduler(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	h.metrics.Reloaded(true, c.Hash, time.Now())
	h.log.Info("retryd starts", zap.String("version", readVersion().Version), zap.Strings("config", c.Files), zap.String("config_hash", c.Hash),
		zap.String("ledger", c.Store.Path), zap.String("listen", listener.Addr().String()),
		zap.Int("connections", len(c.Connections)), zap.Int("policies", len(c.Policies)))
	if err := h.greetLedger(a.ctx, c.Store.Path); err != nil {
		return err
	}
	reloads := &reloader{a: a, h: h, s: s, current: c}
	follow := func(ctx context.Context) error {
		reloads.follow(ctx, hup, r.every())
		return nil
	}
	err = serve(a.ctx, listener, h.handler(s, reloads), s.Run, follow)
	h.log.Info("retryd stops")
	return err
}

// every gives how often to look for changes, 0 for never.
func (r runCmd) every() time.Duration {
	if !r.AutoReload {
		return 0
	}
	return max(r.AutoReloadEvery, 100*time.Millisecond)
}

// greetLedger says what is remarkable about the ledger that was opened.
func (h *house) greetLedger(ctx context.Context, path string) error {
	if backup := h.store.Backup(); backup != "" {
		h.log.Info("the ledger has a new schema; a copy of it as it was is kept", zap.String("copy", backup))
	}
	if !h.store.Created() {
		return nil
	}
	h.log.Warn("the ledger is new: attempts made before are not known, and every failed target starts at its first attempt", zap.String("ledger", path))
	return h.store.Act(ctx, store.Action{Who: who(), Source: "run", What: "create ledger", Subject: path})
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// serve answers on the listener until the context and then the work has ended. What goes on
// beside the work ends with the context.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error, beside ...func(context.Context) error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		err := work(ctx) // metrics are served until the last call is accounted for
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return errors.Join(err, server.Shutdown(ctx))
	})
	for _, f := range beside {
		g.Go(func() error { return f(ctx) })
	}
	return g.Wait()
}

// handler serves the metrics, the probes and reloading.
func (h *house) handler(s *scheduler.Scheduler, reloads *reloader) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /-/reload", reloads.serve)
	serveProbes(mux, h.registry, s.Ready)
	// A page in somebody's browser cannot make it reload.
	return http.NewCrossOriginProtection().Handler(mux)
}

func serveProbes(mux *http.ServeMux, registry *prometheus.Registry, ready func(context.Context) error) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { printf(w, "healthy\n") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		printf(w, "ready\n")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		printf(w, "retryd %s\n\n/metrics\n/-/healthy\n/-/ready\n", readVersion().Version)
	})
}
