package emulator

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"retryd/internal/iotda"
)

// Task is a batch task to be emulated.
type Task struct {
	ID          string // empty = a new one, higher than all before
	Name        string
	App         string // id of its resource space
	Type        iotda.TaskType
	Status      iotda.TaskStatus // empty = follows the sub-tasks
	Created     time.Time        // zero = now
	CreateTime  string           // shown instead of Created, as it is; empty = Created in the platform's form
	Devices     []Device
	ListTargets bool // rows of lists carry the device ids
}

// Device is a sub-task to be emulated.
type Device struct {
	ID     string
	Status iotda.SubtaskStatus
	Fate   Fate
}

// Fate is what becomes of a device's re-runs.
type Fate struct {
	RecoverAt int    // succeeds at the n-th accepted retry; 0 = never
	Refused   bool   // a retry call that names it is refused as a whole, with 400
	Code      string // shown while it is failed
	Message   string
	Output    string
	Upgrade   time.Duration // how long a re-run takes; 0 = as Options say
	Online    time.Time     // re-runs that begin before it end as "Waiting for the device online timeout"
}

type task struct {
	Task
	rows   []*subtask // by id, descending, as they are listed
	byName map[string]*subtask
	count  map[iotda.SubtaskStatus]int
	turns  turns
	motion map[string]int // the emulator's
}

type subtask struct {
	Device
	rowID   string
	moving  bool      // a re-run is under way
	started time.Time // of it
	until   time.Time
	retries int
	read    time.Time // when it was asked for last, to be shown
	failing string    // why the re-run under way fails whatever the fate; empty = by fate
}

// AddTask adds a task and gives its id.
func (e *Emulator) AddTask(t Task) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.ID == "" {
		t.ID = e.id()
	}
	if !iotda.ValidTaskID(t.ID) || e.tasks[t.ID] != nil {
		return "", fmt.Errorf("task id %q is not valid, or taken", t.ID)
	}
	if t.Created.IsZero() {
		t.Created = time.Now()
	}
	added := &task{Task: t, count: map[iotda.SubtaskStatus]int{}, motion: e.motion}
	added.rows, added.byName = make([]*subtask, 0, len(t.Devices)), make(map[string]*subtask, len(t.Devices))
	for _, d := range t.Devices {
		if d.ID == "" || added.byName[d.ID] != nil {
			return "", errors.New("a device without an id, or twice in a task")
		}
		s := &subtask{Device: d, rowID: e.id()}
		added.byName[d.ID] = s
		added.rows = append(added.rows, s)
		added.count[d.Status]++
		added.note(d.ID, d.Status, 1)
	}
	added.Devices = nil        // they are rows now
	slices.Reverse(added.rows) // their ids rose
	e.tasks[t.ID] = added
	return t.ID, nil
}

func (s *subtask) outcome() iotda.SubtaskStatus {
	if s.failing == "" && s.Fate.RecoverAt > 0 && s.retries >= s.Fate.RecoverAt {
		return iotda.SubtaskSuccess
	}
	return iotda.SubtaskFail
}

func (t *task) set(s *subtask, status iotda.SubtaskStatus) {
	t.count[s.Status]--
	t.note(s.ID, s.Status, -1)
	s.Status = status
	t.count[status]++
	t.note(s.ID, status, 1)
}

// rerun starts a retry of a sub-task.
func (t *task) rerun(s *subtask, now time.Time, takes time.Duration, failing string) {
	if s.Fate.Upgrade > 0 {
		takes = s.Fate.Upgrade
	}
	if failing == "" && now.Before(s.Fate.Online) {
		failing = "Waiting for the device online timeout"
	}
	s.retries++
	s.started, s.until, s.failing = now, now.Add(takes), failing
	t.set(s, iotda.SubtaskWaitting)
	s.moving = true
	t.turns.add(s, now.Add(takes/2))
}

// status follows the sub-tasks, unless it is fixed.
func (t *task) status() iotda.TaskStatus {
	if t.Status != "" {
		return t.Status
	}
	done := len(t.rows) - t.count[iotda.SubtaskRemoved]
	switch {
	case t.count[iotda.SubtaskProcessing]+t.count[iotda.SubtaskWaitting]+t.count[iotda.SubtaskFailWaitRetry] > 0:
		return iotda.TaskProcessing
	case t.count[iotda.SubtaskSuccess] == done:
		return iotda.TaskSuccess
	case t.count[iotda.SubtaskFail] == done:
		return iotda.TaskFail
	}
	return iotda.TaskPartialSuccess
}

func (t *task) progress() iotda.Progress {
	return iotda.Progress{
		Total: len(t.rows), Processing: t.count[iotda.SubtaskProcessing], Success: t.count[iotda.SubtaskSuccess],
		Fail: t.count[iotda.SubtaskFail], Waitting: t.count[iotda.SubtaskWaitting], FailWaitRetry: t.count[iotda.SubtaskFailWaitRetry],
		Stopped: t.count[iotda.SubtaskStopped], Removed: t.count[iotda.SubtaskRemoved],
	}
}

// after gives the rows with an id lower than marker.
func (t *task) after(marker string) []*subtask {
	return t.rows[sort.Search(len(t.rows), func(i int) bool { return t.rows[i].rowID < marker }):]
}

func (s *subtask) shown() iotda.Subtask {
	row := iotda.Subtask{Target: s.ID, Status: s.Status}
	if s.Status != iotda.SubtaskFail && s.Status != iotda.SubtaskFailWaitRetry {
		return row
	}
	row.Output = s.Fate.Output
	row.Error = &iotda.SubtaskError{Code: s.Fate.Code, Message: s.Fate.Message}
	if s.failing != "" {
		row.Error = &iotda.SubtaskError{Message: s.failing}
	}
	return row
}

func (t *task) shown() iotda.Task {
	shown := iotda.Task{
		ID: t.ID, Name: t.Name, Type: t.Type, Status: t.status(), Progress: t.progress(),
		CreateTime: t.Created.UTC().Format(iotda.TimeLayout),
	}
	if t.CreateTime != "" {
		shown.CreateTime = t.CreateTime
	}
	return shown
}

// taskRow is a task as lists show it.
type taskRow struct {
	iotda.Task
	Targets []string `json:"targets"`
}

func (t *task) row() taskRow {
	row := taskRow{Task: t.shown()}
	if t.ListTargets {
		for _, s := range t.rows {
			row.Targets = append(row.Targets, s.ID)
		}
	}
	return row
}
