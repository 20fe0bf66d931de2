package scheduler

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
)

// lookUpAtOnce is how many devices are looked up before it is reckoned again how many more
// that takes.
const lookUpAtOnce = 64

// lookUp marks those of the due targets whose device is not connected, where the policy wants
// that, and gives the others. It goes in their order until it has found as many as limits have
// room for; those behind are not looked up. rows is how many the wave has. What is read is kept
// for the sweep: a device that comes online meanwhile has its turn in the next.
func (t *taskSweep) lookUp(ctx context.Context, due []*target, room, rows int) ([]*target, error) {
	if !t.p.Targets.RequireOnline {
		return due, nil
	}
	var online []*target
	rest := due
	for len(rest) > 0 && len(online) < room {
		need, calls := t.reckon(rest, room-len(online), len(due)-len(rest), len(online), rows)
		next := rest[:min(need, lookUpAtOnce, len(rest))]
		rest = rest[len(next):]
		if err := t.readDevices(ctx, next, calls); err != nil {
			return nil, err
		}
		for _, row := range next {
			if status := t.online[row.Target.DeviceID]; status == iotda.DeviceOnline {
				online = append(online, row)
			} else {
				row.verdict = policy.Verdict{Reason: policy.Offline, Detail: "the device is " + status}
			}
		}
	}
	return append(online, rest...), nil
}

// reckon gives how many more targets of the task have to be looked at until the room is used
// up, and how many calls that takes one by one, if they are online as often as the ones so far
// and the waves to come are like this one.
func (t *taskSweep) reckon(rest []*target, room, looked, online, rows int) (need, calls int) {
	left := max(t.left(), rows)
	unknown := 0
	for _, row := range rest {
		if _, known := t.online[row.Target.DeviceID]; !known {
			unknown++
		}
	}
	need = min(room, len(rest)*left/rows) * (looked + 1) / (online + 1)
	return max(need, 1), min(need, unknown*left/rows)
}

// left gives how many rows of the task the sweep has not decided about.
func (t *taskSweep) left() int {
	n := t.failing(t.task)
	if t.hand.names() {
		n = len(t.hand.order.Devices)
	}
	t.books.Lock()
	defer t.books.Unlock()
	return n - t.rows // it may have closed in the middle of the sweep
}

// readDevices reads the devices of some targets: page by page through the whole instance where
// that is fewer calls, else one by one. calls is what the latter takes for these and for those
// that are likely to follow.
func (t *taskSweep) readDevices(ctx context.Context, targets []*target, calls int) error {
	var ask []string
	for _, row := range targets {
		ask = append(ask, row.Target.DeviceID)
	}
	read := func(id string) bool { _, known := t.online[id]; return known }
	ask = slices.DeleteFunc(ask, read)
	all := len(ask)
	// The first page tells how many there are. As pages show some of these devices, they show
	// as large a share of those that follow.
	for len(ask) > 0 && (!t.fleet.begun && calls > 1 || t.fleet.next != "" && pages(t.fleet.left)*all < calls*len(ask)) {
		if err := t.devicePage(ctx); err != nil {
			return err
		}
		ask = slices.DeleteFunc(ask, read)
	}
	var mu sync.Mutex
	g, single := errgroup.WithContext(ctx)
	g.SetLimit(singlesAtOnce)
	for _, id := range ask {
		g.Go(func() error {
			d, _, err := t.client.Device(single, id)
			status := iotda.Clip(d.Status, 40)
			switch e := iotdaclient.AsError(err); {
			case e != nil && e.Gone():
				status = "unknown to the platform"
			case err != nil:
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			t.online[id] = status
			return nil
		})
	}
	return g.Wait()
}

// fleet is how far the devices of the instance have been read in a sweep.
type fleet struct {
	begun bool
	next  string // marker; empty = to the end
	left  int    // devices that are not read
}

func (t *taskSweep) devicePage(ctx context.Context) error {
	devices, next, total, err := t.client.Devices(ctx, t.fleet.next)
	if err != nil {
		return err
	}
	if !t.fleet.begun {
		t.fleet.left = int(total)
	}
	t.fleet.begun, t.fleet.next, t.fleet.left = true, next, max(t.fleet.left-len(devices), 0)
	for _, d := range devices {
		t.online[d.ID] = iotda.Clip(d.Status, 40)
	}
	return nil
}
