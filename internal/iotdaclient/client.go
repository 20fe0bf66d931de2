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
	"sync"
	"sync/atomic"
	"time"
)

// Options describe one connection. All fields without a remark are required.
type Options struct {
	Name        string // of the connection, for messages
	Endpoint    string // scheme://host[:port]
	Region      string // needed for derived signing
	ProjectID   string
	InstanceID  string // Instance-Id header; empty = none
	Credentials Source
	Budget      *Budget
	Guards      *Guards
	Concurrency int           // calls in flight
	Timeout     time.Duration // of one call
	Backoff     Backoff       // of reads
	CAFile      string        // PEM; empty = the system's
	UserAgent   string
	Observe     func(Exchange)    // told of each call; nil = nobody
	LoggedIn    func(LoginResult) // told of each login that a call of the connection led to; nil = nobody
	Transport   http.RoundTripper // nil = net/http with the environment's proxies
	// Around wraps the transport; nil = it is used as it is.
	Around func(http.RoundTripper) http.RoundTripper
}

// Exchange is one finished call, for metrics.
type Exchange struct {
	Op        string // one of Operations
	Code      string // HTTP status, or "error" where there was no whole reply
	Duration  time.Duration
	Throttled bool
	Expires   time.Time // of the credentials used; zero = not known
	Err       *Error    // nil for a success
}

// Operations lists the calls that a Client makes, by the platform's names.
func Operations() []string { return []string{opList, opShow, opRetry, opApps, opDevice, opDevices} }

const (
	opList    = "ListBatchTasks"
	opShow    = "ShowBatchTask"
	opRetry   = "RetryBatchTask"
	opApps    = "ShowApplications"
	opDevice  = "ShowDevice"
	opDevices = "ListDevices"
)

// Client is one connection to IoTDA. Its methods may be called at the same time.
type Client struct {
	o      Options
	source sourceName
	wants  Signing // what the endpoint's host looks like
	http   *http.Client
	slots  slots
	dated  atomic.Pointer[dated]
}

// dated is what the platform's clock showed when a reply came.
type dated struct{ date, at time.Time }

// New makes a client. It does not call anything.
func New(o Options) (*Client, error) {
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" {
		return nil, fmt.Errorf("connection %q: endpoint %q is not scheme://host", o.Name, o.Endpoint)
	}
	if o.Transport == nil {
		transport, err := newTransport(o.CAFile, o.Concurrency)
		if err != nil {
			return nil, fmt.Errorf("connection %q: %w", o.Name, err)
		}
		o.Transport = transport
	}
	if o.Around != nil {
		o.Transport = o.Around(o.Transport)
	}
	if o.Credentials == nil {
		return nil, fmt.Errorf("connection %q: no credentials", o.Name)
	}
	return &Client{o: o, source: nameOf(o.Credentials), wants: wanted(o.Endpoint), http: newHTTP(o.Transport), slots: slots{free: o.Concurrency}}, nil
}

func newTransport(caFile string, idle int) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone() // with ProxyFromEnvironment and HTTP/2
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, idle      // there is one host
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", caFile)
		}
	}
	return t, nil
}

// Name gives the connection's name.
func (c *Client) Name() string { return c.o.Name }

// LogsIn tells whether the connection's calls need logins at IAM.
func (c *Client) LogsIn() bool { return c.source == sourceLogin }

// ProjectID gives the project that the client's tasks belong to.
func (c *Client) ProjectID() string { return c.o.ProjectID }

// Timeout gives the longest that one call can take.
func (c *Client) Timeout() time.Duration { return c.o.Timeout }

// Budget gives the rate that the connection's calls share.
func (c *Client) Budget() *Budget { return c.o.Budget }

// Concurrency gives how many calls may be in flight.
func (c *Client) Concurrency() int { return c.o.Concurrency }

// Doubt has its credentials be proven anew: another process that used them may know more.
func (c *Client) Doubt() { c.o.Guards.Doubt() }

// Backoff gives the pauses between tries of one call.
func (c *Client) Backoff() Backoff { return c.o.Backoff }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Dated gives the Date header of the last reply that had one, and when it came by this
// machine's monotonic clock; zero times before the first.
func (c *Client) Dated() (date, at time.Time) {
	if d := c.dated.Load(); d != nil {
		return d.date, d.at
	}
	return date, at
}

// Acquire waits for a free slot and then for the rate, before any read that waits for them. The caller makes one call and
// then frees the slot. Reads do this themselves; RetryTask's caller does it first,
// because the claim has to come between the rate and the call. To free it once more does nothing.
func (c *Client) Acquire(ctx context.Context) (free func(), err error) {
	return c.acquire(ctx, retriesFirst)
}

func (c *Client) acquire(ctx context.Context, queue int) (free func(), err error) {
	if err := c.slots.acquire(ctx, queue); err != nil {
		return nil, err
	}
	if err := c.o.Budget.wait(ctx, queue); err != nil {
		c.slots.release()
		return nil, err
	}
	return sync.OnceFunc(c.slots.release), nil
}

func (c *Client) fail(op string, e *Error) *Error {
	e.Connection = c.o.Name
	if e.source = c.source; !e.login {
		e.Op = op
	}
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
