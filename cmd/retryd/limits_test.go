package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

// openDaemon starts a daemon without a web configuration.
func openDaemon(t *testing.T) *daemon {
	platform := httptest.NewServer(newEmulator(emulator.Options{}))
	t.Cleanup(platform.Close)
	address, file := freeAddress(t), filepath.Join(t.TempDir(), "retryd.yaml")
	text := fmt.Sprintf("server: {listen: %q}\n", address) + sample(strings.TrimPrefix(platform.URL, "http://"))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return startDaemon(t, address, "-c", file)
}

// say opens a connection and writes to it.
func (d *daemon) say(text string) net.Conn {
	conn, err := (&net.Dialer{}).DialContext(d.t.Context(), "tcp", strings.TrimPrefix(d.url, "http://"))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { conn.Close() })
	require.NoError(d.t, conn.SetDeadline(time.Now().Add(40*time.Second)))
	_, err = io.WriteString(conn, text)
	require.NoError(d.t, err)
	return conn
}

// status reads an answer.
func status(t *testing.T, conn net.Conn) int {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestWhoDoesNotFinishARequestIsCutOff(t *testing.T) {
	t.Parallel()
	d := openDaemon(t)
	t.Cleanup(func() { d.end() }) // after the parallel ones
	for name, c := range map[string]struct {
		text  string
		after time.Duration
	}{
		"silent":     {"", 5 * time.Second},
		"header":     {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: 1\r\n", 5 * time.Second},
		"body":       {"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx", 10 * time.Second},
		"idle after": {"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			conn := d.say(c.text)
			code, text := d.ask(http.MethodGet, "/metrics")
			require.Equal(t, http.StatusOK, code, "others are served: %s", text)
			_, err := io.Copy(io.Discard, conn) // until the daemon closes it
			require.NoError(t, err)
			require.InDelta(t, c.after.Seconds(), time.Since(start).Seconds(), 3)
		})
	}
}

func TestWhatIsTooLargeIsRefusedUnread(t *testing.T) {
	t.Parallel()
	d := openDaemon(t)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, status(t, d.say("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Large: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n")))
	require.Equal(t, http.StatusOK, status(t, d.say("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Large: "+strings.Repeat("x", maxHeader-1000)+"\r\n\r\n")))
	for _, request := range []string{"POST /-/reload", "GET /metrics", "GET /-/ready"} {
		require.Equal(t, http.StatusRequestEntityTooLarge, status(t, d.say(request+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n")), "%s", request)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge,
		status(t, d.say("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+fmt.Sprintf("%x\r\n%s\r\n", maxBody+1, strings.Repeat("x", maxBody+1))+"0\r\n\r\n")))
	require.Equal(t, http.StatusOK, status(t, d.say("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")))
	require.NotContains(t, d.end(), "refused")
}

func TestAScrapeWorksAfterManyConnections(t *testing.T) {
	t.Parallel()
	d := openDaemon(t)
	http.DefaultClient.CloseIdleConnections() // d's own
	for range maxConnections + 50 {
		d.say("")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	one := &http.Client{Transport: &http.Transport{}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/metrics", nil)
	require.NoError(t, err)
	_, err = one.Do(req)
	require.ErrorIs(t, err, context.DeadlineExceeded, "there are no more connections than may be")
	resp, err := (&http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}).Get(d.url + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	d.end()
}

// hold is a metric that takes its time.
type hold struct {
	desc    *prometheus.Desc
	begun   chan struct{}
	release chan struct{}
}

func (h hold) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }
func (h hold) Collect(ch chan<- prometheus.Metric) {
	h.begun <- struct{}{}
	<-h.release
	ch <- prometheus.MustNewConstMetric(h.desc, prometheus.GaugeValue, 1)
}

func TestNoMoreThanAFewScrapesGoOnAtOnce(t *testing.T) {
	t.Parallel()
	h := hold{prometheus.NewDesc("held", "", nil, nil), make(chan struct{}, 100), make(chan struct{})}
	registry, mux := prometheus.NewRegistry(), http.NewServeMux()
	serveProbes(mux, registry, func(context.Context) error { return nil }, nobody)
	require.NoError(t, registry.Register(h))
	server := httptest.NewServer(mux)
	defer server.Close()
	scrape := func() int {
		resp, err := server.Client().Get(server.URL + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() { require.Equal(t, http.StatusOK, scrape()) })
	}
	for range maxScrapes {
		<-h.begun
	}
	require.Equal(t, http.StatusServiceUnavailable, scrape())
	close(h.release)
	all.Wait()
	require.Equal(t, http.StatusOK, scrape())
}

func TestHammeringReadinessDoesNotHammerTheLedger(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	mux := http.NewServeMux()
	serveProbes(mux, prometheus.NewRegistry(), func(context.Context) error { writes.Add(1); return nil }, nobody)
	server := httptest.NewServer(mux)
	defer server.Close()
	start := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 50 {
				resp, err := server.Client().Get(server.URL + "/-/ready")
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, writes.Load(), int64(1+time.Since(start)/sharedFor))
}

// TestOnlyAProgramOnThisMachineDropsPausesWhereNobodyIsAskedWhoTheyAre knows that a page in a
// browser and a proxy come from loopback too.
func TestOnlyAProgramOnThisMachineDropsPausesWhereNobodyIsAskedWhoTheyAre(t *testing.T) {
	t.Parallel()
	d := openDaemon(t)
	for name, header := range map[string]string{
		"a page whose name leads here": "Host: evil.example:9464\r\n", "a page": "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n",
		"nginx": "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n", "a proxy": "Host: localhost\r\nForwarded: for=192.0.2.1\r\n", "a made-up user": "Host: evil.example\r\nAuthorization: Basic YW5uOmFubg==\r\n",
	} {
		require.Equal(t, http.StatusForbidden, status(t, d.say("POST /-/reload?drop_pauses=true HTTP/1.1\r\n"+header+"Content-Length: 0\r\n\r\n")), name)
	}
	require.Equal(t, http.StatusForbidden, status(t, d.say("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n")))
	require.Equal(t, http.StatusOK, status(t, d.say("POST /-/reload?drop_pauses=true HTTP/1.1\r\nHost: "+strings.TrimPrefix(d.url, "http://")+"\r\nContent-Length: 0\r\n\r\n")))
	require.Equal(t, http.StatusOK, status(t, d.say("POST /-/reload?drop_pauses=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")))
	d.end()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/-/reload", nil)
	for _, from := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "[fe80::1%eth0]:1", "127.0.0.1", ""} {
		r.RemoteAddr = from
		require.False(t, local(r), from)
	}
	for _, from := range []string{"127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		r.RemoteAddr = from
		require.True(t, local(r), from)
	}
}

func nobody() (driven, others []string) { return nil, nil }
