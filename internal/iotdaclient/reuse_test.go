package iotdaclient_test

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotdaclient"
)

// counted starts a server that counts the connections it gets, and the calls on them by protocol.
func counted(t *testing.T, handler http.Handler, secure bool) (server *httptest.Server, connections *atomic.Int64, second *atomic.Int64) {
	connections, second = &atomic.Int64{}, &atomic.Int64{}
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			second.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	if server.EnableHTTP2 = secure; secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server, connections, second
}

// busy makes calls of all kinds, 16 at a time.
func busy(t *testing.T, c *iotdaclient.Client, id string) {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 4 {
				_, _ = c.Subtasks(t.Context(), id, iotdaclient.Query{}, "", 0)
				_ = each(c)
				_, _ = c.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
				_, _ = c.RetryTask(t.Context(), "ab", []string{"d-0001"}, nil) // there is no such task
			}
		})
	}
	all.Wait()
}

// TestConnectionsAreUsedAgain: after good replies and after bad ones, as long as they are whole.
func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]emulator.Fault{
		"good": {""}, "bad": {"", emulator.FaultHTML, emulator.FaultWrongTypes, emulator.FaultRefused, emulator.Fault503HTML, emulator.FaultUnknownField, emulator.FaultEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			e := platform(emulator.Options{Huge: 5 << 20})
			id := addTask(t, e, 60)
			e.SetFault(func(c emulator.Call) emulator.Fault {
				if name == "bad" && c.N%50 == 20 {
					return emulator.FaultHuge
				}
				return faults[c.N%len(faults)]
			})
			server, connections, _ := counted(t, e, false)
			c := client(t, e, func(o *iotdaclient.Options) {
				o.Endpoint, o.Concurrency = server.URL, 16
				o.Backoff.MaxElapsed = o.Backoff.Initial // each read once or twice
			})
			busy(t, c, id)
			require.Greater(t, len(e.Calls()), 200)
			t.Log(len(e.Calls()), connections.Load())
			require.LessOrEqual(t, connections.Load(), int64(2*16), "net/http may dial once more than it needs while a call waits")
		})
	}
}

// TestHTTP2TakesOneConnection: once the first calls, which may each dial, have found that the platform speaks it.
func TestHTTP2TakesOneConnection(t *testing.T) {
	t.Parallel()
	e := platform(emulator.Options{})
	id := addTask(t, e, 60)
	server, connections, second := counted(t, e, true)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	c := client(t, e, func(o *iotdaclient.Options) { o.Endpoint, o.CAFile, o.Concurrency = server.URL, ca, 16 })
	require.NoError(t, each(c))
	busy(t, c, id)
	require.EqualValues(t, 1, connections.Load())
	require.EqualValues(t, len(e.Calls()), second.Load())
}
