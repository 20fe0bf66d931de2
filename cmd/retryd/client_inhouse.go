package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"

	"retryd/internal/config"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

// inHouse is the API of this process, on the ledger of the configuration, beside whatever daemon
// runs with it. It is opened when it is asked first.
type inHouse struct {
	a      *app
	where  *whereabouts // nil = not read yet
	denied error        // why we may not open the daemon's socket; nil = that is not known
	h      *house
	s      *scheduler.Scheduler
	failed error // to open
	http.RoundTripper
}

func (i *inHouse) open() error {
	if i.RoundTripper == nil && i.failed == nil {
		i.failed = i.openNow()
	}
	return i.failed
}

func (i *inHouse) openNow() error {
	var err error
	if i.where == nil {
		if i.where, err = i.a.whereabouts(); err != nil {
			return err
		}
	}
	if i.where.ledger() == "" {
		return i.where.needs("the ledger itself")
	}
	h, err := i.a.ledgerByHand(i.where.Config)
	if i.h = h; err != nil && i.denied != nil {
		return fmt.Errorf("%w\n%w", err, i.denied)
	} else if err != nil {
		return err
	}
	if i.s, err = h.scheduler(nil); err != nil {
		return err
	}
	i.RoundTripper = web.InProcess{Handler: web.New(web.Options{
		Store: h.store, Config: func() *config.Config { return h.config }, Scheduler: i.s, Version: readVersion().Version, Log: h.log, Perform: i.perform, Caller: byHand,
	})}
	return nil
}

// RoundTrip has the handler answer.
func (i *inHouse) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := i.open(); err != nil {
		return nil, err
	}
	req, err := i.can(req)
	if err != nil {
		return nil, err
	}
	resp, err := i.RoundTripper.RoundTrip(req)
	if errors.Is(err, context.Canceled) && req.Method != http.MethodGet {
		err = errInterrupted
	}
	return resp, err
}

// can gives an error where the answer to a request depends on a configuration of which only a part is known, else
// the request.
func (i *inHouse) can(req *http.Request) (*http.Request, error) {
	if i.where.broken == nil {
		return req, nil
	}
	if name := path.Base(req.URL.Path); req.Method == http.MethodGet {
		if slices.Contains([]string{"explanations", "tasks", "approvals", "policies", "connections"}, name) {
			return nil, i.where.needs("what there is to say of " + name)
		}
		return req, nil
	}
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, errors.Join(err, req.Body.Close())
		}
	}
	if configured(req, body) {
		return nil, i.where.needs("this")
	}
	return withBody(req, body), nil
}

var errInterrupted = errors.New("interrupted: nothing more is sent")

// statusOf asks for the overview.
func statusOf(ctx context.Context, t http.RoundTripper) (s web.Status, err error) {
	err = clientOf(t, "http://retryd").Get(ctx, "status", nil, &s)
	return s, err
}

func (i *inHouse) close() {
	if i.s != nil {
		i.s.Close()
	}
	if i.h != nil {
		i.h.close()
	}
}

// perform does what was asked for where no daemon does. What it has not begun when it fails is left
// to nobody: whoever asked has been told that it went wrong.
func (i *inHouse) perform(ctx context.Context, requests ...store.Request) ([]store.Request, error) {
	done, err := i.performNow(ctx, requests...)
	if err == nil {
		return done, nil
	}
	why := "it could not be begun: " + err.Error()
	if ctx.Err() != nil {
		err, why = errInterrupted, "interrupted before it was begun"
	}
	ids := make([]int64, len(requests))
	for n, r := range requests {
		ids[n] = r.ID
	}
	return done, errors.Join(err, i.h.store.CancelRequests(context.WithoutCancel(ctx), why, ids...))
}

// again performs a request that waits still: whoever had the ledger, and would have performed it,
// may have gone. There is nothing to do where it was asked of a daemon.
func (i *inHouse) again(ctx context.Context, id int64) error {
	if i == nil || i.RoundTripper == nil {
		return nil
	}
	r, err := i.h.store.GetRequest(ctx, id)
	if err != nil || r.State != store.RequestWaiting {
		return err
	}
	_, err = i.perform(ctx, r)
	return err
}

// performNow does it, and needs the ledger for itself. Where a daemon has it, that one performs
// requests.
func (i *inHouse) performNow(ctx context.Context, requests ...store.Request) ([]store.Request, error) {
	h := build(i.h.config, config.Log{Level: "error", Format: "console"}, i.a.stderr)
	defer h.close()
	err := h.open(i.a, h.ledger(store.Options{}))
	if errors.Is(err, store.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := h.lostHolds(ctx, h.config, false); err != nil {
		return nil, err
	}
	s, err := h.scheduler(nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	done, err := s.PerformNow(ctx, requests...)
	if errors.Is(err, scheduler.ErrDriven) {
		return nil, nil
	}
	return done, err
}
