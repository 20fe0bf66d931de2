package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"retryd/internal/scheduler"
)

// What one caller, or many, can take of the server.
const (
	maxHeader      = 16 << 10
	maxBody        = 64 << 10
	maxConnections = 256 // at once; others wait until one ends
	maxStreams     = 16  // of one connection, HTTP/2
	maxScrapes     = 4   // at once
	scrapeTimeout  = 30 * time.Second
)

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // a reload is answered when it has come to its end
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
}

// serve answers on the listener, to anybody, until the context and then the work has ended.
// What goes on beside the work ends with the context.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error, beside ...func(context.Context) error) error {
	server := newServer(handler)
	return serveUntil(ctx, server, func() error { return server.Serve(listener) }, work, beside...)
}

// serve does the same for the daemon: to whom its web configuration lets in, and to so many at
// once.
func (h *house) serve(ctx context.Context, listener net.Listener, handler http.Handler, webConfig string, work func(context.Context) error, beside ...func(context.Context) error) error {
	server := newServer(handler)
	server.ErrorLog = errorLog(h.log)
	return serveUntil(ctx, server, func() error {
		return withoutValues(web.Serve(netutil.LimitListener(listener, maxConnections), server, &web.FlagConfig{WebConfigFile: &webConfig}, webLog(h.log)))
	}, work, beside...)
}

func serveUntil(ctx context.Context, server *http.Server, answer func() error, work func(context.Context) error, beside ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := answer(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		err := work(ctx) // metrics are served until the last call is accounted for
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil { // somebody is connected and says nothing
			return errors.Join(err, server.Close())
		}
		return err
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
	serveProbes(mux, h.registry, s.Ready, s.Drives)
	// A page in somebody's browser cannot make it reload.
	return http.NewCrossOriginProtection().Handler(reloads.door.guard(limitBody(mux)))
}

func serveProbes(mux *http.ServeMux, registry *prometheus.Registry, check func(context.Context) error, drives func() (driven, others []string)) {
	// With a timeout an answer is gathered before it is sent: who reads slowly keeps no place.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { printf(w, "healthy\n") })
	ready := &shared{check: check}
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := ready.ask(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		driven, others := drives()
		printf(w, "ready\n")
		if len(driven) > 0 {
			printf(w, "drives: %s\n", strings.Join(driven, ", "))
		}
		if len(others) > 0 {
			printf(w, "does not drive: %s\n", strings.Join(others, ", "))
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		printf(w, "retryd %s\n\n/metrics\n/-/healthy\n/-/ready\n", readVersion().Version)
	})
}

// limitBody refuses a body that is said to be too large, and ends the reading of one that is.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			w.Header().Set("Connection", "close") // the body is not read
			http.Error(w, fmt.Sprintf("a request can have %d bytes", maxBody), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
