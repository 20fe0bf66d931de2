package iotdaclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"

	"retryd/internal/iotda"
)

// Backoff is the pauses between the tries of one call.
type Backoff struct {
	Initial    time.Duration
	Multiplier float64
	Max        time.Duration
	MaxElapsed time.Duration // from the first try
	Jitter     float64       // 0 to 1
}

// Start gives a fresh sequence of pauses.
func (b Backoff) Start() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(b.Initial), backoff.WithMultiplier(b.Multiplier),
		backoff.WithMaxInterval(b.Max), backoff.WithMaxElapsedTime(b.MaxElapsed),
		backoff.WithRandomizationFactor(b.Jitter),
	)
}

// read makes a call that changes nothing, again where the error is one that passes.
// begun is the start of the try that succeeded.
func (c *Client) read(ctx context.Context, k call, out into) (begun time.Time, err error) {
	pauses := &pausing{BackOff: c.o.Backoff.Start()}
	renewed := false
	err = backoff.Retry(func() error {
		free, err := c.acquire(ctx, readsAfter)
		if err != nil {
			return backoff.Permanent(c.fail(k.op, &Error{Class: classStopped, err: err}))
		}
		defer free()
		var e *Error
		begun, e = c.once(ctx, k, &renewed, out)
		switch {
		case e == nil:
			return nil
		case e.Transient():
			pauses.atLeast = e.RetryAfter
			return e
		}
		return backoff.Permanent(e)
	}, backoff.WithContext(pauses, ctx))
	if err != nil && AsError(err) == nil { // the context ended during a pause
		err = c.fail(k.op, &Error{Class: classStopped, err: err})
	}
	return begun, err
}

// pausing makes a pause at least as long as the platform asked for.
type pausing struct {
	backoff.BackOff
	atLeast time.Duration
}

// NextBackOff gives the next pause.
func (p *pausing) NextBackOff() time.Duration {
	next := p.BackOff.NextBackOff()
	if next == backoff.Stop {
		return next
	}
	return max(next, p.atLeast)
}

// EachTask reads every task of one type, in one resource space where app names one, the
// newest ids first, and calls f with each once. begun is the start of the first page's read. It stops at f's first error.
func (c *Client) EachTask(ctx context.Context, typ iotda.TaskType, app string, f func(iotda.Task) error) (begun time.Time, err error) {
	marker := iotda.FirstMarker
	for {
		tasks, page, at, err := c.taskPage(ctx, typ, app, marker)
		if begun.IsZero() {
			begun = at
		}
		if err != nil {
			return begun, err
		}
		for _, t := range tasks {
			if err := f(t); err != nil {
				return begun, err
			}
		}
		if len(tasks) < iotda.MaxPageSize {
			return begun, nil
		}
		if marker, err = c.following(opList, marker, page.Marker); err != nil {
			return begun, err
		}
	}
}

// NewestTasks reads the first page of what EachTask reads, and how many tasks there are in all.
func (c *Client) NewestTasks(ctx context.Context, typ iotda.TaskType, app string) (tasks []iotda.Task, total int64, err error) {
	tasks, page, _, err := c.taskPage(ctx, typ, app, iotda.FirstMarker)
	return tasks, max(page.Count, int64(len(tasks))), err
}

func (c *Client) taskPage(ctx context.Context, typ iotda.TaskType, app, marker string) ([]iotda.Task, iotda.Page, time.Time, error) {
	query := map[string]string{"task_type": string(typ), "limit": strconv.Itoa(iotda.MaxPageSize), "marker": marker}
	if app != "" {
		query["app_id"] = app
	}
	var tasks []iotda.Task
	var page iotda.Page
	begun, err := c.read(ctx, call{op: opList, method: http.MethodGet, path: c.path(""), query: query}, func(body io.Reader) error {
		tasks, page = nil, iotda.Page{}
		lean := newLean(body, 3, true)
		d := json.NewDecoder(lean)
		named := func(t *iotda.Task) {
			if set := lean.before(d.InputOffset()); set != nil {
				t.Targets = set
			}
		}
		rows := func(d *json.Decoder) error {
			lean.before(d.InputOffset()) // what is no task's
			return list("batchtasks", &tasks, named)(d)
		}
		return fields{"batchtasks": rows, "page": value("page", &page)}.read(d)
	})
	switch {
	case err != nil:
		return nil, iotda.Page{}, begun, err
	case tasks == nil:
		return nil, iotda.Page{}, begun, c.fail(opList, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "batchtasks"`})
	}
	return tasks, page, begun, nil
}

// SubtaskPage is one page of a task's sub-tasks, with the task as it was then.
type SubtaskPage struct {
	Task     iotda.Task
	Subtasks []iotda.Subtask
	Marker   string
	Begun    time.Time // start of the request
}

// Query selects sub-tasks: by state, or by device id. The zero value selects all.
type Query struct {
	Status iotda.SubtaskStatus
	Target string
}

// Subtasks reads one page of a task's sub-tasks.
func (c *Client) Subtasks(ctx context.Context, taskID string, q Query, marker string, offset int) (SubtaskPage, error) {
	query := map[string]string{"limit": strconv.Itoa(iotda.MaxPageSize)}
	for name, value := range map[string]string{"task_detail_status": string(q.Status), "target": q.Target, "marker": marker} {
		if value != "" {
			query[name] = value
		}
	}
	if offset > 0 {
		query["offset"] = strconv.Itoa(offset)
	}
	var task iotda.Task
	var subtasks []iotda.Subtask
	var page iotda.Page
	begun, err := c.read(ctx, call{op: opShow, method: http.MethodGet, path: c.path("/" + taskID), query: query}, func(body io.Reader) error {
		task, subtasks, page = iotda.Task{}, nil, iotda.Page{}
		return fields{
			"batchtask": value("batchtask", &task), "task_details": list("task_details", &subtasks, nil), "page": value("page", &page),
		}.read(json.NewDecoder(newLean(body, 2, false)))
	})
	if err != nil {
		return SubtaskPage{}, err
	}
	if task.Status == "" {
		return SubtaskPage{}, c.fail(opShow, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "batchtask" with a status`})
	}
	return SubtaskPage{Task: task, Subtasks: subtasks, Marker: page.Marker, Begun: begun}, nil
}

// ErrMarker is in the chain of the error of a list whose marker does not fall: following
// it would never end.
var ErrMarker = errors.New("the page's marker does not fall, so the list cannot be read to its end")

func (c *Client) following(op, marker, next string) (string, error) {
	if next == "" || next >= marker {
		return "", c.fail(op, &Error{Class: iotda.ClassBroken, err: ErrMarker})
	}
	return next, nil
}

func (c *Client) root() string { return "/v5/iot/" + c.o.ProjectID }

func (c *Client) path(rest string) string { return c.root() + "/batchtasks" + rest }
