package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"retryd/internal/web"
)

// apiFlags are those of commands that work on the API: that of the daemon, where one runs with the
// ledger of the configuration; else one of their own on the same ledger. The answers are the same.
type apiFlags struct {
	asker `group:"The daemon, where one runs:"`
}

// api is the API as a command reaches it.
type api struct {
	*web.Client
	own *inHouse // nil = not even if the daemon does not let us act
}

// openAPI finds the API.
func (f apiFlags) openAPI(a *app) (*api, error) {
	own := &inHouse{a: a}
	if f.URL != "" {
		f.warn(a)
		w, err := f.toURL()
		switch {
		case err != nil:
			return nil, err
		case f.byVariable():
			return &api{clientOf(&orInHouse{w, own, w.name, true}, w.base), own}, nil
		}
		return &api{Client: clientOf(w, w.base)}, nil
	}
	c, err := a.whereabouts()
	if err != nil {
		return nil, err
	}
	own.where = c
	w, denied, err := f.daemonOf(a, c)
	if err != nil {
		return nil, err
	}
	own.denied = denied
	if w == nil {
		return &api{clientOf(own, "http://retryd"), own}, nil
	}
	return &api{clientOf(&orInHouse{w, own, w.name, false}, w.base), own}, nil
}

func clientOf(t http.RoundTripper, base string) *web.Client {
	return &web.Client{Base: base, HTTP: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p *api) close() {
	if p.own != nil {
		p.own.close()
	}
}

// daemonOf gives the way to the daemon that has the ledger of the configuration, nil where none
// answers.
func (f apiFlags) daemonOf(a *app, c *whereabouts) (w *way, denied, err error) {
	return f.search(a, c, func(p place, w *way) (bool, error) { return w.has(a, c.ledger(), p.noted) })
}

// has asks whether the daemon has this ledger. Where it is another's, or does not tell, that is
// said, and the ledger itself is used; it is used in silence where the daemon would have to be told
// who asks, and was not, and where what the daemon has noted of itself may be of the one before. Which
// ledger it should be may not be known: then the daemon is the one that the files name.
func (w *way) has(a *app, ledger string, noted bool) (bool, error) {
	ctx, cancel := context.WithTimeout(a.ctx, answersWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/api/v1/openapi.yaml", nil)
	if err != nil {
		return false, err
	}
	resp, err := w.RoundTrip(req)
	switch {
	case errors.Is(err, errAbsent) && !errors.Is(err, context.DeadlineExceeded), errors.Is(err, errStranger):
		return false, nil
	case noted && err != nil:
		return false, nil
	case err != nil && w.user != "": // whoever says who they are wants the daemon
		return false, err
	case err != nil:
		printf(a.stderr, "The ledger itself is used: %s.\n", err)
		return false, nil
	}
	defer resp.Body.Close()
	switch has := resp.Header.Get(web.LedgerHeader); {
	case has == ledger && has != "":
		return true, nil
	case ledger == "" && has != "":
		printf(a.stderr, "The daemon at %s is asked, with the ledger %s: which one the configuration means is not known (warning)\n", w.name, shown(has))
		return true, nil
	case noted:
	case has == "":
		printf(a.stderr, "The ledger itself is used: what answers at %s is another program, or another version of retryd.\n", w.name)
	default:
		printf(a.stderr, "The ledger itself is used: the daemon at %s has another one, %s.\n", w.name, shown(has))
	}
	return false, nil
}

// orInHouse asks the daemon and, where that lets nobody act who asks as we do, acts on the ledger
// itself: whoever may write it may act.
type orInHouse struct {
	daemon     http.RoundTripper
	own        *inHouse
	name       string // what people know the daemon by
	byVariable bool   // it is that of $RETRYD_URL, which may have nothing to do with the configuration
}

// RoundTrip asks one, or one after the other.
func (o *orInHouse) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, errors.Join(err, req.Body.Close())
		}
		_ = req.Body.Close() // it is in memory
	}
	resp, err := o.daemon.RoundTrip(withBody(req, body))
	if err != nil || req.Method == http.MethodGet || resp.StatusCode != http.StatusForbidden {
		return resp, err
	}
	if o.own.open() != nil {
		return resp, nil //nolint:nilerr // what it takes, the daemon says
	}
	id, err := o.own.h.store.ID(req.Context())
	if err == nil && id != resp.Header.Get(web.LedgerIDHeader) {
		if o.byVariable {
			return resp, nil
		}
		err = fmt.Errorf("the daemon at %s has another ledger than this one of the same name, %s: nothing is done; use --url, as a user whom the daemon lets act", o.name, o.own.h.store.Where())
	}
	if err == nil && configured(req, body) {
		err = o.agrees(req)
	}
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	_ = resp.Body.Close() // what it says is of no use
	return o.own.RoundTrip(withBody(req, body))
}

func withBody(req *http.Request, body []byte) *http.Request {
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return again
}

// configured tells whether what a request does depends on the configuration.
func configured(req *http.Request, body []byte) bool {
	switch path.Base(req.URL.Path) {
	case "approvals", "retries", "sweeps":
		return true
	case "pauses":
		var in web.Scope
		_ = json.Unmarshal(body, &in) // the API says what is wrong with it
		return in.Policy+in.Connection+req.URL.Query().Get("policy")+req.URL.Query().Get("connection") != ""
	}
	return false
}

// agrees looks whether the configuration here is what the daemon has in force.
func (o *orInHouse) agrees(req *http.Request) error {
	ctx, cancel := context.WithTimeout(req.Context(), asksFor)
	defer cancel()
	base, _, _ := strings.Cut(req.URL.String(), "/api/v1/")
	if err := o.own.where.needs("this"); err != nil {
		return err
	}
	var status web.Status
	if err := clientOf(o.daemon, base).Get(ctx, "status", nil, &status); err != nil {
		return fmt.Errorf("which configuration the daemon at %s has in force: %w", o.name, err)
	}
	if status.ConfigHash != o.own.h.config.Hash {
		return fmt.Errorf("the configuration here is not the one that the daemon at %s has in force: `retryd reload` first", o.name)
	}
	return nil
}

// asksFor is how long an answer may take: a look at the platform can be in it.
const asksFor = time.Minute

// askFor reads what is at a path below /api/v1/.
func askFor[T any](a *app, f apiFlags, path string, query map[string][]string) (answer T, err error) {
	p, err := f.openAPI(a)
	if err != nil {
		return answer, err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(a.ctx, asksFor)
	defer cancel()
	if err := p.Get(ctx, path, query, &answer); err != nil {
		return answer, refused(err)
	}
	return answer, nil
}

// refused gives the error of a request as an exit code: what cannot be asked is wrong usage.
func refused(err error) error {
	if p := (*web.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusBadRequest {
		return failure{exitUsage, err}
	}
	return err
}
