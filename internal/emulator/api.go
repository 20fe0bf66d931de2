package emulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"retryd/internal/iotda"
)

const noSuchTask = "IOTDA.014201"

// list is ListBatchTasks.
func (e *Emulator) list(_ string, query url.Values, _ []byte) (any, *apiError) {
	if bad := only(query, "task_type", "app_id", "status", "limit", "marker", "offset"); bad != nil {
		return nil, bad
	}
	if query.Get("task_type") == "" {
		return nil, badInput("task_type is required")
	}
	p, bad := paging(query)
	if bad != nil {
		return nil, bad
	}
	var found []*task
	for _, id := range e.ids() {
		t := e.tasks[id]
		if string(t.Type) == query.Get("task_type") && (query.Get("app_id") == "" || t.App == query.Get("app_id")) && (query.Get("status") == "" || string(t.status()) == query.Get("status")) {
			found = append(found, t)
		}
	}
	count := len(found)
	found = slices.DeleteFunc(found, func(t *task) bool { return t.ID >= p.marker })
	rows, page := []taskRow{}, iotda.Page{Count: int64(count)}
	for _, t := range cut(found, p) {
		shown := t.row()
		e.rand.Shuffle(len(shown.Targets), func(i, j int) {
			shown.Targets[i], shown.Targets[j] = shown.Targets[j], shown.Targets[i]
		})
		rows, page.Marker = append(rows, shown), t.ID
	}
	return map[string]any{"batchtasks": rows, "page": page}, nil
}

// show is ShowBatchTask.
func (e *Emulator) show(taskID string, query url.Values, _ []byte) (any, *apiError) {
	if bad := only(query, "task_detail_status", "target", "limit", "marker", "offset"); bad != nil {
		return nil, bad
	}
	p, bad := paging(query)
	if bad != nil {
		return nil, bad
	}
	status := iotda.SubtaskStatus(query.Get("task_detail_status"))
	if status != "" && !status.Known() {
		return nil, badInput("task_detail_status is not valid")
	}
	t := e.tasks[taskID]
	if t == nil {
		return nil, &apiError{http.StatusNotFound, noSuchTask, "The batch task does not exist"}
	}
	target := query.Get("target")
	matches := func(s *subtask) bool {
		return (status == "" || s.Status == status) && (target == "" || s.ID == target)
	}
	rows, page := []iotda.Subtask{}, iotda.Page{Count: int64(t.matching(status, target))}
	skip, asked := p.offset, time.Now().Add(-e.o.Latency)
	for _, s := range t.after(p.marker) {
		if len(rows) == p.limit {
			break
		}
		if !matches(s) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		s.read = asked
		rows, page.Marker = append(rows, s.shown()), s.rowID
	}
	return map[string]any{"batchtask": t.shown(), "task_details": rows, "page": page}, nil
}

func (t *task) matching(status iotda.SubtaskStatus, target string) int {
	switch {
	case target != "":
		if s := t.byName[target]; s != nil && (status == "" || s.Status == status) {
			return 1
		}
		return 0
	case status != "":
		return t.count[status]
	}
	return len(t.rows)
}

// retry is RetryBatchTask.
func (e *Emulator) retry(taskID string, _ url.Values, body []byte) (any, *apiError) {
	targets, bad := readTargets(body)
	if bad != nil {
		return nil, bad
	}
	t := e.tasks[taskID]
	switch {
	case t == nil:
		return nil, &apiError{http.StatusNotFound, noSuchTask, "The batch task does not exist"}
	case !slices.Contains(iotda.RetryableTaskTypes(), t.Type):
		return nil, &apiError{http.StatusForbidden, "IOTDA.014218", "Operation not allowed. The task type does not support retry"}
	case !t.status().Retryable():
		return nil, &apiError{http.StatusForbidden, "IOTDA.014217", "Operation not allowed. The task is " + string(t.status())}
	}
	for _, device := range targets {
		if s := t.byName[device]; s != nil && s.Fate.Refused {
			return nil, badInput("a target is not valid")
		}
	}
	if targets == nil { // {} means every one that can be re-run
		for _, s := range t.rows {
			if s.Status.Retryable() {
				targets = append(targets, s.ID)
			}
		}
	}
	return map[string]any{"targets": e.retryTargets(t, targets, false)}, nil
}

func readTargets(body []byte) ([]string, *apiError) {
	var request struct {
		Targets *[]string `json:"targets"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, &apiError{http.StatusBadRequest, "IOTDA.000008", "Invalid JSON"}
	}
	switch {
	case request.Targets == nil:
		return nil, nil
	case len(*request.Targets) == 0:
		return nil, badInput("targets is empty")
	case len(*request.Targets) > iotda.MaxTargetsPerRetry:
		return nil, badInput("more than 100 targets")
	}
	return *request.Targets, nil
}

type page struct {
	limit, offset int
	marker        string
}

func paging(query url.Values) (page, *apiError) {
	p := page{limit: 10, marker: iotda.FirstMarker}
	for name, field := range map[string]*int{"limit": &p.limit, "offset": &p.offset} {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return p, badInput(name + " is not a number")
			}
			*field = n
		}
	}
	if p.limit < 1 || p.limit > iotda.MaxPageSize || p.offset < 0 || p.offset > iotda.MaxOffset {
		return p, &apiError{http.StatusBadRequest, "IOTDA.000017", "limit or offset is out of range"}
	}
	if marker := query.Get("marker"); marker != "" {
		if p.marker = marker; len(marker) != 24 || !iotda.ValidTaskID(marker) {
			return p, badInput("marker is not valid")
		}
	}
	return p, nil
}

func cut[T any](rows []T, p page) []T {
	rows = rows[min(p.offset, len(rows)):]
	return rows[:min(p.limit, len(rows))]
}

func only(query url.Values, names ...string) *apiError {
	for name, values := range query {
		if !slices.Contains(names, name) || len(values) != 1 {
			return badInput("unknown or repeated parameter " + name)
		}
	}
	return nil
}

func badInput(message string) *apiError {
	return &apiError{http.StatusBadRequest, "IOTDA.000006", "Invalid input data. " + message}
}
