package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"retryd/internal/config"
)

// asker is where a running daemon listens, and who asks it. A password is never an argument: everybody on the
// machine can read those.
type asker struct {
	URL          string `name:"url" env:"RETRYD_URL" placeholder:"URL" help:"Of the daemon, such as https://retryd.example:9464. Default: where the configuration has it listen."`
	CAFile       string `name:"ca-file" placeholder:"FILE" help:"PEM file of the authority behind the daemon's certificate. Default: without --url the certificate in web_config, else this machine's authorities."`
	CertFile     string `placeholder:"FILE" help:"PEM file of a client certificate, where the daemon asks for one."`
	KeyFile      string `placeholder:"FILE" help:"Its key."`
	User         string `env:"RETRYD_USER" placeholder:"NAME" help:"Where the daemon asks for a password."`
	PasswordFile string `placeholder:"FILE" help:"That holds the user's password. $RETRYD_PASSWORD can hold it instead."`
}

// ask sends one request to the daemon and gives its answer.
func (d asker) ask(a *app, method, path string, timeout time.Duration) (string, error) {
	base, trust, err := d.find(a)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(a.ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return "", errors.New("--url must be http:// or https:// and where the daemon listens")
	}
	if err := d.identify(req); err != nil {
		return "", err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.DisableKeepAlives, transport.ForceAttemptHTTP2 = trust, true, false
	if d.URL == "" { // it is this machine's own daemon: no proxy needs to see the password
		transport.Proxy = nil
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", unanswered(base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read the daemon's answer: %w", err)
	}
	text := strings.TrimSpace(string(body))
	switch resp.StatusCode {
	case http.StatusOK:
		return text, nil
	case http.StatusBadRequest, http.StatusForbidden:
		return "", errors.New(text) // the daemon's own words
	case http.StatusUnauthorized:
		return "", fmt.Errorf("%s asks who you are: set --user (or $RETRYD_USER) and --password-file (or $RETRYD_PASSWORD), as in basic_auth_users of its web_config", base)
	}
	return "", fmt.Errorf("%s%s: HTTP %d: %s", base, path, resp.StatusCode, text)
}

// unanswered says why no answer came.
func unanswered(base string, err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // the rest is said here
	}
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		return fmt.Errorf("the daemon's certificate at %s is not trusted (%w): name its authority with --ca-file, and with --url a name that is in it", base, err)
	}
	network := (*net.OpError)(nil)
	absent := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Op == "dial"
	if absent || strings.HasPrefix(base, "http:") {
		return fmt.Errorf("no daemon answers at %s (%w): start it, or name with --url where it listens", base, err)
	}
	// Whoever does not want us may hang up before its reason is read, so the reasons differ.
	return fmt.Errorf("the daemon at %s refuses the connection (%w): where it asks for a client certificate, name one with --cert-file and --key-file", base, err)
}

// find gives where the daemon listens, and which certificates are its own.
func (d asker) find(a *app) (base string, trust *tls.Config, err error) {
	trust = &tls.Config{MinVersion: tls.VersionTLS12}
	if d.CAFile != "" {
		if trust.RootCAs, err = authorities(d.CAFile); err != nil {
			return "", nil, err
		}
	}
	if d.CertFile != "" || d.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(d.CertFile, d.KeyFile)
		if err != nil {
			return "", nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	if d.URL != "" {
		base, err = named(d.URL)
		return base, trust, err
	}
	c, err := a.load()
	if err != nil {
		return "", nil, err
	}
	host, port, _ := net.SplitHostPort(c.Server.Listen) // it was checked
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	if !c.Server.Web.TLS {
		return "http://" + net.JoinHostPort(host, port), trust, nil
	}
	if d.CAFile == "" {
		only(trust, c.Server.Web)
	}
	return "https://" + net.JoinHostPort(host, port), trust, nil
}

// named gives a URL that somebody has named, unless it shows a password.
func named(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("--url must be http:// or https:// and where the daemon listens, such as http://127.0.0.1:9464")
	case u.User != nil:
		return "", errors.New("--url has a user in it, and others can read it there: use --user and --password-file, or $RETRYD_USER and $RETRYD_PASSWORD")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// only has nothing trusted but the certificate that the configuration has the daemon show:
// it need not be for the address that it listens on.
func only(trust *tls.Config, web config.Web) {
	trust.InsecureSkipVerify = true // what follows is stricter
	trust.VerifyConnection = func(s tls.ConnectionState) error {
		for rest := web.Certificate; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return errors.New("tls: the daemon shows another certificate than its web_config names: if that has just been renewed, try again")
			}
			if block.Type == "CERTIFICATE" {
				if bytes.Equal(block.Bytes, s.PeerCertificates[0].Raw) {
					return nil
				}
			}
		}
	}
}

func authorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--ca-file: there is no certificate in %s", file)
	}
	return pool, nil
}

// identify says who asks.
func (d asker) identify(req *http.Request) error {
	password, set := env("RETRYD_PASSWORD")
	if d.PasswordFile != "" {
		data, err := os.ReadFile(d.PasswordFile)
		if err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
		password, set = strings.TrimRight(string(data), "\r\n"), true
	}
	switch {
	case d.User == "" && d.PasswordFile != "":
		return errors.New("--password-file is whose? Name the user with --user")
	case d.User == "":
		return nil
	case !set:
		return errors.New("--user has no password: name its file with --password-file, or set $RETRYD_PASSWORD")
	case req.URL.Scheme == "http" && d.URL != "" && !loopback(req.URL.Hostname()) && req.URL.Hostname() != "localhost":
		return errors.New("--url is http, which would show the password to the network: use https")
	}
	req.SetBasicAuth(d.User, password)
	return nil
}
