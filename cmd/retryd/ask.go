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
	URL          string `name:"url" env:"RETRYD_URL" placeholder:"URL" help:"Of the daemon, such as https://retryd.example:9464 or unix:/run/retryd/retryd.sock. Default: where the configuration has it listen, server.socket first."`
	CAFile       string `name:"ca-file" placeholder:"FILE" help:"PEM file of the authority behind the daemon's certificate. Default: without --url the certificate in web_config, else this machine's authorities."`
	CertFile     string `placeholder:"FILE" help:"PEM file of a client certificate, where the daemon asks for one."`
	KeyFile      string `placeholder:"FILE" help:"Its key."`
	User         string `env:"RETRYD_USER" placeholder:"NAME" help:"Where the daemon asks for a password."`
	PasswordFile string `placeholder:"FILE" help:"That holds the user's password. $RETRYD_PASSWORD can hold it instead."`
}

// maxAnswer is far above what a daemon tells, lists of devices and all.
const maxAnswer = 64 << 20

// ask sends one request to the daemon and gives its answer.
func (d asker) ask(a *app, method, path string, timeout time.Duration) (string, error) {
	w, err := d.way(a)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(a.ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, nil)
	if err != nil {
		return "", errors.New("--url must be http:// or https:// and where the daemon listens")
	}
	resp, err := w.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read the daemon's answer: %w", err)
	}
	text := strings.TrimSpace(string(body))
	switch resp.StatusCode {
	case http.StatusOK:
		return text, nil
	case http.StatusBadRequest, http.StatusForbidden:
		return "", errors.New(text) // the daemon's own words
	}
	return "", &statusError{resp.StatusCode, fmt.Sprintf("%s%s: HTTP %d: %s", w.name, path, resp.StatusCode, text)}
}

// statusError is an answer of the daemon that no command expects.
type statusError struct {
	code int
	text string
}

// Error says where it came from.
func (e *statusError) Error() string { return e.text }

// notThere tells whether what answered has nothing under the address that was asked.
func notThere(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == http.StatusNotFound
}

// named gives a URL that somebody has named, unless it shows a password.
func named(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("--url must be http:// or https:// and where the daemon listens, such as http://127.0.0.1:9464, or unix: and the path of its socket")
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

// identity reads who asks, to be told to the daemon at a URL.
func (d asker) identity(base string) (user, password string, err error) {
	password, set := env("RETRYD_PASSWORD")
	if d.PasswordFile != "" {
		data, err := os.ReadFile(d.PasswordFile)
		if err != nil {
			return "", "", fmt.Errorf("--password-file: %w", err)
		}
		password, set = strings.TrimRight(string(data), "\r\n"), true
	}
	at, err := url.Parse(base)
	switch {
	case err != nil:
		return "", "", errors.New("--url must be http:// or https:// and where the daemon listens")
	case d.User == "" && d.PasswordFile != "":
		return "", "", errors.New("--password-file is whose? Name the user with --user")
	case d.User == "":
		return "", "", nil
	case !set:
		return "", "", errors.New("--user has no password: name its file with --password-file, or set $RETRYD_PASSWORD")
	case at.Scheme == "http" && d.URL != "" && !loopback(at.Hostname()) && at.Hostname() != "localhost":
		return "", "", errors.New("--url is http, which would show the password to the network: use https")
	}
	return d.User, password, nil
}
