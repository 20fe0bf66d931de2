package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"retryd/internal/store"
	"retryd/internal/web"
)

// document reads the description of the API from where it is served.
func document(t *testing.T, h http.Handler) *openapi3.T {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/openapi.yaml", nil))
	require.Equal(t, http.StatusOK, w.Code)
	isSealed(t, w.Header())
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	return doc
}

// isSealed looks that an answer is kept nowhere, and read as what it is, by no page of another site.
func isSealed(t *testing.T, h http.Header) {
	require.Equal(t, []string{"no-store", "nosniff", "same-origin"}, []string{h.Get("Cache-Control"), h.Get("X-Content-Type-Options"), h.Get("Cross-Origin-Resource-Policy")})
}

// elsewhere is served beside what New gives: a daemon has it only.
const elsewhere = "GET /api/v1/configuration"

// routes are those of the sources: "METHOD /path" stands wherever one is added.
func routes(t *testing.T) (all []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	literal := regexp.MustCompile(`"((?:GET|POST|DELETE) /api/v1/[a-z.]+(?:/\{id\})?)"`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range literal.FindAllStringSubmatch(string(source), -1) {
			all = append(all, found[1])
		}
	}
	for _, path := range web.Reads() {
		all = append(all, "GET /api/v1/"+path)
	}
	all = append(all, elsewhere)
	slices.Sort(all)
	return all
}

func TestTheDocumentHasTheRoutesThatThereAre(t *testing.T) {
	r := reading(t)
	var described []string
	for path, item := range document(t, r.h).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(described)
	require.Equal(t, routes(t), described)
	for _, route := range described {
		method, path, _ := strings.Cut(route, " ")
		w := httptest.NewRecorder()
		r.h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, strings.ReplaceAll(path, "{id}", "1"), nil))
		require.True(t, route == elsewhere || w.Code != http.StatusMethodNotAllowed && !strings.Contains(w.Body.String(), "there is no /"), "%s: %s", route, w.Body)
	}
}

func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	empty, full, live := reading(t), reading(t), reading(t)
	full.fill()
	_, err := full.s.PauseNow(t.Context(), store.Action{Who: "ann", Source: "terminal", What: "pause", Why: "network works"},
		store.Pause{Scope: store.PausePolicy, Policy: "nightly"}, store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: campaign, DeviceID: "d-failed"})
	require.NoError(t, err)
	_, _, err = full.s.Approve(t.Context(), store.Action{Who: "ann", What: "approve", Why: "canary"}, store.Approval{
		ProjectID: project, TaskID: guarded, Policy: "guarded", PolicyHash: "another", Until: full.now.AddDate(0, 0, 7)})
	require.NoError(t, err)
	requests, _, err := full.s.Ask(t.Context(), store.Action{Who: "ann", What: "sweep"}, store.Request{Kind: store.SweepRequest, Identity: "i", Connection: "prod", Policy: "nightly"})
	require.NoError(t, err)
	live.fill()
	live.lookable()
	for name, r := range map[string]*reader{"empty": empty, "full": full, "live": live} {
		id, err := r.s.ID(t.Context())
		require.NoError(t, err)
		doc := document(t, r.h)
		router, err := gorillamux.NewRouter(doc)
		require.NoError(t, err)
		paths := []string{
			"status", "policies", "connections", "tasks", "tasks?gone=true&limit=1", "targets", "targets?is=exhausted", "attempts", "attempts?limit=2&since=7d", "sweeps",
			"actions", "pauses", "halts", "approvals", "recovery", "recovery?since=24h", "requests/99", "explanations?device=d-failed", "tasks?limit=0", "tasks?after=x",
		}
		if name == "full" {
			paths = append(paths, fmt.Sprintf("requests/%d", requests[0].ID))
		}
		for _, path := range paths {
			t.Run(name+" "+path, func(t *testing.T) {
				q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/"+path, nil)
				w := httptest.NewRecorder()
				r.h.ServeHTTP(w, q)
				isSealed(t, w.Header())
				require.Equal(t, r.s.Where(), w.Header().Get(web.LedgerHeader))
				require.Equal(t, id, w.Header().Get(web.LedgerIDHeader))
				route, params, err := router.FindRoute(q)
				require.NoError(t, err)
				require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
					RequestValidationInput: &openapi3filter.RequestValidationInput{Request: q, Route: route, PathParams: params},
					Status:                 w.Code, Header: w.Header(), Body: w.Result().Body,
				}), "%s", w.Body)
			})
		}
	}
}

