package web

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// routePage adds the page: the same answers as those of the API, for a reader.
func (s *server) routePage(mux *http.ServeMux) {
	p := &pages{server: s, assets: newAssets()}
	p.templates = parsePages(p.assets)
	for pattern, show := range map[string]showing{
		"GET /{$}":                    p.overview,
		"GET /policies":               p.policies,
		"GET /connections":            p.connections,
		"GET /tasks":                  p.listTasks,
		"GET /tasks/{project}/{task}": p.oneTask,
		"GET /devices":                p.device,
		"GET /recovery":               p.recovered,
		"GET /sweeps":                 p.listSweeps,
		"GET /attempts":               p.listAttempts,
		"GET /actions":                p.listActions,
	} {
		mux.HandleFunc(pattern, p.show(show))
	}
	mux.HandleFunc("GET /find", p.find)
	mux.HandleFunc("GET /assets/{name}", p.assets.serve)
}

// pages draws the page.
type pages struct {
	*server
	assets    assets
	templates map[string]*template.Template
}

// showing finds out what a page shows.
type showing func(*view) error

// view is what a template draws.
type view struct {
	Template string
	Title    string
	Here     string // the entry of the menu
	Now      time.Time
	Version  string
	Caller   Caller
	Query    url.Values
	Body     any // what this page shows
	Every    int // seconds after which the script asks for it again

	request *http.Request
}

// Path is that of the page, without its query.
func (v *view) Path() string { return v.request.URL.EscapedPath() }

// within is what a template shows that more than one page has.
type within struct {
	View *view
	Of   any
}

func (v *view) With(of any) within { return within{v, of} }

// Holds is what the table of holds shows.
func (v *view) Holds(pauses []Pause, halts []Halt, approvals []Approval) within {
	return within{v, holds{pauses, halts, approvals}}
}

func (v *view) ctx() context.Context { return v.request.Context() }

// put says what the page shows, and with which template.
func (v *view) put(template, title, here string, body any) error {
	v.Template, v.Title, v.Here, v.Body = template, title, here, body
	return nil
}

// Menu lists what there is.
func (v *view) Menu() []struct{ Path, Name string } {
	return []struct{ Path, Name string }{
		{"/", "Overview"}, {"/tasks", "Tasks"}, {"/devices", "Devices"}, {"/recovery", "Recovery"}, {"/sweeps", "Sweeps"},
		{"/attempts", "Attempts"}, {"/actions", "Actions"}, {"/policies", "Policies"}, {"/connections", "Connections"},
	}
}

// show draws a page whole before it sends any of it, so that what goes wrong is said in its place.
func (p *pages) show(find showing) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &view{Now: p.now().UTC(), Version: p.Version, Caller: p.Caller(r), Query: r.URL.Query(), Every: 10, request: r}
		status := http.StatusOK
		if err := find(v); err != nil {
			problem := p.problem(r, err)
			status = problem.Status
			_ = v.put("problem", problem.Title, "", problem)
		}
		var out bytes.Buffer
		if err := p.templates[v.Template].ExecuteTemplate(&out, "page", v); err != nil {
			p.fail(w, r, err)
			return
		}
		secure(w.Header())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(out.Bytes()) // a reader who has gone misses nothing
	}
}

// problem gives an error as the reader should see it.
func (p *pages) problem(r *http.Request, err error) *Problem {
	if known := (*Problem)(nil); errors.As(err, &known) {
		return known
	}
	if r.Context().Err() == nil {
		p.Log.Error("a page could not be shown", zap.String("path", r.URL.Path), zap.Error(err))
	}
	return refusal(http.StatusInternalServerError, "%s", err)
}

// secure lets a browser load what this server has, and nothing else; and lets no other site show it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// find leads from what a person has typed to what has that name: a task, else a device.
func (p *pages) find(w http.ResponseWriter, r *http.Request) {
	q := trimmed(r.URL.Query().Get("q"))
	to := "/devices"
	if q != "" {
		tasks, err := p.Store.FindTasks(r.Context(), q)
		switch {
		case err != nil:
			p.show(func(*view) error { return err })(w, r)
			return
		case len(tasks) == 1:
			to = taskPath(tasks[0].ProjectID, tasks[0].ID)
		case len(tasks) > 1:
			to = "/tasks?" + url.Values{"name": {q}}.Encode()
		default:
			to += "?" + url.Values{"device": {q}}.Encode()
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // it begins with a path of ours
}
