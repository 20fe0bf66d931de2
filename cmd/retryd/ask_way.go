package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"retryd/internal/config"
)

// way is how a daemon is reached.
type way struct {
	http.RoundTripper        // to it
	base              string // scheme and host of its URLs
	name              string // what people know it by
	user, password    string

	lost func(cause error) error // says why nobody is there; nil = the way itself does
}

// way finds the daemon: at --url; else where it has noted that it listens, or the configuration says so: over its
// socket, if it answers there.
func (d asker) way(a *app) (*way, error) {
	if d.URL != "" {
		d.warn(a)
		return d.toURL()
	}
	c, err := a.whereabouts()
	if err != nil {
		return nil, err
	}
	w, denied, err := d.search(a, c, func(p place, w *way) (bool, error) {
		return !p.noted || w.name == p.socket || answers(a.ctx, w), nil
	})
	switch {
	case err != nil:
		return nil, err
	case w == nil && denied != nil:
		return nil, denied
	case w == nil:
		return nil, fmt.Errorf("where the daemon listens is not known: name it with --url: %w", c.broken)
	}
	w.lost = func(cause error) error { return whyAbsent(a, c, w, denied, cause) }
	return w, nil
}

// answers tells whether somebody listens there.
func answers(ctx context.Context, w *way) bool {
	u, err := url.Parse(w.base)
	if err != nil {
		return false
	}
	conn, err := (&net.Dialer{Timeout: answersWithin}).DialContext(ctx, "tcp", u.Host)
	if err == nil {
		_ = conn.Close() // it was to see who is there
	}
	return err == nil
}

// whyAbsent says why no daemon answers where the configuration has it listen.
func whyAbsent(a *app, c *whereabouts, w *way, denied, cause error) error {
	if denied != nil {
		return fmt.Errorf("%w at %s (%w), and %w", errAbsent, w.name, cause, denied)
	}
	if who := c.alive(a); who != "" {
		return fmt.Errorf("%w at %s (%w), but the ledger shows a sign of life of %s: if that is on this machine, server.listen has been changed since it started, so name with --url where it listens, or restart it",
			errAbsent, w.name, cause, who)
	}
	return fmt.Errorf("%w at %s (%w): %s", errAbsent, w.name, cause, startIt)
}

const startIt = "start it (retryd run, or systemctl start retryd), or name with --url where it listens"

// byVariable tells whether the URL is that of $RETRYD_URL, which is set for a whole shell or pod.
func (d asker) byVariable() bool {
	url, _ := env("RETRYD_URL")
	return d.URL != "" && d.URL == url
}

// Commands that advice names: those that ask a daemon, and those that read the configuration themselves.
const (
	asks  = "actions|approve|attempts|explain|forgive|pause|reload|resume|retry|revoke|status|sweep|sweeps|targets|tasks"
	reads = "check|ledger|notify|plan|run"
)

var (
	adviceToAsk  = regexp.MustCompile(`\bretryd (` + asks + `)\b`)
	adviceToCall = regexp.MustCompile(`\bretryd (` + asks + `|` + reads + `)\b`)
)

// again gives advice of what to call next, with the daemon or else the configuration that was named to this command.
func (d asker) again(a *app) func(text string) string {
	literally := func(text string) string { return strings.ReplaceAll(text, "$", "$$") }
	return func(text string) string {
		switch {
		case d.URL == "":
			return adviceToCall.ReplaceAllString(text, literally(a.command(""))+"$1")
		case d.byVariable():
			return text
		default:
			return adviceToAsk.ReplaceAllString(text, "retryd $1 --url "+literally(quotedForShell(d.URL)))
		}
	}
}

// warn says which of two daemons is asked.
func (d asker) warn(a *app) {
	if d.byVariable() && len(a.config) > 0 {
		printf(a.stderr, "$RETRYD_URL is set: the daemon at %s is asked, whichever has the configuration that -c names (warning)\n", shown(d.URL))
	}
}

// answersWithin is how long a daemon of this machine has for saying that it is there.
const answersWithin = 2 * time.Second

// toSocket is the way over a socket; nil where nobody listens, or we may not open it, which why says.
func toSocket(ctx context.Context, path string) (w *way, why error) {
	dialer := net.Dialer{Timeout: answersWithin}
	if path == "" {
		return nil, nil
	}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	_ = conn.Close() // it was to see who is there
	return overUnix(path), nil
}

func overUnix(path string) *way {
	dialer := net.Dialer{Timeout: answersWithin}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	return &way{RoundTripper: &http.Transport{DialContext: dial, DisableKeepAlives: true}, base: "http://retryd", name: path}
}

