package iotdaclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// exchange makes one call, once, and has out read a 200.
func (c *Client) exchange(ctx context.Context, k call, out into) *Error {
	with := [sha256.Size]byte{}
	if k.cred.Token != "" {
		with = sha256.Sum256([]byte(k.cred.Token))
	}
	done, e := c.o.Guards.enter(ctx, k.cred.name(), guardWindow, with)
	if e != nil {
		return c.fail(k.op, e)
	}
	x := Exchange{Op: k.op, Code: "200", Expires: k.cred.Expires}
	start := time.Now()
	countCall(ctx)
	e = c.roundTrip(ctx, k, out)
	x.Duration = time.Since(start)
	if told(e) == answerRefused {
		c.o.Guards.heard(k.cred.name(), guardWindow, e)
	}
	noted := done(told(e))
	c.learn(e)
	c.observe(x, e)
	switch {
	case e != nil:
		e.signed = c.signing(k.cred)
		return c.fail(k.op, e)
	case noted != nil && k.method == http.MethodGet: // a retry has happened, whatever could be noted
		return c.fail(k.op, &Error{Class: classLocked, err: noted})
	}
	return nil
}

// learn adapts the rate to what the platform says.
func (c *Client) learn(e *Error) {
	switch {
	case e == nil:
		c.o.Budget.succeeded()
	case e.Class == iotda.ClassThrottled:
		c.o.Budget.throttled(e.RetryAfter)
	}
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

func (c *Client) observe(x Exchange, e *Error) {
	if c.o.Observe == nil {
		return
	}
	if e != nil {
		x.Err, x.Throttled, x.Code = e, e.Class == iotda.ClassThrottled, "error"
		if e.whole {
			x.Code = strconv.Itoa(e.Status)
		}
	}
	c.o.Observe(x)
}

// maxRefusal is far more than any words of the platform's or the gateway's come to.
const maxRefusal = 1 << 20

func (c *Client) roundTrip(ctx context.Context, k call, out into) *Error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return &Error{Class: classCredentials, err: err}
	}
	sent := k.gate.through(req)
	r, e := receive(c.http, req, maxReply, func(r *reply, body io.Reader) error {
		if r.status != http.StatusOK {
			return r.keep(body, maxRefusal)
		}
		return out(body)
	})
	if sent != nil && sent.why() != nil { // whatever came back, it was not to this
		return &Error{Class: classHeld, err: sent.why()}
	}
	if r != nil && !r.date.IsZero() {
		c.dated.Store(&dated{r.date, time.Now()})
	}
	if e != nil {
		return e
	}
	e = r.error()
	if r.status != http.StatusOK {
		e.decode(r, k.cred)
		return e
	}
	if r.wrong != nil {
		e.Class, e.Message = iotda.ClassBroken, notAReply(r.begun, k.cred, r.wrong)
		return e
	}
	return nil
}

// decode reads the platform's or the gateway's error body; both have these two fields. cred is
// what the call was made with.
func (e *Error) decode(r *reply, cred Credential) {
	var words struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	if json.Unmarshal(r.body, &words) == nil {
		e.Code, e.Message = cred.shown(words.Code, 64), cred.shown(words.Message, 300)
	} else {
		e.Message = "with a body that is not the API's: " + excerpt(r.begun, cred)
	}
	e.Class = iotda.Classify(e.Status, e.Code)
}

// notAReply describes a 200 that is not what the API sends, in words without Go's types.
func notAReply(begun []byte, cred Credential, err error) string {
	if len(begun) == 0 {
		return "the reply is empty"
	}
	var wrong *json.UnmarshalTypeError
	var odd oddError
	switch {
	case errors.As(err, &odd):
		return "the reply has " + odd.Error()
	case errors.As(err, &wrong):
		return fmt.Sprintf("the reply's field %q is a %s, which is not what the API documents", wrong.Field, wrong.Value)
	}
	return "the reply is not the API's JSON: " + excerpt(begun, cred)
}

func excerpt(begun []byte, cred Credential) string {
	return strconv.Quote(cred.shown(string(begun), 80))
}
