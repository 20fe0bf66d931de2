package iotdaclient_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

// TestALateAnswerFromBeforeARefusalProvesNothing: a key is taken away while calls are under way, and
// the answer to one that was made before is still to come.
func TestALateAnswerFromBeforeARefusalProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		var calls, refused atomic.Int32
		api := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			switch n := calls.Add(1); n {
			case 1: // the key is proven
			case 2: // made in good time, and answered late
				time.Sleep(3 * time.Second)
			default:
				time.Sleep(time.Second)
				refused.Add(1)
				rw.WriteHeader(http.StatusUnauthorized)
				_, _ = rw.Write([]byte(`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`))
				return
			}
			_, _ = rw.Write([]byte(`{"batchtasks":[],"page":{}}`))
		})
		c := w.client(t, key("derived"), api)
		require.NoError(t, list(t.Context(), c))
		var all sync.WaitGroup
		all.Go(func() { require.NoError(t, list(t.Context(), c)) })
		synctest.Wait()
		require.Error(t, list(t.Context(), c))
		all.Wait() // the late 200 has come
		for range 8 {
			all.Go(func() { require.Error(t, list(t.Context(), c)) })
		}
		all.Wait()
		require.EqualValues(t, 2, refused.Load(), "one probe more, and no call after it")
	})
}

// TestWhoTakesOverDoesNotTrustAKeyThatItKnewBefore: it was accepted here, and has been refused to
// another process since.
func TestWhoTakesOverDoesNotTrustAKeyThatItKnewBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		var calls atomic.Int32
		api := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				_, _ = rw.Write([]byte(`{"batchtasks":[],"page":{}}`))
				return
			}
			time.Sleep(time.Second)
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`))
		})
		c := w.client(t, key("derived"), api)
		require.NoError(t, list(t.Context(), c))
		c.Doubt()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { require.Error(t, list(t.Context(), c)) })
		}
		all.Wait()
		require.EqualValues(t, 1+2, calls.Load(), "one probe after the other, two at most")
	})
}
