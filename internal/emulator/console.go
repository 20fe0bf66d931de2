package emulator

import (
	"slices"
	"time"

	"retryd/internal/iotda"
)

// Task gives a task as it is now.
func (e *Emulator) Task(id string) (iotda.Task, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[id]
	if t == nil {
		return iotda.Task{}, false
	}
	t.advance(time.Now())
	return t.shown(), true
}

// Tasks gives all tasks as they are now, the newest first.
func (e *Emulator) Tasks() []iotda.Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.advanceAll(time.Now())
	var all []iotda.Task
	for _, id := range e.ids() {
		all = append(all, e.tasks[id].shown())
	}
	return all
}

// Subtask gives a sub-task as it is now.
func (e *Emulator) Subtask(taskID, device string) (iotda.Subtask, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[taskID]
	if t == nil || t.byName[device] == nil {
		return iotda.Subtask{}, false
	}
	t.advance(time.Now())
	return t.byName[device].shown(), true
}

// StopTask is what a person does in the console.
func (e *Emulator) StopTask(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[id]
	t.advance(time.Now())
	for _, s := range t.rows {
		if s.Status.InMotion() || s.Status == iotda.SubtaskFailWaitRetry {
			t.set(s, iotda.SubtaskStopped)
			s.moving = false
		}
	}
	t.Status = iotda.TaskStopped
}

// RemoveTask is what a person does in the console.
func (e *Emulator) RemoveTask(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tasks[id]; t != nil {
		for _, s := range t.rows {
			t.note(s.ID, s.Status, -1)
		}
	}
	delete(e.tasks, id)
}

// ConsoleRetry is a person who presses "retry" for these targets.
func (e *Emulator) ConsoleRetry(id string, targets ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retryTargets(e.tasks[id], targets, true)
}

// retryTargets re-runs targets and gives the answer for each.
func (e *Emulator) retryTargets(t *task, targets []string, console bool) []iotda.TargetResult {
	now := time.Now()
	e.advanceAll(now)
	status := t.status()
	results := make([]iotda.TargetResult, 0, len(targets))
	for _, device := range targets {
		r := Retry{At: now, TaskID: t.ID, Target: device, Console: console, TaskStatus: status}
		result := iotda.TargetResult{Target: device, Status: iotda.TargetFailure}
		s := t.byName[device]
		switch {
		case s == nil:
			result.Code, result.Message = "IOTDA.014219", "Invalid input. The target is not in the task"
		case !s.Status.Retryable():
			r.From = s.Status
			result.Code, result.Message = "IOTDA.014220", "Operation not allowed. The sub-task is "+string(s.Status)
		default:
			r.From, r.Accepted, r.Busy = s.Status, true, e.busy(t.ID, device)
			takes, failing := e.o.Upgrade, ""
			if r.Busy != "" {
				takes, failing = takes/10, "Task Conflict"
			}
			t.rerun(s, now, takes, failing)
			result.Status = iotda.TargetSuccess
		}
		results = append(results, result)
		e.retries = append(e.retries, r)
	}
	e.rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	return results
}

// busy gives another task in which the device is in motion.
func (e *Emulator) busy(taskID, device string) string {
	if e.motion[device] == 0 { // most often, and there may be many tasks
		return ""
	}
	for id, t := range e.tasks {
		if s := t.byName[device]; id != taskID && s != nil && s.Status.InMotion() {
			return id
		}
	}
	return ""
}

func (e *Emulator) advanceAll(now time.Time) {
	for _, t := range e.tasks {
		t.advance(now)
	}
}

// ids gives the ids of the tasks, descending.
func (e *Emulator) ids() []string {
	ids := make([]string, 0, len(e.tasks))
	for id := range e.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}
