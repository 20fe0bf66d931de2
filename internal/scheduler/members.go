package scheduler

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// members is the devices of a task, as sorted hashes: 8 bytes each. Two devices of one
// hash would at worst leave one of them alone.
type members []uint64

var seed = maphash.MakeSeed()

func newMembers(devices []string) members {
	m := make(members, len(devices))
	for i, device := range devices {
		m[i] = maphash.String(seed, device)
	}
	slices.Sort(m)
	return m
}

func (m members) has(device string) bool {
	_, found := slices.BinarySearch(m, maphash.String(seed, device))
	return found
}

// newerTasks are the tasks that may have taken over a task's targets, the newest first.
type newerTasks struct {
	tasks   []string
	members map[string]members
	unknown bool // the members of one could not be read
}

func (n newerTasks) by(device string) string {
	for _, id := range n.tasks {
		if n.members[id].has(device) {
			return id
		}
	}
	return ""
}

// newer gives the tasks that may have taken over this one's targets, with their members.
func (t *taskSweep) newer(ctx context.Context) newerTasks {
	n := newerTasks{members: map[string]members{}}
	for _, other := range t.listing.tasks {
		if !t.takenOverBy(other) {
			continue
		}
		m, err := t.membersOf(ctx, t.listing, other)
		if err != nil {
			n.unknown = true
			t.log.Warn("a newer task's members could not be read: targets of older tasks wait",
				zap.String("task", t.task.ID), zap.String("newer_task", other.ID), zap.Error(err))
			continue
		}
		n.tasks, n.members[other.ID] = append(n.tasks, other.ID), m
	}
	return n
}

// errHalf is why a task's members are not known although they were read.
var errHalf = errors.New("the others may have been overlooked")

// membersOf reads the members of a task once per sweep, where its row does not name them.
func (w *sweep) membersOf(ctx context.Context, l *listing, t iotda.Task) (members, error) {
	if m, ok := l.members[t.ID]; ok {
		return m, nil
	}
	if m, ok := w.members[t.ID]; ok {
		return m, nil
	}
	devices := map[string]bool{}
	for marker := ""; ; {
		wave, err := w.client.Wave(ctx, t.ID, iotdaclient.Query{}, marker, iotdaclient.MaxWavePages)
		if err != nil {
			return nil, err
		}
		for _, s := range wave.Subtasks {
			devices[s.Target] = true
		}
		if wave.End {
			if p := wave.Task.Progress; len(devices) < p.Total-p.Removed { // rows moved while they were paged
				return nil, fmt.Errorf("%d of its %d sub-tasks were read: %w", len(devices), p.Total, errHalf)
			}
			break
		}
		marker = wave.Next
	}
	w.members[t.ID] = newMembers(slices.Collect(maps.Keys(devices)))
	return w.members[t.ID], nil
}
