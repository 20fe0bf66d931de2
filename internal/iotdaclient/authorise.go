package iotdaclient

import (
	"context"
	"fmt"
	"time"

	"retryd/internal/iotda"
)

// once makes a read's call. Where its credentials are refused and others can be had, it makes
// it again with those, the first time: so a token that ended before its time costs nothing.
// begun is the start of the last try.
func (c *Client) once(ctx context.Context, k call, renewed *bool, out into) (begun time.Time, e *Error) {
	begun = time.Now()
	if e := c.authorise(ctx, &k); e != nil {
		return begun, e
	}
	e = c.exchange(ctx, k, out)
	if e == nil || e.Class != iotda.ClassAuth || !c.o.Credentials.Renew(k.cred) || *renewed {
		return begun, e
	}
	*renewed = true
	refused := k.cred
	if e := c.authorise(ctx, &k); e != nil {
		return begun, e
	}
	if k.cred == refused {
		return begun, e
	}
	if err := c.o.Budget.wait(ctx, readsAfter); err != nil {
		return begun, c.fail(k.op, &Error{Class: classStopped, err: err})
	}
	return time.Now(), c.exchange(ctx, k, out)
}

// post makes a call that changes something, and never again.
func (c *Client) post(ctx context.Context, k call, out into) *Error {
	if e := c.authorise(ctx, &k); e != nil {
		return e
	}
	e := c.exchange(ctx, k, out)
	if e != nil && e.Class == iotda.ClassAuth {
		c.o.Credentials.Renew(k.cred) // for the call after this one
	}
	return e
}

// authorise gives the call its credentials, and what is left of its time.
func (c *Client) authorise(ctx context.Context, k *call) *Error {
	begun := time.Now()
	within, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	cred, err := c.o.Credentials.Credential(context.WithValue(within, loginKey{}, c.o.LoggedIn))
	switch {
	case err == nil:
		k.cred, k.timeout = cred, c.o.Timeout-time.Since(begun)
		return nil
	case ctx.Err() != nil:
		return c.fail(k.op, &Error{Class: classStopped, err: ctx.Err()})
	case within.Err() != nil && AsError(err) == nil:
		return c.fail(k.op, &Error{Class: iotda.ClassTransient, err: fmt.Errorf("waiting for credentials: %w", err)})
	}
	e := Error{Class: classCredentials, err: err}
	if known := AsError(err); known != nil {
		e = *known // another connection may hold the same
	}
	// Nothing was sent to IoTDA, and what IAM refuses says nothing of a task.
	e.reached, e.whole = false, false
	switch e.Class {
	case iotda.ClassAuth, iotda.ClassTransient, iotda.ClassThrottled, classLocked, classStopped:
	default:
		if !e.Transient() {
			e.Class = classCredentials
		}
	}
	return c.fail(k.op, &e)
}
