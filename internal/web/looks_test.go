package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/web"
)

// slowly has the platform wait before each answer until it may, from when slow is true; asked hears
// of each call.
func (r *reader) slowly() (slow *atomic.Bool, asked, may chan struct{}) {
	slow, asked, may = &atomic.Bool{}, make(chan struct{}, 100), make(chan struct{})
	r.front = func(platform http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if slow.Load() {
				asked <- struct{}{}
				select {
				case <-may:
				case <-q.Context().Done():
				}
			}
			platform.ServeHTTP(w, q)
		})
	}
	return slow, asked, may
}

// dryRetry asks what a retry by hand would do.
func (r *reader) dryRetry(w http.ResponseWriter) {
	q := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, "/api/v1/retries", strings.NewReader(`{"task": "fw 2.1", "devices": ["d-failed"], "why": "w", "dry_run": true}`))
	q.Header.Set("Content-Type", "application/json")
	r.h.ServeHTTP(w, q)
}

func TestAtMostTwoAskThePlatformAtOnceAndTheOthersHearWhatTheLedgerKnows(t *testing.T) {
	r := reading(t)
	r.fill()
	r.o.Caller = func(*http.Request) web.Caller { return ann }
	slow, asked, may := r.slowly()
	e := r.lookable()
	r.explain("d-up", "") // the first call of a key is made alone
	slow.Store(true)
	answers := make(chan *httptest.ResponseRecorder, 2)
	for range cap(answers) {
		go func() {
			w := httptest.NewRecorder()
			r.h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/explanations?device=d-failed", nil))
			answers <- w
		}()
	}
	for range cap(answers) {
		<-asked
	}
	for range 6 {
		got := r.explain("d-failed", "")
		require.False(t, got.Live)
		require.Equal(t, "the platform is being asked for others: this is what the ledger knows", got.NotLive)
		require.Len(t, got.Tasks, 1)
	}
	w := httptest.NewRecorder()
	r.dryRetry(w)
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s", w.Body)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Empty(t, asked)
	close(may)
	for range cap(answers) {
		var got web.Explanation
		require.NoError(t, json.Unmarshal((<-answers).Body.Bytes(), &got))
		require.True(t, got.Live)
	}

	r.dryRetry(&deadlined{ResponseRecorder: httptest.NewRecorder()})
	r.dryRetry(&deadlined{ResponseRecorder: httptest.NewRecorder()})
	r.now = r.now.Add(time.Minute)
	require.True(t, r.explain("d-failed", "").Live, "each has given its turn back")
	require.Empty(t, e.Retries())
}

func TestALookIsNotRepeatedWithinSeconds(t *testing.T) {
	r := reading(t)
	r.fill()
	e := r.lookable()
	first := r.explain("d-failed", "")
	calls := len(e.Calls())
	require.NotZero(t, calls)
	r.now = r.now.Add(5 * time.Second)
	again := r.explain("d-failed", "")
	require.True(t, again.Live)
	require.WithinDuration(t, first.AsOf, again.AsOf, 0)
	require.Len(t, e.Calls(), calls)
	r.explain("d-new", "")
	require.Greater(t, len(e.Calls()), calls, "another device is another look")
	calls = len(e.Calls())

	r.try(campaign, "d-failed", policy.Failed)
	r.explain("d-failed", "")
	require.Greater(t, len(e.Calls()), calls, "the ledger has heard of it since")
	calls = len(e.Calls())
	r.now = r.now.Add(20 * time.Second)
	require.True(t, r.explain("d-failed", "").AsOf.After(again.AsOf))
	require.Greater(t, len(e.Calls()), calls)
}

func TestAPageOfAnotherSiteDoesNotHaveThePlatformAsked(t *testing.T) {
	r := reading(t)
	r.fill()
	e := r.lookable()
	for _, path := range []string{"/api/v1/explanations?device=d-failed", "/devices?device=d-failed"} {
		for _, row := range []struct {
			site, mode, dest string
			status           int
		}{
			{"cross-site", "no-cors", "image", http.StatusForbidden},
			{"cross-site", "navigate", "iframe", http.StatusForbidden},
			{"same-site", "no-cors", "image", http.StatusForbidden}, // another port of this host
			{"cross-site", "", "", http.StatusForbidden},
			{"cross-site", "navigate", "document", http.StatusOK},
			{"same-origin", "cors", "empty", http.StatusOK},
			{"none", "navigate", "document", http.StatusOK},
			{"", "", "", http.StatusOK},
		} {
			r.now = r.now.Add(time.Minute)
			calls := len(e.Calls())
			q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			for name, value := range map[string]string{"Sec-Fetch-Site": row.site, "Sec-Fetch-Mode": row.mode, "Sec-Fetch-Dest": row.dest} {
				if value != "" {
					q.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			r.h.ServeHTTP(w, q)
			require.Equal(t, row.status, w.Code, "%s %+v", path, row)
			require.Equal(t, row.status == http.StatusOK, len(e.Calls()) > calls, "%s %+v", path, row)
		}
	}
}

// deadlined is an answer that goes over a network.
type deadlined struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error {
	d.until = t
	return nil
}

func TestWhatRetriesWouldDoMayTakeLongerThanOtherAnswers(t *testing.T) {
	r := reading(t)
	r.fill()
	r.o.Caller = func(*http.Request) web.Caller { return ann }
	r.lookable()
	d := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	r.dryRetry(d)
	require.Equal(t, http.StatusOK, d.Code, "%s", d.Body)
	require.Greater(t, time.Until(d.until), 10*time.Minute)
}
