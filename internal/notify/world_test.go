package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"retryd/internal/notify"
	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { pgtest.Stop(); os.Exit(code) }))
}

const (
	project = "0123456789abcdef0123456789abcdef"
	task    = "5f2bc5a1b2c3d4e5f6a7b8c9"
	key     = "sign-with-this"
)

// delivery is one request that a receiver got.
type delivery struct {
	at     time.Time
	header http.Header
	body   []byte
	digest digest
	taken  bool
}

// digest is what a receiver reads of the JSON format.
type digest struct {
	Version int
	ID      string
	Counts  map[string]int
	Test    bool
	Targets []struct {
		Event    string
		DeviceID string `json:"device_id"`
		TaskName string `json:"task_name"`
		URL      string
	}
}

// house is a ledger, a receiver behind a network without sockets, so that virtual time can move,
// and who sends from one to the other.
type house struct {
	t        testing.TB
	ledger   *store.Store
	answer   func(w http.ResponseWriter, r *http.Request) // as what the receiver behaves
	down     bool                                         // nobody is there
	receiver notify.Receiver
	logs     *observer.ObservedLogs

	mu      sync.Mutex
	got     []delivery
	counted map[string]int
}

// newHouse makes one with a ledger in a file. The ledger is closed before the test ends.
func newHouse(t testing.TB) (*house, func()) {
	return newHouseWith(t, store.Options{Path: filepath.Join(t.TempDir(), "retryd.db")})
}

func newHouseWith(t testing.TB, o store.Options) (*house, func()) {
	h := &house{t: t, counted: map[string]int{}, receiver: notify.Receiver{
		Name: "chat", URL: "http://receiver/hooks/a-secret-path", Format: notify.JSON, Events: store.Events(), All: true,
		Batch: 5 * time.Minute, Secret: key, Timeout: 10 * time.Second,
	}}
	o.Create = true
	ledger, err := store.Open(context.Background(), o)
	require.NoError(t, err)
	h.ledger = ledger
	return h, func() { require.NoError(t, ledger.Close()) }
}

// ServeHTTP is the receiver.
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := delivery{at: time.Now(), header: r.Header}
	d.body, _ = io.ReadAll(r.Body)
	_ = json.Unmarshal(d.body, &d.digest)
	h.mu.Lock()
	answer, n := h.answer, len(h.got)
	h.got = append(h.got, d)
	h.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got[n].taken = true
}

func (h *house) behaves(down bool, answer func(w http.ResponseWriter, r *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.answer = down, answer
}

func status(code int, header ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func (h *house) deliveries() []delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]delivery{}, h.got...)
}

// taken gives the digests that the receiver took.
func (h *house) taken() (digests []digest) {
	for _, d := range h.deliveries() {
		if d.taken {
			digests = append(digests, d.digest)
		}
	}
	return digests
}

// span gives the part of a digest's id that says which notices it has: the rest is when they began.
func span(id string) string { return id[:strings.LastIndex(id, "-")] }

func (h *house) count(result string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counted[h.receiver.Name+" "+result]
}

// Accept and Close make it a listener, of pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (h *house) dial(p pipes) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		h.mu.Lock()
		down := h.down
		h.mu.Unlock()
		if down {
			return nil, fmt.Errorf("dial tcp a-secret-path: %w", os.ErrDeadlineExceeded)
		}
		near, far := net.Pipe()
		select {
		case p.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// options are those of a sender through the pipes.
func (h *house) options(p pipes, receivers ...notify.Receiver) notify.Options {
	var core zapcore.Core
	core, h.logs = observer.New(zap.DebugLevel)
	return notify.Options{
		Setup: notify.Setup{ExternalURL: "https://retryd.example.com", Receivers: receivers}, Store: h.ledger, Holder: "one", UserAgent: "test", Log: zap.New(core),
		Transport: &http.Transport{DialContext: h.dial(p), DisableKeepAlives: true},
		Count: func(receiver, result string, n int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.counted[receiver+" "+result] += n
		},
	}
}

// during runs f while the sender runs, and stops it.
func (h *house) during(f func(*notify.Sender)) {
	h.t.Helper()
	p := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(p) }()
	s, err := notify.New(context.Background(), h.options(p, h.receiver))
	require.NoError(h.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	defer func() { // whatever f finds
		stop()
		err := errors.Join(<-ran, server.Close())
		<-served
		require.NoError(h.t, err)
	}()
	f(s)
}

// closes ends the retries of devices, as the scheduler does.
func (h *house) closes(devices ...string) {
	h.t.Helper()
	c := store.Closings{ProjectID: project, TaskID: task, TaskType: "firmwareUpgrade", Policy: "upgrades", Connection: "prod"}
	for _, d := range devices {
		c.Targets = append(c.Targets, store.Closing{
			DeviceID: d, Outcome: "exhausted", Detail: "5 of 5 attempts", Attempts: 5, Code: "X.1", Text: "offline", Cause: policy.Cause{Name: "offline", Class: "device"},
		})
	}
	h.ends(c)
}

// ends ends the retries of targets that have failed as often as they say.
func (h *house) ends(c store.Closings) {
	h.t.Helper()
	for i, target := range c.Targets {
		for n := range target.Attempts {
			h.fails(c, target.DeviceID, n)
		}
		c.Targets[i].LastN = target.Attempts
	}
	closed, err := h.ledger.CloseTargets(context.Background(), c)
	require.NoError(h.t, err)
	require.Len(h.t, closed, len(c.Targets))
}

// fails has one more attempt of a target be refused.
func (h *house) fails(c store.Closings, device string, n int) {
	h.t.Helper()
	claimed, _, err := h.ledger.Claim(context.Background(), store.Claim{
		Scope: store.Scope{ProjectID: c.ProjectID, TaskID: c.TaskID, Policy: c.Policy, Connection: c.Connection}, TaskType: c.TaskType,
		SendBy: h.ledger.Now().Add(time.Minute), Candidates: []store.Candidate{{DeviceID: device, LastN: n, Max: n + 1}},
	})
	require.NoError(h.t, err)
	_, err = h.ledger.Answered(context.Background(), c.ProjectID, c.TaskID, []store.Answer{{Claimed: claimed[0], State: policy.Rejected, AnsweredAt: h.ledger.Now()}})
	require.NoError(h.t, err)
}
