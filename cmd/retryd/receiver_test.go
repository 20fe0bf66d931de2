package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

type receiverKey struct{}

// receiver is who is told of notices in a script, at $RECEIVER.
type receiver struct {
	mu     sync.Mutex
	status int
	text   string
	got    []received
}

// received is one request.
type received struct {
	header http.Header
	body   string
}

// newReceiver starts one that takes what it is sent.
func newReceiver(e *testscript.Env) *receiver {
	r := &receiver{status: http.StatusOK, text: "ok"}
	server := httptest.NewServer(r)
	e.Defer(server.Close)
	e.Setenv("RECEIVER", server.URL+"/hooks/a-secret-path")
	return r
}

func receiverOf(ts *testscript.TestScript) *receiver { return ts.Value(receiverKey{}).(*receiver) }

// ServeHTTP is where digests come.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, received{req.Header, string(body)})
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.text)
}

// receiverAnswers sets what it answers from now on: receiver STATUS [TEXT].
func receiverAnswers(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	r := receiverOf(ts)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.text = status, strings.Join(args[1:], " ")
}

// delivered waits until the receiver was sent something in which there is a text, writes it into a
// file, and forgets all that it was sent: delivered TEXT FILE [SECRET]. With a secret it is signed.
func delivered(ts *testscript.TestScript, _ bool, args []string) {
	r := receiverOf(ts)
	var found received
	await(ts, "nothing with "+args[0]+" was sent", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, g := range r.got {
			if strings.Contains(g.body, args[0]) {
				found, r.got = g, nil
				return true
			}
		}
		return false
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(found.body), 0o600))
	signature := found.header.Get("Retryd-Signature")
	if len(args) < 3 {
		if signature != "" {
			ts.Fatalf("it is signed")
		}
		return
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",")
	mac := hmac.New(sha256.New, []byte(args[2]))
	_, _ = io.WriteString(mac, at+"."+found.body)
	if want := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil)); signature != want {
		ts.Fatalf("its signature is %q, and should be %q", signature, want)
	}
}
