package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/store"
)

type runCmd struct{}

// Run runs the daemon.
func (runCmd) Run(a *app) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	log := logger(c.Log, a.stderr)
	defer log.Sync() //nolint:errcheck // stderr cannot always be synced
	for _, warning := range c.Warnings {
		log.Warn(warning)
	}
	h, err := build(c, log)
	if err != nil {
		return err
	}
	defer h.close()
	listener, err := listen(a.ctx, c.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w: another program, or another retryd, uses the address", err)
	}
	if err := h.open(a, store.Options{Path: c.Store.Path, Create: true}); err != nil {
		return errors.Join(err, listener.Close())
	}
	log.Info("retryd starts", zap.String("version", readVersion().Version), zap.String("config", c.File), zap.String("config_hash", c.Hash),
		zap.String("ledger", c.Store.Path), zap.String("listen", listener.Addr().String()),
		zap.Int("connections", len(c.Connections)), zap.Int("policies", len(c.Policies)))
	if h.store.Created() {
		log.Warn("the ledger is new: attempts made before are not known, and every failed target starts at its first attempt", zap.String("ledger", c.Store.Path))
		if err := h.store.Act(a.ctx, store.Action{Who: who(), Source: "run", What: "create ledger", Subject: c.Store.Path}); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	err = h.serve(a.ctx, listener)
	log.Info("retryd stops")
	return err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// serve runs the scheduler and answers on the listener until the context ends.
func (h *house) serve(ctx context.Context, listener net.Listener) error {
	s := h.scheduler(nil)
	return serve(ctx, listener, handler(h.registry, s.Ready), s.Run)
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
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
	return g.Wait()
}

// handler serves the metrics and the probes.
func handler(registry *prometheus.Registry, ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
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
	return mux
}
