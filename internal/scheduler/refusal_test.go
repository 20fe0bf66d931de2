package scheduler_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
)

// refusals stands before the platform: answer gives the status and the code of the n-th retry
// call, 0 to let it through. It gives how many targets each of the calls names.
func (w *world) refusals(answer func(n int) (status int, code string)) func() []int {
	var mu sync.Mutex
	var named []int
	w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/retry") {
			w.e.ServeHTTP(rw, r)
			return
		}
		body := must(io.ReadAll(r.Body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		var call struct{ Targets []string }
		require.NoError(w.t, json.Unmarshal(body, &call))
		mu.Lock()
		named = append(named, len(call.Targets))
		n := len(named)
		mu.Unlock()
		status, code := answer(n)
		if status == 0 {
			w.e.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		rw.WriteHeader(status)
		fmt.Fprintf(rw, `{"error_code":%q,"error_msg":"no"}`, code)
	})
	return func() []int {
		mu.Lock()
		defer mu.Unlock()
		return named
	}
}

func TestModeAllProbesByNameAfterARefusalOfWhoAsks(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]string{http.StatusForbidden: "APIGW.0302", http.StatusUnauthorized: "APIGW.0301"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			wholly(w).Attempts.Backoff = policy.Backoff{Initial: time.Hour, Multiplier: 1, Max: time.Hour}
			w.campaign(failing("a", 60, 1)...)
			w.campaign(failing("b", 60, 1)...)
			until := time.Now().Add(50 * time.Minute)
			named := w.refusals(func(int) (int, string) {
				if time.Now().Before(until) {
					return status, code
				}
				return 0, ""
			})
			w.run(50 * time.Minute)
			require.Empty(t, w.tries())
			require.Greater(t, len(named()), 1)
			for i, n := range named() {
				require.Equal(t, min(i, 1), n, "call %d", i)
			}
			w.run(8 * time.Hour) // the right has been granted
			require.Len(t, w.tries(), 120)
		})
	}
}

func TestARefusalOfWhoAsksInTheMiddleOfADivisionIsFollowedByOneTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 40, 1)...)
		named := w.refusals(func(n int) (int, string) {
			switch n {
			case 3:
				return http.StatusBadRequest, "IOTDA.014299"
			case 5:
				return http.StatusForbidden, "APIGW.0302"
			}
			return 0, ""
		})
		w.run(40 * time.Minute)
		require.Equal(t, []int{1, 10, 29, 14, 15, 1, 10, 4}, named())
		require.Len(t, w.tries(), 40)
		w.holdsPromises()
	})
}

// TestModeAllIsNeverDivided: of a call that names nobody, there is nobody to set aside.
func TestModeAllIsNeverDivided(t *testing.T) {
	t.Parallel()
	for code, calls := range map[string]int{"IOTDA.014299": 2, "APIGW.0106": 3} { // the gateway knows no tasks
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			wholly(w)
			w.campaign(failing("d", 40, 1)...)
			named := w.refusals(func(int) (int, string) { return http.StatusBadRequest, code })
			for range 3 {
				require.Zero(t, w.sweep().Sent[policy.Rejected])
				time.Sleep(time.Hour)
			}
			require.Equal(t, make([]int, calls), named())
		})
	}
}
