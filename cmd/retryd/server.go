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
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"retryd/internal/scheduler"
	"retryd/internal/web"
)

// What one caller, or many, can take of the server.
const (
	maxHeader      = 16 << 10
	maxBody        = 512 << 10 // 1000 devices with the longest ids fit
	maxConnections = 256       // at once; others wait until one ends
	maxStreams     = 16        // of one connection, HTTP/2
	maxScrapes     = 4         // at once
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

// entrance is a way in: a server, and what has it answer until it is closed.
type entrance struct {
	server *http.Server
	answer func() error
}

// serve answers on the listener, to anybody, until the context and then the work has ended.
// What goes on beside the work ends with the context.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error, beside ...func(context.Context) error) error {
	server := newServer(handler)
	return serveUntil(ctx, []entrance{{server, func() error { return server.Serve(listener) }}}, work, beside...)
}

// front is the daemon's entrance for everybody whom its web configuration lets in, and for so many
// at once.
func (h *house) front(listener net.Listener, handler http.Handler, webConfig string) entrance {
	server := newServer(handler)
	server.ErrorLog = errorLog(h.log)
	return entrance{server, func() error {
		return withoutValues(toolkit.Serve(netutil.LimitListener(listener, maxConnections), server, &toolkit.FlagConfig{WebConfigFile: &webConfig}, webLog(h.log)))
	}}
}

// side is its entrance for whoever may open the socket.
func (h *house) side(s *socket, handler http.Handler) entrance {
	server := newServer(handler)
	server.ErrorLog, server.ConnContext = errorLog(h.log), markSocket
	return entrance{server, func() error { return server.Serve(netutil.LimitListener(s, maxConnections)) }}
}

func serveUntil(ctx context.Context, entrances []entrance, work func(context.Context) error, beside ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range entrances {
		g.Go(func() error {
			if err := e.answer(); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		err := work(ctx) // metrics are served until the last call is accounted for
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		for _, e := range entrances {
			if e.server.Shutdown(ctx) != nil { // somebody is connected and says nothing
				err = errors.Join(err, e.server.Close())
			}
		}
		return err
	})
	for _, f := range beside {
		g.Go(func() error { return f(ctx) })
	}
	return g.Wait()
}

// handler serves the metrics, the probes, reloading, the API and the page.
func (h *house) handler(s *scheduler.Scheduler, reloads *reloader) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /-/reload", reloads.serve)
	mux.HandleFunc("GET /api/v1/configuration", reloads.configuration())
	serveProbes(mux, h.registry, s.Ready, s.Drives)
	mux.Handle("/", web.New(web.Options{
		Store: h.store, Config: reloads.inForce.Load, Scheduler: s, Version: readVersion().Version, Log: h.log, Refused: reloads.refusal.Load, Caller: reloads.door.caller,
	}))
	// A page in somebody's browser cannot make it act.
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusForbidden, "the request comes from a page of another site")
	}))
	return cross.Handler(reloads.door.guard(limitBody(mux)))
}

// refuse answers with an error: as the API does where it is for that, else in plain text.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = writeJSON(w, web.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text}) // a reader who has gone misses nothing
}

func serveProbes(mux *http.ServeMux, registry *prometheus.Registry, check func(context.Context) error, drives func() (driven, others []string)) {
	// With a timeout an answer is gathered before it is sent: who reads slowly keeps no place. In
	// OpenMetrics' text the time when a series began would be a series of its own, for each counter and
	// histogram: it is left out there, and is in protobuf anyway.
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		Registry: registry, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, EnableOpenMetrics: true,
	}))
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
}

// limitBody refuses a body that is said to be too large, and ends the reading of one that is.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			w.Header().Set("Connection", "close") // the body is not read
			refuse(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("a request can have %d bytes", maxBody))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
