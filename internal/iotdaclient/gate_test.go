package iotdaclient_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotdaclient"
)

// TestAGateThatClosesWhileTheConnectionIsMadeHoldsTheCallBack: the window ends while a slow
// network still shakes hands.
func TestAGateThatClosesWhileTheConnectionIsMadeHoldsTheCallBack(t *testing.T) {
	var served atomic.Int32
	var open atomic.Bool
	slow := true
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		open.Store(!slow) // meanwhile
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			served.Add(1)
		}
		_, _ = w.Write([]byte(`{"targets":[{"target":"d","status":"success"}]}`))
	}), func(o *iotdaclient.Options) { o.Transport = transport })
	shut := errors.New("outside the window")
	gate := func() error {
		if !open.Load() {
			return shut
		}
		return nil
	}
	open.Store(true)
	_, e := c.RetryTask(t.Context(), "ab", []string{"d"}, gate)
	require.ErrorIs(t, e, shut)
	require.True(t, e.Held())
	require.True(t, e.NoEffect())
	require.Zero(t, served.Load(), "no server got the whole of it")

	slow = false
	answer, e := c.RetryTask(t.Context(), "ab", []string{"d"}, gate)
	require.Nil(t, e)
	require.Equal(t, iotdaclient.Accepted, answer.Targets["d"].Result)
	require.EqualValues(t, 1, served.Load())
}

// TestWhatAGateHeldBackIsNoWholeRequest looks at the bytes on the wire, with headers that are
// larger than any buffer.
func TestWhatAGateHeldBackIsNoWholeRequest(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	began, whole := make(chan bool, 1), make(chan bool, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		req, err := http.ReadRequest(bufio.NewReader(conn))
		began <- err == nil
		if err == nil {
			_, err = io.ReadAll(req.Body)
		}
		whole <- err == nil
	}()
	c := client(t, http.NotFoundHandler(), func(o *iotdaclient.Options) {
		o.Endpoint, o.Transport = "http://"+l.Addr().String(), &http.Transport{DisableKeepAlives: true}
		o.Credentials = iotdaclient.Token(strings.Repeat("MIIP", 4000))
	})
	_, e := c.RetryTask(t.Context(), "ab", []string{"d"}, func() error { return errors.New("no") })
	require.True(t, e.Held())
	require.True(t, <-began, "the head was on its way already")
	require.False(t, <-whole)
}
