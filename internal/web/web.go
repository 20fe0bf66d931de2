package web

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"retryd/internal/config"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// Options are what the API works with.
type Options struct {
	Store     *store.Store
	Config    func() *config.Config // that is in force
	Scheduler *scheduler.Scheduler  // of this process: it reads the platform for explanations
	Version   string
	Log       *zap.Logger
	// Perform performs requests before they are answered, where no daemon does; nil = whoever drives
	// their connections performs them, and is woken. No requests and no error = somebody else will.
	Perform func(context.Context, ...store.Request) ([]store.Request, error)
	// Refused is the configuration that was not taken at the last reload, nil if it was; nil = nothing is reloaded.
	Refused func() *Refusal
	// Caller says who asks. It is asked at each request.
	Caller func(*http.Request) Caller
}

// Caller is who asks, as far as they have shown it.
type Caller struct {
	Name string // for the record: a user of the web configuration, or of this machine
	From string // terminal, socket, or an address
	// Refused says why they may look and not act, and what to do about it; empty = they may act.
	Refused string
}

// maxNamed is how many targets an answer names.
const maxNamed = 1000

// LedgerHeader names the ledger that an answer is from: so a command notices that the daemon it
// has reached is not that of its configuration.
const LedgerHeader = "Retryd-Ledger"

// LedgerIDHeader has the name that the ledger itself keeps, wherever it is.
const LedgerIDHeader = "Retryd-Ledger-Id"

// server answers requests.
type server struct {
	Options
	looks *looks
	id    atomic.Pointer[string] // of the ledger; nil = it has not been read yet
}

func (s *server) now() time.Time { return s.Store.Now() }

// name says in an answer which ledger it is from, as far as that can be read.
func (s *server) name(ctx context.Context, h http.Header) {
	h.Set(LedgerHeader, s.Store.Where())
	if s.id.Load() == nil {
		id, err := s.Store.ID(ctx)
		if err != nil {
			return // what is asked for meets the same, and says it
		}
		s.id.Store(&id)
	}
	h.Set(LedgerIDHeader, *s.id.Load())
}

// New serves the API below /api/v1/, and the page.
func New(o Options) http.Handler {
	s := &server{Options: o, looks: newLooks()}
	mux := http.NewServeMux()
	s.routeReads(mux)
	s.routeActions(mux)
	s.routePage(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.name(r.Context(), w.Header())
		if _, pattern := mux.Handler(r); pattern == "" && strings.HasPrefix(r.URL.Path, "/api/") {
			s.fail(w, r, noRoute(mux, w, r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute says why nothing answers a request.
func noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) *Problem {
	var allowed []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPost} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return refusal(http.StatusNotFound, "there is no %s: /api/v1/openapi.yaml says what there is", r.URL.Path)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return refusal(http.StatusMethodNotAllowed, "%s takes %s", r.URL.Path, strings.Join(allowed, ", "))
}
