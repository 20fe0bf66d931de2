package main

import (
	"context"
	"errors"
	"net/http"

	"retryd/internal/config"
	"retryd/internal/scheduler"
	"retryd/internal/store"
	"retryd/internal/web"
)

// inHouse is the API of this process, on the ledger of the configuration, beside whatever daemon
// runs with it. It is opened when it is asked first.
type inHouse struct {
	a      *app
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
	h, err := i.a.ledgerByHand()
	if i.h = h; err != nil {
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
	resp, err := i.RoundTripper.RoundTrip(req)
	if errors.Is(err, context.Canceled) && req.Method != http.MethodGet {
		err = errInterrupted
	}
	return resp, err
}

var errInterrupted = errors.New("interrupted: nothing more is sent")

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
