package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/web"
)

// asks gives a client of a handler of this process.
func asks(h http.HandlerFunc) *web.Client {
	return &web.Client{HTTP: &http.Client{Transport: web.InProcess{Handler: h}}, Base: "http://retryd"}
}

func TestAClientReadsAllPagesUpToALimit(t *testing.T) {
	t.Parallel()
	const there = 1234
	var limits []string
	c := asks(func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("after"))
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		limits = append(limits, r.URL.Query().Get("limit"))
		if err != nil || r.URL.Path != "/api/v1/numbers" || r.URL.Query().Get("of") != "all" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		page := web.List[int]{Items: []int{}}
		for n := from; n < min(from+limit, there); n++ {
			page.Items = append(page.Items, n)
		}
		if from+limit < there {
			page.Next = strconv.Itoa(from + limit)
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	for most, want := range map[int]int{1: 1, 500: 500, 700: 700, there: there, 5000: there} {
		limits = nil
		all, more, err := web.All[int](t.Context(), c, "numbers", map[string][]string{"of": {"all"}}, most)
		require.NoError(t, err)
		require.Len(t, all, want)
		require.Equal(t, want-1, all[want-1])
		require.Equal(t, want < there, more, "%d: %s", most, limits)
	}
}

func TestAClientGivesErrorsAsTheServerSaidThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, body string
		status     int
		want       string
	}{
		{"application/problem+json", `{"status": 403, "detail": "name yourself"}`, 403, "name yourself"},
		{"application/problem+json", `{"status": 403`, 403, `HTTP 403 Forbidden: {"status": 403`},
		{"text/html", "<html>\n  bad gateway", 502, "HTTP 502 Bad Gateway: <html> bad gateway"},
		{"", "", 500, "HTTP 500 Internal Server Error"},
	} {
		client := asks(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		err := client.Get(t.Context(), "status", nil, nil)
		var p *web.Problem
		require.ErrorAs(t, err, &p)
		require.Equal(t, c.status, p.Status)
		require.EqualError(t, err, c.want)
	}
	client := asks(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	require.ErrorContains(t, client.Get(t.Context(), "status", nil, new(web.Status)), "what answers at http://retryd is not retryd")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, client.Get(ctx, "status", nil, new(web.Status)), context.Canceled)
}

func TestAClientSendsBodiesAndKeys(t *testing.T) {
	t.Parallel()
	c := asks(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%q", r.Method+" "+r.RequestURI+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Idempotency-Key")+" "+string(body))
	})
	var answer string
	require.NoError(t, c.Post(t.Context(), "pauses", web.NewPause{Why: "w"}, &answer, "k1"))
	require.Equal(t, `POST /api/v1/pauses application/json k1 {"why":"w"}`, answer)
	require.NoError(t, c.Delete(t.Context(), "pauses/1", map[string][]string{"why": {"a b"}}, &answer, "k2"))
	require.Equal(t, "DELETE /api/v1/pauses/1?why=a+b  k2 ", answer)
}
