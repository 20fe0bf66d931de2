package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

// trial is what came of trying one connection.
type trial struct {
	Connection string        `json:"connection"`
	Endpoint   string        `json:"endpoint"`
	Works      bool          `json:"works"`
	Problem    string        `json:"problem,omitempty"` // what came back
	Class      string        `json:"class,omitempty"`   // as in retryd_connection_up
	Remedy     string        `json:"to_do,omitempty"`
	Calls      int           `json:"calls"`
	ClockAhead *float64      `json:"clock_ahead_seconds,omitempty"` // the ledger's, against the platform's
	TokenEnds  *time.Time    `json:"credentials_end,omitempty"`
	Policies   []triedPolicy `json:"policies"`

	h      *house
	c      config.Connection
	client *iotdaclient.Client
	done   chan struct{}

	mu    sync.Mutex // of what hear writes
	tasks []iotda.Task
	total map[iotda.TaskType]int64
	apps  []iotda.App
}

func newTrial(h *house, c config.Connection, client *iotdaclient.Client) *trial {
	return &trial{
		Connection: c.Name, Endpoint: c.Endpoint, Policies: []triedPolicy{},
		h: h, c: c, client: client, done: make(chan struct{}), total: map[iotda.TaskType]int64{},
	}
}

// hear counts a call.
func (t *trial) hear(x iotdaclient.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Calls++
	if !x.Expires.IsZero() {
		t.TokenEnds = &x.Expires
	}
}

func (t *trial) skip(why string) {
	defer close(t.done)
	t.Problem, t.Class = why, "skipped"
}

// refused tells whether more calls with the same credentials could lock them.
func (t *trial) refused() bool { return t.Class == string(iotda.ClassAuth) || t.Class == "locked" }

func (t *trial) run(ctx context.Context) {
	defer close(t.done)
	defer t.client.Close()
	err := t.read(ctx)
	t.clock()
	if e := iotdaclient.AsError(err); e != nil {
		t.Problem, t.Class, t.Remedy = e.What(), e.Short(), advice(e)
		return
	} else if err != nil {
		t.Problem, t.Class = err.Error(), "ledger"
		return
	}
	t.Works = t.Problem == ""
}

// read makes the calls: one for each type of task that a policy is for, those that tell which resource space
// tasks are in where a policy asks for it, and one that shows a task.
func (t *trial) read(ctx context.Context) error {
	for _, typ := range t.types() {
		tasks, total, err := t.client.NewestTasks(ctx, typ, "")
		if err != nil {
			return err
		}
		for i := range tasks {
			tasks[i].Type = cmp.Or(tasks[i].Type, typ)
		}
		t.tasks, t.total[typ] = append(t.tasks, tasks...), total
	}
	if err := t.readApps(ctx); err != nil {
		return err
	}
	if err := t.match(ctx); err != nil {
		return err
	}
	i := slices.IndexFunc(t.tasks, func(task iotda.Task) bool { return iotda.ValidTaskID(task.ID) })
	if i < 0 {
		return nil
	}
	_, err := t.client.Subtasks(ctx, t.tasks[i].ID, iotdaclient.Query{Status: iotda.SubtaskFail}, "", 0)
	return err
}

// own gives the policies for the connection, in file order.
func (t *trial) own() []*policy.Policy {
	return slices.DeleteFunc(slices.Clone(t.h.config.Policies), func(p *policy.Policy) bool { return !slices.Contains(p.Connections, t.Connection) })
}

func (t *trial) types() []iotda.TaskType {
	types := slices.DeleteFunc(iotda.RetryableTaskTypes(), func(typ iotda.TaskType) bool {
		return !slices.ContainsFunc(t.own(), func(p *policy.Policy) bool { return slices.Contains(p.Tasks.Types, typ) })
	})
	if len(types) == 0 { // no policy is for it
		return []iotda.TaskType{iotda.FirmwareUpgrade}
	}
	return types
}

// readApps notes which tasks are in resource spaces that policies name: rows of the list do not say.
func (t *trial) readApps(ctx context.Context) (err error) {
	var ids, names []string
	for _, p := range t.own() {
		ids, names = append(ids, p.Tasks.Apps...), append(names, p.Tasks.AppNames...)
	}
	if len(names) > 0 {
		if t.apps, err = t.client.Apps(ctx); err != nil {
			return err
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(t.apps), func(a iotda.App) bool { return !slices.Contains(names, a.Name) && !slices.Contains(ids, a.ID) })
	for _, id := range ids {
		if !slices.ContainsFunc(wanted, func(a iotda.App) bool { return a.ID == id }) {
			wanted = append(wanted, iotda.App{ID: id})
		}
	}
	for _, app := range wanted {
		for _, typ := range t.types() {
			in, _, err := t.client.NewestTasks(ctx, typ, app.ID)
			if err != nil {
				return err
			}
			for _, task := range in {
				if i := slices.IndexFunc(t.tasks, func(known iotda.Task) bool { return known.ID == task.ID }); i >= 0 {
					t.tasks[i].AppID, t.tasks[i].AppName = app.ID, app.Name
				}
			}
		}
	}
	return nil
}

// clock holds the clock that goes by the ledger against the platform's. A whole second is as exact as the
// Date header.
func (t *trial) clock() {
	date, at := t.client.Dated()
	if at.IsZero() {
		return
	}
	ahead := t.h.store.Now().Sub(date.Add(time.Since(at))).Round(time.Second)
	seconds := ahead.Seconds()
	if t.ClockAhead = &seconds; ahead.Abs() > scheduler.ClockMax {
		t.Problem, t.Class = t.clockWords(), "clock"
		t.Remedy = "set it: nothing is retried while it is off by more than " + policy.Short(scheduler.ClockMax)
	}
}

// advice is what to do about an error. It adds to what every command says what only a person who sets up a
// connection needs.
func advice(e *iotdaclient.Error) string {
	remedy := e.Remedy()
	switch {
	case e.Lacks() != "":
		return "the user lacks " + e.Lacks() + ": " + remedy
	case e.Class == iotda.ClassAuth && strings.Contains(e.Message, "expires_at"): // the platform's word for it [doc ocr_01_0063]
		return "the token has ended: " + remedy
	case remedy != "":
		return remedy
	case e.Class == iotda.ClassNotFound: // what the list has just named
		return "the list names a task that cannot be shown: try again, it may just have been deleted; else check endpoint and instance_id of this connection"
	case e.Class == iotda.ClassBroken:
		return "what answers there is not IoTDA, or is something in between: check endpoint of this connection, and HTTPS_PROXY if it is set"
	case e.Class == iotda.ClassThrottled:
		return "the account's calls are used up for now: try again in a minute, and share what it allows between connections with a budget"
	case e.Class == iotda.ClassTransient:
		return "the platform, or the way there, is in trouble: try again in a minute; sweeps do so by themselves"
	case e.Class == iotda.ClassRefused:
		return "the platform does not take this call: check project_id and instance_id of this connection, and that endpoint is IoTDA's"
	}
	return ""
}
