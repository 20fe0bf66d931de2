package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/notify"
	"retryd/internal/store"
)

// street is a house whose receiver is a server on the network, and whose ledger's clock is moved by
// the test instead of waiting.
type street struct {
	*house
	server *httptest.Server
	path   string // of the ledger
	ahead  atomic.Int64
	said   strings.Builder // logs of senders that have ended
}

func newStreet(t *testing.T) *street {
	s := &street{path: filepath.Join(t.TempDir(), "retryd.db")}
	var end func()
	s.house, end = newHouseWith(t, store.Options{Path: s.path, Clock: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }})
	t.Cleanup(end)
	s.server = httptest.NewServer(s.house)
	t.Cleanup(s.server.Close)
	s.receiver.URL, s.receiver.Batch = s.server.URL+"/hooks/a_secret_path", 0
	return s
}

// try runs a sender until something has come of it.
func (s *street) try() (result string) {
	s.t.Helper()
	o := s.options(pipes{}, s.receiver)
	o.Transport = nil
	came := make(chan string, 100)
	count := o.Count
	o.Count = func(receiver, result string, n int) {
		count(receiver, result, n)
		came <- result
	}
	sender, err := notify.New(context.Background(), o)
	require.NoError(s.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- sender.Run(ctx) }()
	select {
	case result = <-came:
	case <-time.After(time.Minute):
	}
	stop()
	require.NoError(s.t, <-ran)
	require.NotEmpty(s.t, result, "nothing came of it")
	fmt.Fprintf(&s.said, "%+v\n", s.logs.All())
	return result
}

// due gives how long the ledger lets the next digest rest.
func (s *street) due() time.Duration {
	s.t.Helper()
	d, _, next, err := s.ledger.NextDigest(context.Background(), store.Subscription{Name: s.receiver.Name, Events: s.receiver.Events, All: true})
	require.NoError(s.t, err)
	require.Nil(s.t, d)
	if next.IsZero() {
		return 0
	}
	return next.Sub(s.ledger.Now())
}

func (s *street) sleep(d time.Duration) { s.ahead.Add(int64(d)) }

func TestWhateverAReceiverAnswersNothingIsLostForADayAndThenItIsDroppedAndCounted(t *testing.T) {
	for name, c := range map[string]struct {
		answer      func(http.ResponseWriter, *http.Request)
		gone        bool // nobody listens
		says        string
		least, most time.Duration // rest after the first try
	}{
		"down":     {gone: true, says: "connection refused", least: 4 * time.Second, most: 6 * time.Second},
		"slow":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, "no answer within 50ms", 4 * time.Second, 6 * time.Second},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "it hung up", 4 * time.Second, 6 * time.Second},
		"500":      {status(500), false, "HTTP 500 Internal Server Error", 4 * time.Second, 6 * time.Second},
		"429":      {status(429, "Retry-After", "1800"), false, "HTTP 429 Too Many Requests", 29 * time.Minute, 30 * time.Minute},
		"410":      {status(410), false, "HTTP 410 Gone; check url", 95 * time.Second, 145 * time.Second},
		"404":      {status(404), false, "HTTP 404 Not Found; check url", 95 * time.Second, 145 * time.Second},
		"its text": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a_secret_path", http.StatusForbidden) }, false, "HTTP 403 Forbidden; check url", 95 * time.Second, 145 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			if name == "slow" {
				s.receiver.Timeout = 50 * time.Millisecond
			}
			good := s.receiver.URL
			s.behaves(false, c.answer)
			if c.gone {
				away := httptest.NewServer(nil)
				away.Close()
				s.receiver.URL = away.URL + "/hooks/a_secret_path"
			}
			s.known()
			want := []string{}
			for i := range 4 {
				s.closes(fmt.Sprint("d", i, "a"), fmt.Sprint("d", i, "b"))
				want = append(want, fmt.Sprint("d", i, "a"), fmt.Sprint("d", i, "b"))
				require.Equal(t, notify.Failed, s.try())
				if i == 0 {
					require.GreaterOrEqual(t, s.due(), c.least-time.Second)
					require.LessOrEqual(t, s.due(), c.most)
				}
				s.sleep(5 * time.Hour)
			}
			tried := s.deliveries()
			s.behaves(false, nil)
			s.receiver.URL, s.receiver.Timeout = good, 10*time.Second
			var have []string
			for range 10 {
				if len(have) == len(want) {
					break
				}
				require.Equal(t, notify.Sent, s.try())
				have = nil
				for _, d := range s.taken() {
					for _, target := range d.Targets {
						have = append(have, target.DeviceID)
					}
				}
			}
			require.Equal(t, want, have, "each once, in order")
			for _, d := range tried {
				require.Equal(t, s.taken()[0].ID, d.header.Get("Retryd-Digest"), "one after the other, whose id is the same each time")
			}
			require.Zero(t, s.count(notify.Dropped))

			s.behaves(false, status(500))
			s.closes("old")
			require.Equal(t, notify.Failed, s.try())
			s.sleep(25 * time.Hour)
			require.Equal(t, notify.Dropped, s.try())
			require.Equal(t, 1, s.count(notify.Dropped))
			require.Equal(t, 1, s.logs.FilterMessageSnippet("they are dropped").Len())
			require.Zero(t, s.due())
			require.Contains(t, s.said.String(), c.says)
			s.keepsSecrets()
		})
	}
}

// known makes the receiver known to the ledger.
func (s *street) known() {
	require.NoError(s.t, s.ledger.Subscribe(context.Background(), []string{s.receiver.Name}))
}

// keepsSecrets looks for them in the logs, and in the ledger, which has the last error.
func (s *street) keepsSecrets() {
	s.t.Helper()
	all := s.said.String()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(s.path + suffix)
		require.NoError(s.t, err)
		all += string(data)
	}
	require.Contains(s.t, all, "SQLite format 3")
	for _, secret := range []string{"a_secret_path", key, strings.TrimPrefix(s.server.URL, "http://")} {
		require.NotContains(s.t, all, secret)
	}
}

func TestNoErrorShowsWhereAReceiverIs(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(plain.URL+"/a_secret_path", http.StatusFound))
	defer elsewhere.Close()
	for address, says := range map[string]string{
		"http://a-secret-host.invalid/x":                  "its host cannot be looked up",
		strings.Replace(plain.URL, "http:", "https:", 1):  "it does not speak TLS there",
		strings.Replace(secure.URL, "https:", "http:", 1): "HTTP 400",
		secure.URL:                       "its certificate is not trusted",
		elsewhere.URL:                    "redirects are not followed",
		"http://127.0.0.1:1":             "connection refused",
		"http://127.0.0.1:a_secret_path": "its url is none",
		"ftp://127.0.0.1/":               "no answer came",
		"http://user:a-password@" + plain.Listener.Addr().String(): "HTTP 404",
	} {
		r := notify.Receiver{Name: "chat", URL: address + "/a_secret_path", Format: notify.Slack, Timeout: 5 * time.Second}
		_, err := notify.Try(t.Context(), r, "test", nil)
		require.ErrorContains(t, err, says)
		for _, part := range []string{"secret", "password", "127.0.0.1", address} {
			require.NotContains(t, err.Error(), part)
		}
	}
}