// toURL is the way to the URL that somebody has named, or to a socket: whoever may open that need not
// be able to read the configuration, and the secrets that it names.
func (d asker) toURL() (*way, error) {
	if path, is := strings.CutPrefix(d.URL, "unix:"); is {
		if path = strings.TrimPrefix(path, "//"); !filepath.IsAbs(path) {
			return nil, usage("--url with unix: needs the whole path of a socket, such as unix:/run/retryd/retryd.sock")
		}
		if err := d.idleOverUnix(); err != nil {
			return nil, err
		}
		return overUnix(path), nil
	}
	base, err := named(d.URL)
	if err != nil {
		return nil, err
	}
	return d.to(base, nil)
}

// idleOverUnix refuses what is for a network: over a socket the system says who asks, and there is no TLS. What
// stands in a variable is for all of a shell, and is let be.
func (d asker) idleOverUnix() error {
	user, _ := env("RETRYD_USER")
	for _, flag := range []struct {
		name string
		set  bool
	}{
		{"--ca-file", d.CAFile != ""}, {"--cert-file", d.CertFile != ""}, {"--key-file", d.KeyFile != ""},
		{"--user", d.User != "" && d.User != user}, {"--password-file", d.PasswordFile != ""},
	} {
		if flag.set {
			return usage(flag.name + " does not go with --url unix:…: over a socket you are the user who runs this, and nothing is encrypted; leave it out")
		}
	}
	return nil
}

func usage(text string) error { return failure{exitUsage, errors.New(text)} }

// toListener is the way to an address that the daemon listens on, with the web configuration that it has there.
func (d asker) toListener(p place, web config.Web) (*way, error) {
	host, port, _ := net.SplitHostPort(p.listen) // it was checked
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	switch at := net.JoinHostPort(host, port); {
	case !p.tls:
		return d.to("http://"+at, nil)
	case !web.TLS: // it had one, and the files name none now
		return d.to("https://"+at, nil)
	default:
		return d.to("https://"+at, &web)
	}
}

// to is the way to an address; own is the web configuration whose certificate is shown there, nil
// where that is not known.
func (d asker) to(base string, own *config.Web) (w *way, err error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case d.CAFile != "":
		if trust.RootCAs, err = authorities(d.CAFile); err != nil {
			return nil, err
		}
	case own != nil:
		only(trust, *own)
	}
	if d.CertFile != "" || d.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(d.CertFile, d.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.DisableKeepAlives, transport.ForceAttemptHTTP2 = trust, true, false
	if d.URL == "" { // it is this machine's own daemon: no proxy needs to see the password
		transport.Proxy = nil
	}
	w = &way{RoundTripper: transport, base: base, name: base}
	w.user, w.password, err = d.identity(base)
	return w, err
}

// RoundTrip sends a request with the name of who asks. A daemon that is not reached, or does not
// let us in, is an error in words.
func (w *way) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.user != "" {
		req = req.Clone(req.Context())
		req.SetBasicAuth(w.user, w.password)
	}
	resp, err := w.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, w.unanswered(err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, errors.Join(w.stranger(), resp.Body.Close())
	}
	return resp, nil
}

// errStranger is in the chain of the error where the daemon asks who we are.
var errStranger = errors.New("asks who you are")

// stranger says what is missing.
func (w *way) stranger() error {
	if w.user != "" {
		return fmt.Errorf("%s does not let %s in: the password is wrong, or basic_auth_users of its web_config has no such user", w.name, w.user)
	}
	return fmt.Errorf("%s %w: set --user (or $RETRYD_USER) and --password-file (or $RETRYD_PASSWORD), as in basic_auth_users of its web_config", w.name, errStranger)
}

// errAbsent is in the chain of the error where no daemon is there, or it says nothing.
var errAbsent = errors.New("no daemon answers")

// unanswered says why no answer came.
func (w *way) unanswered(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // the rest is said here
	}
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		return fmt.Errorf("the daemon's certificate at %s is not trusted (%w): name its authority with --ca-file, and with --url a name that is in it", w.name, err)
	}
	network := (*net.OpError)(nil)
	dial := errors.As(err, &network) && network.Op == "dial"
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted before the daemon at %s answered: it may do what it was asked for", w.name)
	case dial && w.name[0] == '/' && errors.Is(err, os.ErrPermission):
		return errors.New(closedSocket(w.name))
	case (dial || errors.Is(err, context.DeadlineExceeded)) && w.lost != nil:
		return w.lost(err)
	case dial || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w at %s (%w): %s", errAbsent, w.name, err, startIt)
	case strings.HasPrefix(w.base, "http:"):
		return fmt.Errorf("the daemon at %s ended the connection before it answered (%w)", w.name, err)
	}
	// Whoever does not want us may hang up before its reason is read, so the reasons differ.
	return fmt.Errorf("the daemon at %s refuses the connection, or ended it before it answered (%w): where it asks for a client certificate, name one with --cert-file and --key-file", w.name, err)
}
