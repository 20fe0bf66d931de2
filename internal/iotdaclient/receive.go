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

// reply is what came back.
type reply struct {
	status     int
	header     http.Header
	begun      []byte        // what the body begins with: as much as is shown of one
	body       []byte        // the whole of it, where that is kept
	wrong      error         // why it could not be read as what it should be
	date       time.Time     // of the Date header; zero = none
	clockAhead time.Duration // of this machine against it
}

// keep reads a body of at most max bytes as it is.
func (r *reply) keep(body io.Reader, most int64) error {
	data, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(data)) <= most {
		r.body = data
	}
	return err
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

// receive sends a request, once, and has its reply read, of at most limit bytes. What read leaves is read too: a reply
// that is cut after it is known to be, and the connection can be used again.
func receive(client *http.Client, req *http.Request, limit int64, read func(*reply, io.Reader) error) (*reply, *Error) {
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
	b := &body{from: resp.Body, left: limit + 1}
	r.wrong = read(r, b)
	_, _ = io.Copy(io.Discard, b) // b keeps what was wrong
	r.begun = b.begun
	e := r.error()
	e.whole = false
	switch {
	case b.err != nil:
		e.Class, e.err = iotda.ClassTransient, fmt.Errorf("the reply was cut: %w", b.err)
		return r, e
	case b.left <= 0:
		e.Class, e.Message = iotda.ClassBroken, fmt.Sprintf("the reply is larger than %d MB", limit>>20)
		return r, e
	}
	return r, nil
}

// body is a reply's body up to a limit. It keeps its beginning, and why it could not be read on.
type body struct {
	from  io.Reader
	left  int64
	begun []byte
	err   error
}

// Read reads on, to the limit.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.left <= 0:
		return 0, io.EOF
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.begun = append(b.begun, p[:min(n, shownMax-len(b.begun))]...)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
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
