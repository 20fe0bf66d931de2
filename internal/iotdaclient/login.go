package iotdaclient

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// LoginOptions describe a login at IAM. All fields without a remark are required.
type LoginOptions struct {
	Endpoint  string // scheme://host[:port]
	Domain    string // the account's name
	User      string
	Password  string
	ProjectID string // for which the tokens hold
	Timeout   time.Duration
	CAFile    string // PEM; empty = the system's
	UserAgent string
	Guards    *Guards           // those of the connections
	Transport http.RoundTripper // nil = net/http with the environment's proxies
}

// Login is a Source of tokens that IAM gives for a user's name and password. It logs in when
// the first call needs a token, and again before that one ends; a new token leaves the one
// before it valid [doc iam_30_0001].
type Login struct {
	o      LoginOptions
	http   *http.Client
	logins [sha256.Size]byte // what refused logins are counted under
	calls  [sha256.Size]byte // what refused calls with its tokens are counted under
	kept   kept
}

// opLogin is the platform's name of the call.
const opLogin = "KeystoneCreateUserTokenByPassword"

// NewLogin makes a login. It does not call anything.
func NewLogin(o LoginOptions) (*Login, error) {
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" {
		return nil, fmt.Errorf("auth.iam: endpoint %q is not scheme://host", o.Endpoint)
	}
	if o.Guards == nil {
		return nil, errors.New("auth.iam: no guards")
	}
	if o.Transport == nil {
		transport, err := newTransport(o.CAFile, 1)
		if err != nil {
			return nil, fmt.Errorf("auth.iam: %w", err)
		}
		o.Transport = transport
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	// A corrected password is tried at once. What is kept of it is a byte of its hash: enough to
	// tell one from the next, and of no use to whoever would guess it from the ledger.
	word := sha256.Sum256([]byte(o.Password))
	l := &Login{
		o: o, http: newHTTP(o.Transport),
		// Both are the user's: tokens that are refused again and again, each a new one, are held
		// back as one key is.
		logins: sha256.Sum256([]byte(strings.Join([]string{"login", o.Endpoint, o.Domain, o.User, string(word[:1])}, "\x00"))),
		calls:  sha256.Sum256([]byte(strings.Join([]string{"iam", o.Endpoint, o.Domain, o.User}, "\x00"))),
	}
	l.kept = kept{ask: l.ask, due: tokenDue, patience: o.Timeout / 2, turn: make(chan struct{}, 1)}
	return l, nil
}

// Credential gives the token, after a login where there is none or it ends soon.
func (l *Login) Credential(ctx context.Context) (Credential, error) { return l.kept.credential(ctx) }

// Renew drops a refused token, so that the next call logs in anew.
func (l *Login) Renew(refused Credential) bool { return l.kept.drop(refused) }

// Close drops idle connections.
func (l *Login) Close() { l.http.CloseIdleConnections() }

// tokenDue gives when a token is renewed: an hour before it ends, or when a tenth of its life
// is left where that is later.
func tokenDue(c Credential, got time.Time) time.Time {
	life := c.Expires.Sub(got)
	early := min(time.Hour, life/10)
	return got.Add(max(life-early, min(askAgain, life)))
}

// ask logs in, unless there were too many refusals.
func (l *Login) ask(ctx context.Context) (Credential, error) {
	done, e := l.o.Guards.enter(ctx, l.logins, loginWindow, [sha256.Size]byte{})
	if e == nil {
		var c Credential
		c, e = l.login(ctx)
		tellLogin(ctx, e)
		told := answerNothing
		switch {
		case e == nil:
			told = answerAccepted
		case e.Class == iotda.ClassAuth:
			told = answerRefused
			l.o.Guards.heard(l.logins, loginWindow, e)
		}
		noted := done(told)
		switch {
		case e != nil:
		case noted != nil:
			e = &Error{Class: classLocked, err: noted}
		default:
			return c, nil
		}
	}
	e.Op, e.source, e.login = opLogin, sourceLogin, true
	return Credential{}, e
}

// login makes the call, once.
func (l *Login) login(ctx context.Context) (Credential, *Error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.Timeout)
	defer cancel()
	req, err := l.request(ctx)
	if err != nil {
		return Credential{}, &Error{Class: classCredentials, err: err}
	}
	begun := time.Now()
	r, e := receive(l.http, req, maxLoginReply, func(r *reply, body io.Reader) error { return r.keep(body, maxLoginReply) })
	if e != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			e.Class = classStopped
		}
		return Credential{}, e
	}
	if r.status != http.StatusCreated {
		return Credential{}, l.refusal(r)
	}
	token := r.header.Get("X-Subject-Token")
	if token == "" {
		e := r.error()
		e.Class, e.Message = iotda.ClassBroken, "the reply has no X-Subject-Token"
		return Credential{}, e
	}
	return Credential{Token: token, Expires: tokenEnd(r, begun), guard: l.calls}, nil
}
