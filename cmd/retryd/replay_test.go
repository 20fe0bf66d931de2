package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhatWasReadOnceIsReadTheSameAgain goes without a network, so that time can pass.
func TestWhatWasReadOnceIsReadTheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		client := &http.Client{Transport: newReplay().around(roundTrip(func(req *http.Request) (*http.Response, error) {
			calls++
			w := httptest.NewRecorder()
			w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
			if strings.HasSuffix(req.URL.Path, "/bad") {
				w.WriteHeader(http.StatusBadGateway)
			}
			fmt.Fprintf(w, "answer %d", calls)
			return w.Result(), nil
		}))}
		ask := func(method, path, instance string) (text, date string) {
			req, err := http.NewRequest(method, "http://platform"+path, nil)
			require.NoError(t, err)
			req.Header.Set("Instance-Id", instance)
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return string(body), resp.Header.Get("Date")
		}
		first, at := ask(http.MethodGet, "/tasks?marker=f", "")
		time.Sleep(time.Hour)
		again, later := ask(http.MethodGet, "/tasks?marker=f", "")
		require.Equal(t, "answer 1", first)
		require.Equal(t, first, again)
		require.Equal(t, 1, calls)
		began, err := http.ParseTime(at)
		require.NoError(t, err)
		require.Equal(t, began.Add(time.Hour).Format(http.TimeFormat), later, "else the clock would seem to be off")
		for _, other := range [][3]string{
			{http.MethodGet, "/tasks?marker=e", ""}, {http.MethodGet, "/tasks?marker=f", "another"}, {http.MethodPost, "/tasks?marker=f", ""},
			{http.MethodGet, "/bad", ""}, {http.MethodGet, "/bad", ""},
		} {
			before := calls
			ask(other[0], other[1], other[2])
			require.Equal(t, before+1, calls, "%v is another call, or none that succeeded", other)
		}
	})
}
