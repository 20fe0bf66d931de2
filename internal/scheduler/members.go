package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// members is the devices of a task. Two devices of one hash would at worst leave one of them alone.
type members = iotda.DeviceSet

// newerTasks are the tasks that have taken over some of a task's targets, the newest first.
type newerTasks struct {
	tasks   []string
	has     map[string]func(device string) bool
	unknown bool // the members of one could not be read
}

func (n newerTasks) by(device string) string {
	for _, id := range n.tasks {
		if n.has[id](device) {
			return id
		}
	}
	return ""
}

// newer gives the tasks that may have taken over this one's targets. Of these devices it is known of each
// task whether they are among its members.
func (t *taskSweep) newer(ctx context.Context, devices []string) newerTasks {
	n := newerTasks{has: map[string]func(string) bool{}}
	for _, other := range t.listing.tasks {
		if !t.takenOverBy(other) {
			continue
		}
		has, err := t.membersOf(ctx, t.listing, other, devices)
		if err != nil {
			n.unknown = true
			t.log.Warn("a newer task's members could not be read: targets of older tasks wait",
				zap.String("task", t.task.ID), zap.String("newer_task", other.ID), zap.Error(err))
			continue
		}
		n.tasks, n.has[other.ID] = append(n.tasks, other.ID), has
	}
	return n
}

// membersOf gives what tells of these devices whether they are members of a task: by its row where that names
// them all, else by what is read of it, once per sweep.
func (w *sweep) membersOf(ctx context.Context, l *listing, t iotda.Task, devices []string) (has func(string) bool, err error) {
	if m, ok := l.members[t.ID]; ok {
		return m.Has, nil
	}
	return w.members.of(t.ID).read(ctx, w.client, t, devices)
}

// memberships are what a sweep has read of the members of tasks. Its tasks may ask at the same time.
type memberships struct {
	mu    sync.Mutex
	tasks map[string]*membership
}

func (m *memberships) of(taskID string) *membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tasks == nil {
		m.tasks = map[string]*membership{}
	}
	if m.tasks[taskID] == nil {
		m.tasks[taskID] = &membership{turn: semaphore.NewWeighted(1), asked: map[string]bool{}}
	}
	return m.tasks[taskID]
}

// membership is what is known of the members of one task: all, or those that were asked for.
type membership struct {
	turn  *semaphore.Weighted // of whoever reads
	whole bool
	all   members
	asked map[string]bool
}

// singlesMax is how many devices are asked for one by one in place of reading a task's pages, and singly how
// many of them at the same time.
const (
	singlesMax = 20
	singly     = 8
)

// read reads what is not known of these devices, in the way that takes fewer calls.
func (m *membership) read(ctx context.Context, client *iotdaclient.Client, t iotda.Task, devices []string) (has func(string) bool, err error) {
	if err := m.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer m.turn.Release(1)
	if !m.whole {
		unknown := slices.DeleteFunc(slices.Clone(devices), func(device string) bool { _, known := m.asked[device]; return known })
		single := len(unknown) <= min(pages(t.Progress.Total)-1, singlesMax-len(m.asked))
		if single {
			err = m.ask(ctx, client, t.ID, unknown)
		}
		if e := iotdaclient.AsError(err); !single || e != nil && (e.Gone() || e.Class == iotda.ClassRefused) { // it does not answer like that
			m.all, err = readMembers(ctx, client, t)
			m.whole = err == nil
		}
		if err != nil {
			return nil, err
		}
	}
	if m.whole {
		return m.all.Has, nil
	}
	found := map[string]bool{}
	for _, device := range devices {
		found[device] = m.asked[device]
	}
	return func(device string) bool { return found[device] }, nil
}

// ask asks for devices one by one.
func (m *membership) ask(ctx context.Context, client *iotdaclient.Client, taskID string, devices []string) error {
	found := make([]bool, len(devices))
	g, reads := errgroup.WithContext(ctx)
	g.SetLimit(singly)
	for i, device := range devices {
		g.Go(func() error {
			page, err := client.Subtasks(reads, taskID, iotdaclient.Query{Target: device}, "", 0)
			found[i] = slices.ContainsFunc(page.Subtasks, func(s iotda.Subtask) bool { return s.Target == device })
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, device := range devices {
		m.asked[device] = found[i]
	}
	return nil
}

// errHalf is why a task's members are not known although they were read.
var errHalf = errors.New("the others may have been overlooked")

// readMembers reads all of a task's pages.
func readMembers(ctx context.Context, client *iotdaclient.Client, t iotda.Task) (members, error) {
	var m members
	for from := (iotdaclient.From{Rows: t.Progress.Total}); ; {
		wave, err := client.Wave(ctx, t.ID, iotdaclient.Query{}, from, iotdaclient.MaxWavePages)
		if err != nil {
			return nil, err
		}
		for _, s := range wave.Subtasks {
			m.Add([]byte(s.Target))
		}
		if wave.End {
			m = m.Clean()
			if p := wave.Task.Progress; len(m) < p.Total-p.Removed { // rows moved while they were paged
				return nil, fmt.Errorf("%d of its %d sub-tasks were read: %w", len(m), p.Total, errHalf)
			}
			return m, nil
		}
		from = iotdaclient.From{Marker: wave.Next, Rows: wave.Left}
	}
}
