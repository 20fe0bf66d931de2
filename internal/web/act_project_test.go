package web_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
	"retryd/internal/web"
)

// TestATaskOfTwoProjectsIsNamedWithItsProject goes through everything that people do to a task: projects
// number and name their tasks each for itself.
func TestATaskOfTwoProjectsIsNamedWithItsProject(t *testing.T) {
	a := acting(t)
	does := func(method, path, body string, into any) {
		t.Helper()
		require.Equal(t, http.StatusOK, a.ask(method, path, body, into).StatusCode, "%s %s %s", method, path, body)
	}
	require.NoError(t, a.s.SeeTasks(t.Context(), otherProject, []store.Task{
		{ID: fleet, Name: "fleet 1", Type: "firmwareUpgrade", Status: "Fail", Identity: "another", CreatedAt: time.Now()},
	}))
	for _, row := range []struct{ path, more string }{
		{"pauses", `"devices": ["d"]`}, {"approvals", `"targets": 1`}, {"forgiveness", `"devices": ["d"]`}, {"retries", `"devices": ["d"]`},
	} {
		of := func(project string) string {
			return `{"task": "` + fleet + `", "why": "w", "project": "` + project + `", ` + row.more + `}`
		}
		path := "/api/v1/" + row.path
		a.refuses(http.StatusBadRequest, "is the id of 2 tasks: name the project too", http.MethodPost, path, of(""))
		a.refuses(http.StatusBadRequest, `no task with the id or name "`+fleet+`" of project "third" has been listed yet`, http.MethodPost, path, of("third"))
		var answer json.RawMessage
		if row.path != "retries" { // which asks the platform
			does(http.MethodPost, path, of(project), &answer)
		}
		if row.path == "approvals" || row.path == "retries" { // no connection is that of the other one
			a.refuses(http.StatusConflict, "in project "+otherProject, http.MethodPost, path, of(otherProject))
		}
	}
	var paused web.Paused
	does(http.MethodPost, "/api/v1/pauses", `{"task": "fleet 1", "project": "`+otherProject+`", "why": "w"}`, &paused)
	require.Equal(t, otherProject, paused.Items[0].ProjectID)
	a.refuses(http.StatusBadRequest, "name the project too", http.MethodDelete, "/api/v1/pauses?why=w&task="+fleet, "")
	a.refuses(http.StatusNotFound, "no", http.MethodDelete, "/api/v1/pauses?why=w&task="+fleet+"&project="+project, "")
	var ended web.Resumed
	does(http.MethodDelete, "/api/v1/pauses?why=w&task="+fleet+"&project="+otherProject, "", &ended)
	require.Len(t, ended.Pauses, 1)
	a.refuses(http.StatusBadRequest, "a project is named with the task that is in it", http.MethodPost, "/api/v1/pauses", `{"all": true, "project": "`+project+`", "why": "w"}`)
}