func TestTwoHandlersOnOneLedgerAnswerTheSame(t *testing.T) {
	r := reading(t)
	r.fill()
	other := web.New(r.o)
	for _, path := range web.Reads() {
		path = strings.ReplaceAll(path, "{id}", "1")
		if path == "explanations" {
			path += "?device=d-failed"
		}
		q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/"+path, nil)
		a, b := httptest.NewRecorder(), httptest.NewRecorder()
		r.h.ServeHTTP(a, q)
		other.ServeHTTP(b, q)
		require.Equal(t, a.Body.String(), b.Body.String())
		require.NotEmpty(t, a.Body.String())
	}
}

func TestWhatIsAskedForWronglyIsSaid(t *testing.T) {
	r := reading(t)
	r.fill()
	for _, path := range web.Reads() {
		p := r.refused(http.StatusBadRequest, http.MethodGet, "/api/v1/"+strings.ReplaceAll(path, "{id}", "1")+"?devise=d&device=d-failed")
		require.Regexp(t, `there is no parameter "devise": (it takes none|there are .*)|there is no parameter "device"`, p.Detail, path)
	}
	for query, says := range map[string]string{
		"tasks?limit=0":                 `limit can be from 1 to 1000: it is "0"`,
		"tasks?limit=1001":              `limit can be from 1 to 1000: it is "1001"`,
		"tasks?limit=ten":               `limit can be from 1 to 1000: it is "ten"`,
		"tasks?after=x":                 store.ErrCursor.Error(),
		"tasks?gone=maybe":              `gone can be true, false: it is "maybe"`,
		"tasks?task=nothing":            `no task with the id or name "nothing"`,
		"tasks?policy=a&policy=b":       "policy is given 2 times: once is enough",
		"targets?is=broken":             "is can be waiting, open, exhausted, permanent, expired, recovered, gone, resolved_elsewhere",
		"attempts?state=done":           "state can be claimed, accepted,",
		"attempts?since=yesterday":      "since can be a moment such as 2026-03-01T18:00:00Z, or a span back from now such as 7d or 24h",
		"attempts?until=-1h":            "until can be",
		"attempts?since=99999999999d":   "since can be",
		"sweeps?result=good":            "result can be running, complete, partial, failed, skipped",
		"explanations":                  "device is missing",
		"explanations?device=*":         "name a device",
		"actions?%zz":                   "the query cannot be read",
		"explanations?device=d&task=xx": `no task with the id or name "xx"`,
	} {
		require.Contains(t, r.refused(http.StatusBadRequest, http.MethodGet, "/api/v1/"+query).Detail, says, query)
	}
	require.Contains(t, r.refused(http.StatusNotFound, http.MethodGet, "/api/v1/requests/7").Detail, "there is no such request")
	require.Contains(t, r.refused(http.StatusNotFound, http.MethodGet, "/api/v1/nothing").Detail, "there is no /api/v1/nothing")
	require.Contains(t, r.refused(http.StatusMethodNotAllowed, http.MethodPost, "/api/v1/status").Detail, "/api/v1/status takes GET, HEAD")
	require.Contains(t, r.refused(http.StatusMethodNotAllowed, http.MethodPut, "/api/v1/pauses").Detail, "/api/v1/pauses takes DELETE, GET, HEAD, POST")
}

func TestANameThatSeveralTasksHaveIsNone(t *testing.T) {
	r := reading(t)
	r.see(r.config.Connections[0], store.Task{ID: campaign, Name: "fw"}, store.Task{ID: later, Name: "fw"})
	p := r.refused(http.StatusBadRequest, http.MethodGet, "/api/v1/targets?task=fw")
	require.Contains(t, p.Detail, `"fw" is the name of 2 tasks`)
	require.Contains(t, p.Detail, campaign)
	require.Contains(t, p.Detail, later)
	var all web.List[web.Task]
	r.get("/api/v1/tasks?name=fw", &all)
	require.Len(t, all.Items, 2)
	r.see(r.config.Connections[1], store.Task{ID: campaign, Name: "fw"})
	require.Contains(t, r.refused(http.StatusBadRequest, http.MethodGet, "/api/v1/tasks?task="+campaign).Detail, "name the project too")
	r.get("/api/v1/tasks?task="+campaign+"&project="+otherProject, &all)
	require.Len(t, all.Items, 1)
}

func TestHEADHasTheHeadersOfGET(t *testing.T) {
	r := reading(t)
	server := httptest.NewServer(r.h)
	t.Cleanup(server.Close)
	response, err := http.Head(server.URL + "/api/v1/status")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "application/json", response.Header.Get("Content-Type"))
}
