package scheduler

import (
	"sync"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// overlay is what a dry run would have written, kept in memory so that later decisions
// of the same run see it.
type overlay struct {
	mu      sync.Mutex
	settled map[policy.Target]policy.Settlement
	taken   map[string]string // device -> task of an attempt that would be open
}

func newOverlay() *overlay {
	return &overlay{settled: map[policy.Target]policy.Settlement{}, taken: map[string]string{}}
}

func (o *overlay) settle(settlements []policy.Settlement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range settlements {
		if !s.State.Open() {
			o.settled[s.Target] = s
		}
	}
}

func (o *overlay) take(taskID string, device string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken[device] = taskID
}

// over gives the record as it would be.
func (o *overlay) over(t policy.Target, r store.Record) store.Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s, ok := o.settled[t]; ok {
		r.State, r.SeenAt = s.State, s.At
	}
	if _, ok := o.settled[policy.Target{ProjectID: t.ProjectID, TaskID: r.OpenTask, DeviceID: t.DeviceID}]; ok {
		r.OpenTask = ""
	}
	if task := o.taken[t.DeviceID]; task != "" {
		r.OpenTask = task
	}
	return r
}
