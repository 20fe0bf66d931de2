package web_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
	"retryd/internal/web"
)

// read gets a page, or what belongs to it.
func (s *site) read(path string, header ...string) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

func TestAPageLoadsNothingFromElsewhereAndIsNotKept(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\sstyle=|\son[a-z]+="|javascript:|https?://[^<]*["']\s*>`)
	for name, path := range places() {
		r, text := s.read(path)
		policy := r.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
			require.Contains(t, policy, part, name)
		}
		require.NotContains(t, policy, "unsafe", name)
		require.Equal(t, []string{"nosniff", "no-referrer", "no-store", "text/html; charset=utf-8"},
			[]string{r.Header.Get("X-Content-Type-Options"), r.Header.Get("Referrer-Policy"), r.Header.Get("Cache-Control"), r.Header.Get("Content-Type")}, name)
		require.Empty(t, inline.FindAllString(text, -1), name)
		require.NotContains(t, text, "ZgotmplZ", name)
	}
}

// TestAButtonNamesTheProjectOfItsTask: another project may have a task of that id.
func TestAButtonNamesTheProjectOfItsTask(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	bodies := regexp.MustCompile(`data-body="([^"]*)"`)
	of := 0
	for name, path := range places() {
		_, text := s.read(path)
		for _, body := range bodies.FindAllStringSubmatch(text, -1) {
			if body := html.UnescapeString(body[1]); strings.Contains(body, `"task":`) {
				require.Contains(t, body, `"project":"`+project+`"`, name)
				of++
			}
		}
	}
	require.Greater(t, of, 10)
}

func TestAFileOfThePageIsKeptForEverUnderTheNameOfWhatIsInIt(t *testing.T) {
	s := siteFor(t, ann)
	_, text := s.read("/")
	files := regexp.MustCompile(`/assets/(?:page|icon)\.[0-9a-f]{16}\.(?:css|js|svg)`).FindAllString(text, -1)
	require.Len(t, files, 4)
	for _, file := range files {
		r, _ := s.read(file)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Equal(t, "public, max-age=31536000, immutable", r.Header.Get("Cache-Control"))
		again, text := s.read(file, "If-None-Match", r.Header.Get("Etag"))
		require.Equal(t, http.StatusNotModified, again.StatusCode)
		require.Empty(t, text)
	}
	r, _ := s.read("/assets/page.css")
	require.Equal(t, http.StatusNotFound, r.StatusCode, "a name without a hash could be kept too long")
}

func TestWhatIsHostileIsTextInEveryPage(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	for name, path := range places() {
		_, text := s.read(path)
		for _, raw := range []string{hostileDevice, hostileText, hostileWhy, "<script>alert", "<img src=x"} {
			require.NotContains(t, text, raw, name)
		}
	}
	hostile := url.QueryEscape(`"><script>alert(5)</script>`)
	for _, path := range []string{"/devices?device=", "/devices?task=", "/tasks?name=", "/sweeps?policy=", "/attempts?task=", "/actions?who=", "/policies?mode=", "/sweeps?after=", "/recovery?days=", "/tasks?", "/tasks/x/"} {
		_, text := s.read(path + hostile)
		require.NotContains(t, text, "<script>alert", path)
	}
}

func TestAListGoesOnWhereItsPageEnds(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	next := regexp.MustCompile(`href="([^"]+)" rel="next"`)
	path, rows := "/attempts?limit=50&policy=nightly", 0
	for page := 0; path != ""; page++ {
		r, text := s.read(path)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Equal(t, page > 0, strings.Contains(text, "First page"))
		rows += strings.Count(text, `<td data-as="Claimed">`)
		path = ""
		if found := next.FindStringSubmatch(text); found != nil {
			path = strings.ReplaceAll(found[1], "&amp;", "&")
			require.Contains(t, path, "policy=nightly", "the next page has the same filter")
		}
	}
	require.Greater(t, rows, 200)
	r, text := s.read("/attempts?after=nonsense")
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
	require.Contains(t, text, "after is nothing that a page of this list has given as next")
}

func TestASearchLeadsToTheTaskOrElseToTheDevice(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	for q, to := range map[string]string{
		"fw 2.1": "/tasks/" + project + "/" + campaign, campaign: "/tasks/" + project + "/" + campaign, " d-open ": "/devices?device=d-open", "": "/devices",
		hostileDevice: "/devices?device=" + url.QueryEscape(hostileDevice), "//evil.example": "/devices?device=%2F%2Fevil.example",
	} {
		r, _ := s.read("/find?q=" + url.QueryEscape(q))
		require.Equal(t, http.StatusSeeOther, r.StatusCode)
		require.Equal(t, to, r.Header.Get("Location"))
	}
}

func TestWhatIsWrongWithAnAddressIsSaidInThePage(t *testing.T) {
	s := siteFor(t, web.Caller{Refused: "looking only"})
	for path, words := range map[string]string{
		"/sweeps?result=great": "result can be running, complete, partial, failed, skipped", "/tasks?nme=x": `there is no parameter &#34;nme&#34;`,
		"/recovery?days=9": "days can be 1, 2, 7, 30, 90",
	} {
		r, text := s.read(path)
		require.Equal(t, http.StatusBadRequest, r.StatusCode, path)
		require.Contains(t, text, words)
		require.Contains(t, r.Header.Get("Content-Type"), "text/html")
	}
}

// TestAPageSaysOfWhatIsSupersededPerhapsThatThisIsNotSure: which of a task's targets a newer one has could not be read.
func TestAPageSaysOfWhatIsSupersededPerhapsThatThisIsNotSure(t *testing.T) {
	s := siteFor(t, ann)
	s.week()
	path := "/tasks/" + project + "/" + hostileID
	for _, unsure := range []bool{false, true} {
		counted := store.TaskCounts{TaskID: hostileID, Policy: "nightly", Connection: "prod", Counts: map[string]int{"backoff": 1, "superseded": 19}}
		if unsure {
			counted.Detail = policy.Perhaps
		}
		require.NoError(t, s.s.CountTasks(t.Context(), project, []store.TaskCounts{counted}))
		_, task := s.read(path)
		_, list := s.read("/tasks")
		for _, text := range []string{task, list} {
			require.Equal(t, !unsure, strings.Contains(text, "19 left alone"))
			require.Equal(t, unsure, strings.Contains(text, "19 perhaps left alone"))
		}
		require.Equal(t, !unsure, strings.Contains(task, "a newer task has the device too"))
		require.Equal(t, unsure, strings.Contains(task, "perhaps: a newer task's members could not be read"))
		require.Equal(t, unsure, strings.Contains(task, "Perhaps left alone: whether a newer task has them too could not be read"))
	}
}
