package emulator

import (
	"time"

	"retryd/internal/iotda"
)

// SetSubtask puts a sub-task into a state, as a person or the platform itself might: what it
// was doing ends.
func (e *Emulator) SetSubtask(taskID, device string, status iotda.SubtaskStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[taskID]
	t.advance(time.Now())
	s := t.byName[device]
	s.moving = false
	t.set(s, status)
}

// SetTask fixes the state of a task; empty lets it follow its sub-tasks.
func (e *Emulator) SetTask(taskID string, status iotda.TaskStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tasks[taskID].Status = status
}
