package iotdaclient

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Gate is the last look before a retry leaves: an error holds it back. It is asked when the
// connection is there and the request's body is about to be written, after everything that can
// take time: the turn of the credentials, a login, dialling, TLS. What a gate holds back has had
// no effect: a request without the whole of its body is not complete, and a server does not act on
// it [RFC 9112 section 8].
type Gate func() error

// gated is a body that asks a gate before it gives its first byte.
type gated struct {
	io.ReadCloser
	gate Gate

	once sync.Once
	mu   sync.Mutex
	held error
}

// Read asks the gate the first time.
func (g *gated) Read(p []byte) (int, error) {
	g.once.Do(func() {
		if err := g.gate(); err != nil {
			g.mu.Lock()
			g.held = err
			g.mu.Unlock()
		}
	})
	if err := g.why(); err != nil {
		return 0, fmt.Errorf("held back: %w", err)
	}
	return g.ReadCloser.Read(p)
}

// why gives what the gate said; nil where it let the body through, or was not asked.
func (g *gated) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// through puts a gate before the request's body.
func (gate Gate) through(req *http.Request) *gated {
	if gate == nil {
		return nil
	}
	g := &gated{ReadCloser: req.Body, gate: gate}
	req.Body = g
	return g
}
