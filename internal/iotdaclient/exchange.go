package iotdaclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
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

// exchange makes one call, once, and decodes a 200 into out.
func (c *Client) exchange(ctx context.Context, k call, out any) *Error {
	hash, err := c.o.Credentials.hash()
	if err != nil {
		return c.fail(k.op, &Error{Class: classCredentials, err: err})
	}
	done, until, err := c.o.Guards.of(hash).enter(ctx)
	switch {
	case err != nil:
		return c.fail(k.op, &Error{Class: classStopped, err: err})
	case done == nil:
		return c.fail(k.op, &Error{Class: classLocked, Message: "no call before " + until.UTC().Format(time.RFC3339)})
	}
	start := time.Now()
	e := c.roundTrip(ctx, k, out)
	done(told(e))
	c.observe(k.op, time.Since(start), e)
	if e != nil {
		return c.fail(k.op, e)
	}
	return nil
}

// told says what a call showed about its credentials.
func told(e *Error) answer {
	switch {
	case e == nil:
		return answerAccepted
	case e.Class == iotda.ClassAuth:
		return answerRefused
	case e.whole && strings.HasPrefix(e.Code, "IOTDA."):
		return answerAccepted
	}
	return answerNothing
}

func (c *Client) observe(op string, d time.Duration, e *Error) {
	if c.o.Observe == nil {
		return
	}
	x := Exchange{Op: op, Code: "200", Duration: d, Err: e}
	if e != nil {
		x.Throttled = e.Class == iotda.ClassThrottled
		x.Code = "error"
		if e.whole {
			x.Code = strconv.Itoa(e.Status)
		}
	}
	c.o.Observe(x)
}

func (c *Client) roundTrip(ctx context.Context, k call, out any) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var reached atomic.Bool // set by the transport's goroutine
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})
	req, err := c.request(ctx, k)
	if err != nil {
		return &Error{Class: classCredentials, err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		class := iotda.ClassTransient
		if errors.Is(err, context.Canceled) {
			class = classStopped
		}
		return &Error{Class: class, reached: reached.Load(), err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	e := &Error{
		Status: resp.StatusCode, RequestID: iotda.Clip(resp.Header.Get("X-Request-Id"), 64),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()), reached: true,
	}
	if date, perr := http.ParseTime(resp.Header.Get("Date")); perr == nil {
		e.ClockAhead = time.Since(date)
	}
	switch {
	case err != nil:
		e.Class, e.err = iotda.ClassTransient, fmt.Errorf("the reply was cut: %w", err)
		return e
	case len(body) > maxReply:
		e.Class, e.Message = iotda.ClassBroken, fmt.Sprintf("the reply is larger than %d MB", maxReply>>20)
		return e
	}
	e.whole = true
	if resp.StatusCode != http.StatusOK {
		e.decode(body)
		return e
	}
	if err := json.Unmarshal(body, out); err != nil {
		e.Class, e.Message = iotda.ClassBroken, notAReply(body, err)
		return e
	}
	return nil
}

// decode reads the platform's or the gateway's error body; both have these two fields.
func (e *Error) decode(body []byte) {
	var words struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	if json.Unmarshal(body, &words) == nil {
		e.Code, e.Message = iotda.Clip(words.Code, 64), iotda.Clip(words.Message, 300)
	} else {
		e.Message = "with a body that is not the API's: " + excerpt(body)
	}
	e.Class = iotda.Classify(e.Status, e.Code)
}

// notAReply describes a 200 that is not what the API sends, in words without Go's types.
func notAReply(body []byte, err error) string {
	if len(body) == 0 {
		return "the reply is empty"
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("the reply's field %q is a %s, which is not what the API documents", wrong.Field, wrong.Value)
	}
	return "the reply is not the API's JSON: " + excerpt(body)
}

func excerpt(body []byte) string { return strconv.Quote(iotda.Clip(string(body), 80)) }

// retryAfter reads seconds or a date, and caps them.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		d = time.Duration(min(seconds, 3600)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), retryAfterMax)
}
