package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// refusal is an answer other than that it was taken.
type refusal struct {
	status     int
	word       string // of the receiver, where it gave one
	retryAfter time.Duration
}

// Error says what came back.
func (r *refusal) Error() string {
	text := fmt.Sprintf("HTTP %d", r.status)
	if name := http.StatusText(r.status); name != "" {
		text += " " + name
	}
	if r.word != "" {
		text += ": " + r.word
	}
	switch {
	case r.status/100 == 3:
		text += "; redirects are not followed: set url to where it leads"
	case r.lasting():
		text += "; check url and format of this receiver"
	}
	return text
}

// lasting tells whether the same digest is likely to be refused again.
func (r *refusal) lasting() bool {
	return r.status/100 == 3 || r.status/100 == 4 && r.status != http.StatusRequestTimeout && r.status != http.StatusTooManyRequests
}

func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.DisableKeepAlives = true // there are minutes between two digests
		transport = own
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// word is what Slack answers with where it refuses. Other bodies may quote the address.
var word = regexp.MustCompile(`^[a-z_]{2,40}$`)

// post sends one message. Its error never has the address in it, nor any part of it.
func (s *Sender) post(ctx context.Context, r Receiver, m message) error {
	body, header, err := m.encode(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("its url is none")
	}
	req.Header = header
	req.Header.Set("User-Agent", s.o.UserAgent)
	resp, err := s.client.Do(req)
	if err != nil {
		return errors.New(unanswered(err, r.Timeout))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return nil
	}
	refused := &refusal{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64))
	if said := strings.TrimSpace(string(text)); word.MatchString(said) && !strings.Contains(r.URL, said) && !strings.Contains(r.Secret, said) {
		refused.word = said
	}
	return refused
}

// unanswered says why no answer came. The errors of net/http name the address, and those below it
// the host.
func unanswered(err error, timeout time.Duration) string {
	var (
		dns       *net.DNSError
		untrusted *tls.CertificateVerificationError
		plain     tls.RecordHeaderError
		another   x509.HostnameError
		invalid   x509.CertificateInvalidError
		number    syscall.Errno
		network   net.Error
	)
	switch {
	case errors.As(err, &dns):
		return "its host cannot be looked up, or does not exist"
	case errors.As(err, &another):
		return "its certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.As(err, &untrusted):
		return "its certificate is not trusted by this machine"
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS there: is the port right?"
	case errors.As(err, &network) && network.Timeout():
		return "no answer within " + timeout.String()
	case errors.Is(err, context.Canceled):
		return "stopped before it answered"
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it hung up before it answered"
	}
	return "no answer came"
}
