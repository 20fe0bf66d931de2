package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// key names a target.
type key struct{ task, device string }

// subject is what is known of a target beforehand, and what must become of it.
type subject struct {
	fate  emulator.Fate
	never bool                // it must not be retried at all
	ended bool                // a person stopped its task
	spent int                 // attempts that were made before this began
	was   iotda.SubtaskStatus // when its task was removed; empty = it is there
}

// permanent tells whether no retry mends it.
func (s *subject) permanent() bool { return s.fate.Message == unmendable || s.fate.Refused }

const unmendable = "Unsupported package type"

var reasons = []string{
	"Waiting for the device online timeout", "Connection lost during downloading process", "Device Abnormal is not online",
	"Waiting for device downloaded package timeout",
}

// world is the tasks of the platform. There is always something that fails.
type world struct {
	t         testing.TB
	p         *platform
	rand      *rand.Rand
	subjects  map[key]*subject
	campaigns []*campaign // that are on the platform
	made      int
}

// campaign is some tasks over the same devices.
type campaign struct {
	tasks   []string
	targets []key
	older   bool // one of the tasks is older than another, and has lost devices to it
}

func newWorld(t testing.TB, p *platform, seed uint64) *world {
	w := &world{t: t, p: p, rand: rand.New(rand.NewPCG(seed, 2)), subjects: map[key]*subject{}}
	off := &campaign{}
	w.add(off, emulator.Task{Name: "stopped", Type: iotda.FirmwareUpgrade, Status: iotda.TaskStopped, Devices: w.devices("off", 2)}, true)
	w.add(off, emulator.Task{Name: "modules", Type: "moduleUpgrade", Devices: w.devices("off", 2)}, true)
	return w
}

// add adds a task to a campaign.
func (w *world) add(c *campaign, t emulator.Task, never bool) {
	id, err := w.p.AddTask(t)
	require.NoError(w.t, err)
	c.tasks = append(c.tasks, id)
	for _, d := range t.Devices {
		k := key{id, d.ID}
		w.subjects[k] = &subject{fate: d.Fate, never: never || d.Status != iotda.SubtaskFail}
		if !w.subjects[k].never {
			c.targets = append(c.targets, k)
		}
	}
}

// grow adds a campaign: a firmware task, often a software task that shares devices with it, and
// now and then an older firmware task whose devices the newer one has taken over.
func (w *world) grow() {
	w.made++
	c, name := &campaign{}, fmt.Sprintf("d%04d", w.made)
	firmware := w.devices(name, 3+w.rand.IntN(6))
	if w.rand.IntN(10) == 0 {
		firmware[1].Fate.Refused = true
	}
	w.add(c, emulator.Task{Name: "fw-" + name, Type: iotda.FirmwareUpgrade, Devices: firmware, ListTargets: w.rand.IntN(2) == 0}, false)
	w.p.isFresh(c.tasks[0])
	if w.rand.IntN(3) > 0 {
		software := w.devices(name, 2+w.rand.IntN(4)) // the first of the same devices
		w.add(c, emulator.Task{Name: "sw-" + name, Type: iotda.SoftwareUpgrade, Devices: software}, false)
	}
	if c.older = w.rand.IntN(4) == 0; c.older {
		w.add(c, emulator.Task{Name: "old-" + name, Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: w.devices(name, 2)}, true)
	}
	w.campaigns = append(w.campaigns, c)
}

// devices makes devices of which most fail; some never recover.
func (w *world) devices(name string, n int) []emulator.Device {
	devices := make([]emulator.Device, n)
	for i := range devices {
		devices[i] = emulator.Device{ID: fmt.Sprintf("%s-%02d", name, i), Status: iotda.SubtaskFail, Fate: emulator.Fate{
			RecoverAt: pick(w.rand, []int{0, 0, 1, 1, 1, 2, 2, 3}), Message: pick(w.rand, reasons), Upgrade: between(w.rand, 20*time.Millisecond, 300*time.Millisecond),
		}}
		switch w.rand.IntN(25) {
		case 0:
			devices[i].Fate.Message = unmendable
		case 1:
			devices[i].Fate.Upgrade = between(w.rand, time.Second, 3*time.Second)
		case 2:
			devices[i].Status = iotda.SubtaskSuccess
		}
	}
	return devices
}

// tasks counts the tasks on the platform.
func (w *world) tasks() (n int) {
	for _, c := range w.campaigns {
		n += len(c.tasks)
	}
	return n
}

// stopOne is a person who stops a task in the middle of it.
func (w *world) stopOne() {
	if len(w.campaigns) == 0 {
		return
	}
	c := pick(w.rand, w.campaigns)
	if c.older { // what was taken over from it would be free again
		return
	}
	w.p.StopTask(c.tasks[0])
	for _, k := range c.targets {
		if k.task == c.tasks[0] {
			w.subjects[k].ended = true
		}
	}
}

// clear removes campaigns that have come to their end, so that a sweep stays short.
func (w *world) clear(r rows) {
	open, closed := map[key]bool{}, map[key]bool{}
	for _, a := range r.attempts {
		open[a.key] = open[a.key] || a.open()
	}
	for _, t := range r.targets {
		closed[t.key] = t.outcome != "" && t.closedN == t.counted
	}
	w.campaigns = slices.DeleteFunc(w.campaigns, func(c *campaign) bool {
		for _, k := range c.targets {
			if open[k] || !closed[k] && !w.subjects[k].ended {
				return false
			}
		}
		for k, s := range w.subjects {
			if slices.Contains(c.tasks, k.task) {
				s.was = w.status(k)
			}
		}
		for _, id := range c.tasks {
			w.p.RemoveTask(id)
		}
		return true
	})
}

// status gives what the platform says of a target, or said when its task was removed.
func (w *world) status(k key) iotda.SubtaskStatus {
	if s := w.subjects[k]; s != nil && s.was != "" {
		return s.was
	}
	sub, _ := w.p.Subtask(k.task, k.device)
	return sub.Status
}
