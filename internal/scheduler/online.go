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

// lookUp marks the due targets whose device is not connected, where the policy wants that.
// What it reads is kept for the sweep: a device that comes online meanwhile has its turn in
// the next.
func (t *taskSweep) lookUp(ctx context.Context, targets []target) error {
	if !t.p.Targets.RequireOnline {
		return nil
	}
	var ask []string
	for _, row := range targets {
		if _, known := t.online[row.Target.DeviceID]; row.verdict.Reason == policy.Due && !known {
			ask = append(ask, row.Target.DeviceID)
		}
	}
	if err := t.readDevices(ctx, ask); err != nil {
		return err
	}
	for i := range targets {
		v := &targets[i].verdict
		if status := t.online[targets[i].Target.DeviceID]; v.Reason == policy.Due && status != iotda.DeviceOnline {
			*v = policy.Verdict{Reason: policy.Offline, Detail: "the device is " + status}
		}
	}
	return nil
}

// readDevices reads the statuses of devices: page by page through the whole instance where
// that is fewer calls, else one by one.
func (t *taskSweep) readDevices(ctx context.Context, ask []string) error {
	// The first page tells how many there are.
	for len(ask) > 1 && (!t.fleet.begun || t.fleet.next != "" && pages(t.fleet.left) < len(ask)) {
		if err := t.devicePage(ctx); err != nil {
			return err
		}
	}
	ask = slices.DeleteFunc(ask, func(id string) bool { _, known := t.online[id]; return known })
	var mu sync.Mutex
	g, single := errgroup.WithContext(ctx)
	g.SetLimit(8) // the connection's concurrency and rate hold below that
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
