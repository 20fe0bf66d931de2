// Package iotdaclient talks to IoTDA: it signs, paces and bounds each call, says of each
// error what it means, and of each retry call what is proven to have reached the platform.
//
// Reads are repeated with exponential backoff. A retry call (RetryTask) is sent once per
// call of the method and never again by anything below it: repeating it is a decision
// that needs its claim and its gates checked again, and is the caller's.
package iotdaclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

// Options describe one connection. All fields without a remark are required.
type Options struct {
	Name        string // of the connection, for messages
	Endpoint    string // scheme://host[:port]
	Region      string // needed for derived signing
	ProjectID   string
	InstanceID  string // Instance-Id header; empty = none
	Credentials Credentials
	Budget      *Budget
	Guards      *Guards
	Concurrency int           // calls in flight
	Timeout     time.Duration // of one call
	Backoff     Backoff       // of reads
	CAFile      string        // PEM; empty = the system's
	UserAgent   string
	Observe     func(Exchange)    // told of each call; nil = nobody
	Transport   http.RoundTripper // nil = net/http with the environment's proxies
}

// Exchange is one finished call, for metrics.
type Exchange struct {
	Op        string // ListBatchTasks, ShowBatchTask or RetryBatchTask
	Code      string // HTTP status, or "error" where there was no whole reply
	Duration  time.Duration
	Throttled bool
	Err       *Error // nil for a success
}

// Operations lists the calls that a Client makes, by the platform's names.
func Operations() []string { return []string{opList, opShow, opRetry} }

const (
	opList  = "ListBatchTasks"
	opShow  = "ShowBatchTask"
	opRetry = "RetryBatchTask"
)

// Client is one connection to IoTDA. Its methods may be called at the same time.
type Client struct {
	o     Options
	http  *http.Client
	slots *semaphore.Weighted
}

// New makes a client. It does not call anything.
func New(o Options) (*Client, error) {
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" {
		return nil, fmt.Errorf("connection %q: endpoint %q is not scheme://host", o.Name, o.Endpoint)
	}
	if o.Transport == nil {
		transport, err := newTransport(o)
		if err != nil {
			return nil, fmt.Errorf("connection %q: %w", o.Name, err)
		}
		o.Transport = transport
	}
	return &Client{
		o: o,
		http: &http.Client{
			Transport: o.Transport,
			// A redirect would carry a signature, or a retry, to a place nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots: semaphore.NewWeighted(int64(o.Concurrency)),
	}, nil
}

func newTransport(o Options) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone() // with ProxyFromEnvironment and HTTP/2
	t.MaxIdleConnsPerHost = o.Concurrency
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", o.CAFile)
		}
	}
	return t, nil
}

// Name gives the connection's name.
func (c *Client) Name() string { return c.o.Name }

// ProjectID gives the project that the client's tasks belong to.
func (c *Client) ProjectID() string { return c.o.ProjectID }

// Timeout gives the longest that one call can take.
func (c *Client) Timeout() time.Duration { return c.o.Timeout }

// Budget gives the rate that the connection's calls share.
func (c *Client) Budget() *Budget { return c.o.Budget }

// Backoff gives the pauses between tries of one call.
func (c *Client) Backoff() Backoff { return c.o.Backoff }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Acquire waits for a free slot and then for the rate. The caller makes one call and
// then frees the slot. Reads do this themselves; RetryTask's caller does it first,
// because the claim has to come between the rate and the call.
func (c *Client) Acquire(ctx context.Context) (free func(), err error) {
	if err := c.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := c.o.Budget.Wait(ctx); err != nil {
		c.slots.Release(1)
		return nil, err
	}
	return func() { c.slots.Release(1) }, nil
}

// Down tells why no call is made now although the connection is configured: its
// credentials were refused. nil means that calls are made.
func (c *Client) Down() error {
	hash, err := c.o.Credentials.hash()
	if err != nil {
		return c.fail(opList, &Error{Class: classCredentials, err: err})
	}
	if until := c.o.Guards.of(hash).lockedUntil(time.Now()); !until.IsZero() {
		return c.fail(opList, &Error{Class: classLocked, Message: "no call before " + until.UTC().Format(time.RFC3339)})
	}
	return nil
}

func (c *Client) fail(op string, e *Error) *Error {
	e.Connection, e.Op = c.o.Name, op
	return e
}

// AsError gives the *Error in err's chain, nil if there is none.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
