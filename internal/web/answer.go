package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"
)

// Error says what to do about it.
func (p *Problem) Error() string { return p.Detail }

// Busy tells whether the API has no turn for the request now, and may have one soon.
func (p *Problem) Busy() bool { return p.Status == http.StatusServiceUnavailable && !p.foreign }

// writeAnswer sends an answer.
func writeAnswer(w http.ResponseWriter, answer any) {
	Answers(w.Header(), "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(answer) // a reader who has gone misses nothing
}

// Answers says how an answer is to be taken: as what it is, once, and by no page of another site.
func Answers(h http.Header, mediaType string) {
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// fail sends an error: a *Problem as it is; any other is the program's own, or the ledger's.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := (*Problem)(nil)
	if !errors.As(err, &p) {
		if r.Context().Err() == nil {
			s.Log.Error("a request could not be answered", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
		}
		p = refusal(http.StatusInternalServerError, "%s", err)
	}
	Answers(w.Header(), "application/problem+json")
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(p) // a reader who has gone misses nothing
}
