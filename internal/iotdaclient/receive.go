package iotdaclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"retryd/internal/iotda"
)

const (
	// A page of 50 tasks that carry 30,000 targets each comes to some 60 MB.
	maxReply = 96 << 20
	// retryAfterMax caps what Retry-After may ask for.
	retryAfterMax = time.Minute
)

// reply is what came back, to its last byte.
type reply struct {
	status     int
	header     http.Header
	body       []byte
	date       time.Time     // of the Date header; zero = none
	clockAhead time.Duration // of this machine against it
}

// error gives an error with what the reply's head says.
func (r *reply) error() *Error {
	id := r.header.Get("X-Request-Id")
	if id == "" {
		id = r.header.Get("X-IAM-Trace-Id") // IAM's name for it [sdk core/auth/internal/iam_helper.go]
	}
	return &Error{
		Status: r.status, RequestID: iotda.Clip(id, 64), ClockAhead: r.clockAhead, reached: true, whole: true,
		RetryAfter: retryAfter(r.header.Get("Retry-After"), time.Now()),
	}
}

// receive sends a request, once, and reads a reply of at most limit bytes.
func receive(client *http.Client, req *http.Request, limit int64) (*reply, *Error) {
	var reached atomic.Bool // set by the transport's goroutine
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	}))
	resp, err := client.Do(req)
	if err != nil {
		class := iotda.ClassTransient
		if errors.Is(err, context.Canceled) {
			class = classStopped
		}
		return nil, &Error{Class: class, reached: reached.Load(), err: err}
	}
	defer resp.Body.Close()
	r := &reply{status: resp.StatusCode, header: resp.Header}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.date, r.clockAhead = date, time.Since(date)
	}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	e := r.error()
	e.whole = false
	switch {
	case err != nil:
		e.Class, e.err = iotda.ClassTransient, fmt.Errorf("the reply was cut: %w", err)
		return r, e
	case int64(len(r.body)) > limit:
		e.Class, e.Message = iotda.ClassBroken, fmt.Sprintf("the reply is larger than %d MB", limit>>20)
		return r, e
	}
	return r, nil
}

// newHTTP makes a client that follows no redirect: it would carry a signature, a password or a
// retry to a place nobody configured.
func newHTTP(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// retryAfter reads seconds or a date, and caps them.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		d = time.Duration(min(max(seconds, 0), 3600)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), retryAfterMax)
}
