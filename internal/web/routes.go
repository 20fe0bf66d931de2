package web

import (
	_ "embed"
	"errors"
	"net/http"
	"strconv"
	"time"

	"retryd/internal/store"
)

//go:embed openapi.yaml
var openAPI []byte

// asking gives the answer to a request that changes nothing. It reads its parameters before it
// does anything, and ends that with params.check.
type asking func(r *http.Request, p *params) (answer any, err error)

// reads are what can be asked for below /api/v1/.
func (s *server) reads() map[string]asking {
	return map[string]asking{
		"status":        all(s.status),
		"policies":      list(s.policies),
		"connections":   list(s.connections),
		"pauses":        list(s.pauses),
		"halts":         list(s.halts),
		"approvals":     list(s.approvals),
		"tasks":         s.askTasks,
		"targets":       s.askTargets,
		"attempts":      s.askAttempts,
		"sweeps":        s.askSweeps,
		"actions":       s.askActions,
		"recovery":      s.askRecovery,
		"requests/{id}": s.askRequest,
		"explanations":  s.askExplanation,
	}
}

// routeReads adds what changes nothing.
func (s *server) routeReads(mux *http.ServeMux) {
	for path, ask := range s.reads() {
		mux.HandleFunc("GET /api/v1/"+path, s.answer(ask))
	}
	mux.HandleFunc("GET /api/v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		Answers(w.Header(), "application/yaml")
		_, _ = w.Write(openAPI) // a reader who has gone misses nothing
	})
}

func (s *server) answer(ask asking) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := readParams(r.URL.RawQuery, s.now())
		if err != nil {
			s.fail(w, r, err)
			return
		}
		answer, err := ask(r, p)
		switch {
		case errors.Is(err, store.ErrCursor):
			s.fail(w, r, refusal(http.StatusBadRequest, "%s", store.ErrCursor))
		case err != nil:
			s.fail(w, r, err)
		default:
			writeAnswer(w, answer)
		}
	}
}

func (s *server) askTasks(r *http.Request, p *params) (any, error) {
	f := store.TaskFilter{
		ProjectID: p.text("project"), Policy: p.text("policy"), Connection: p.text("connection"),
		Type: p.text("type"), Status: p.text("status"), Gone: p.yes("gone"),
	}
	task, name, page := p.text("task"), p.text("name"), p.page()
	if err := p.check(); err != nil {
		return nil, err
	}
	f.Name = name
	if err := s.byTask(r.Context(), task, &f.ProjectID, &f.TaskID); err != nil {
		return nil, err
	}
	list, err := s.tasks(r.Context(), f, page)
	return found(r.Context(), s, list, err, named{policy: f.Policy, connection: f.Connection, task: task, id: f.TaskID, status: f.Status, kind: f.Type})
}

func (s *server) askTargets(r *http.Request, p *params) (any, error) {
	f := store.TargetFilter{
		ProjectID: p.text("project"), Policy: p.text("policy"), Connection: p.text("connection"), DeviceID: p.text("device"), Is: p.oneOf("is", Stands()...),
	}
	task, page := p.text("task"), p.page()
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := s.byTask(r.Context(), task, &f.ProjectID, &f.TaskID); err != nil {
		return nil, err
	}
	list, err := s.targets(r.Context(), f, page)
	return found(r.Context(), s, list, err, named{policy: f.Policy, connection: f.Connection, task: task, id: f.TaskID})
}

func (s *server) askAttempts(r *http.Request, p *params) (any, error) {
	f := store.AttemptFilter{
		ProjectID: p.text("project"), Policy: p.text("policy"), Connection: p.text("connection"), DeviceID: p.text("device"),
		State: p.oneOf("state", attemptStates()...), Since: p.when("since"), Until: p.when("until"),
	}
	task, page := p.text("task"), p.page()
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := s.byTask(r.Context(), task, &f.ProjectID, &f.TaskID); err != nil {
		return nil, err
	}
	list, err := s.attempts(r.Context(), f, page)
	return found(r.Context(), s, list, err, named{policy: f.Policy, connection: f.Connection, task: task, id: f.TaskID})
}

func (s *server) askSweeps(r *http.Request, p *params) (any, error) {
	f := store.SweepFilter{
		Policy: p.text("policy"), Connection: p.text("connection"), Result: p.oneOf("result", sweepResults()...), Since: p.when("since"), Until: p.when("until"),
	}
	page := p.page()
	if err := p.check(); err != nil {
		return nil, err
	}
	list, err := s.sweeps(r.Context(), f, page)
	return found(r.Context(), s, list, err, named{policy: f.Policy, connection: f.Connection})
}

func (s *server) askActions(r *http.Request, p *params) (any, error) {
	f := store.ActionFilter{
		ProjectID: p.text("project"), Policy: p.text("policy"), Connection: p.text("connection"), DeviceID: p.text("device"),
		Who: p.text("who"), What: p.text("what"), Since: p.when("since"), Until: p.when("until"),
	}
	task, page := p.text("task"), p.page()
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := s.byTask(r.Context(), task, &f.ProjectID, &f.TaskID); err != nil {
		return nil, err
	}
	list, err := s.actions(r.Context(), f, page)
	return found(r.Context(), s, list, err, named{policy: f.Policy, connection: f.Connection, task: task, id: f.TaskID, what: f.What})
}

// recoveryOf is how far back a recovery goes where nothing else is said.
const recoveryOf = 7 * 24 * time.Hour

func (s *server) askRecovery(r *http.Request, p *params) (any, error) {
	since := p.when("since")
	if err := p.check(); err != nil {
		return nil, err
	}
	if since.IsZero() {
		since = s.now().Add(-recoveryOf)
	}
	return s.recovery(r.Context(), since)
}

func (s *server) askRequest(r *http.Request, p *params) (any, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, refusal(http.StatusNotFound, "%q is no number", r.PathValue("id"))
	}
	return s.request(r.Context(), id)
}

func (s *server) askExplanation(r *http.Request, p *params) (any, error) {
	device, task := p.text("device"), p.text("task")
	if err := p.check(); err != nil {
		return nil, err
	}
	if device == "" {
		return nil, refusal(http.StatusBadRequest, "device is missing: whose waiting is to be explained")
	}
	if err := fromElsewhere(r); err != nil {
		return nil, err
	}
	return s.explain(r.Context(), device, task)
}
