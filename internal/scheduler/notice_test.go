package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

var everything = store.Subscription{Name: "chat", Events: store.Events(), All: true}

// listens has a receiver be told of what happens from now on.
func (w *world) listens() {
	w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
		require.NoError(w.t, ledger.Subscribe(context.Background(), []string{"chat"}))
	})
}

// told gives what it would be told now, nil for nothing.
func (w *world) told() (d *store.Digest) {
	w.joined(func(ledger *store.Store) {
		var err error
		d, _, _, err = ledger.NextDigest(context.Background(), everything)
		require.NoError(w.t, err)
		if d != nil {
			require.NoError(w.t, ledger.DigestSent(context.Background(), everything, d))
		}
	})
	return d
}

func TestPeopleAreToldOnceOfTargetsThatCameToTheirEndAndOfHalts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		halting(w, policy.HaltTask)
		id := w.add(emulator.Task{
			Name: "fw-9", Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour),
			Devices: append(failing("off", 2, 0), failingWith("Unsupported package type", "bad", 3)...),
		})
		w.campaign(failingWith("Firmware update failed", "fw", 60)...)
		w.listens()
		events, byDevice := map[store.Event]int{}, map[string]store.Notice{}
		for range 4 * 24 {
			w.sweep()
			time.Sleep(time.Hour)
			if d := w.told(); d != nil {
				for event, n := range d.Events {
					events[event] += n
				}
				for _, n := range d.Targets {
					byDevice[n.DeviceID] = n
				}
			}
		}
		require.Equal(t, map[store.Event]int{store.TargetExhausted: 2, store.TargetPermanent: 3, store.RetriesHalted: 1}, events)
		n := byDevice["off-00000"]
		require.Equal(t, []any{store.TargetExhausted, id, 3, "Waiting for the device online timeout", "upgrades", "prod"}, []any{n.Event, n.TaskID, n.Attempts, n.Text, n.Policy, n.Connection})
		require.Equal(t, []string{"3 of 3 attempts", "fw-9"}, []string{n.Detail, n.TaskName})
		w.sweep()
		require.Nil(t, w.told(), "what is closed is found closed again")
	})
}

func TestPeopleAreToldWhenAConnectionIsDownAndUpAgainAndNotOfEachSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 1, 1)...)
		w.listens()
		w.secret = "wrong"
		for range 3 {
			w.sweep()
			time.Sleep(time.Minute)
		}
		d := w.told()
		require.Positive(t, d.Events[store.ConnectionDown])
		require.LessOrEqual(t, d.Events[store.ConnectionDown], 2, "refused, and then held back")
		down := d.Others[0]
		require.Equal(t, []string{"prod", "auth", ""}, []string{down.Connection, down.Code, down.Policy})
		require.Contains(t, down.Detail, "check access_key and secret_key")
		require.Contains(t, down.Text, "HTTP 401")
		require.NotContains(t, down.Text, "request id")
		require.NotContains(t, down.Text, down.Detail)
		w.secret = "secret"
		time.Sleep(time.Hour)
		w.sweep()
		d = w.told()
		require.Equal(t, map[store.Event]int{store.ConnectionUp: 1}, d.Events)
		w.sweep()
		require.Nil(t, w.told())
	})
}

func TestPeopleAreToldOfATaskThatWaitsForThemAlsoBeforeItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.policies[0]
		p.Mode = policy.ModeApprove
		now := time.Now()
		p.Blackouts = []policy.Blackout{{From: now.Add(-time.Hour), To: now.Add(24 * time.Hour)}}
		id := w.campaign(failing("d", 10, 1)...)
		w.campaign(emulator.Device{ID: "fine", Status: "Success"}) // nothing to approve
		w.listens()
		for range 3 {
			require.Equal(t, 10, w.sweep().Counts[string(policy.OutsideWindow)])
		}
		d := w.told()
		require.Equal(t, map[store.Event]int{store.AwaitingApproval: 1}, d.Events)
		require.Equal(t, []string{id, "not approved", "upgrades"}, []string{d.Others[0].TaskID, d.Others[0].Detail, d.Others[0].PolicyHash})
		p.Blackouts = nil
		w.sweep()
		require.Nil(t, w.told())
		w.approve(store.Approval{TaskID: id, PolicyHash: "upgrades", Until: time.Now().Add(time.Minute)})
		time.Sleep(time.Hour)
		w.sweep()
		require.Equal(t, 1, w.told().Events[store.AwaitingApproval], "it has ended")
		p.Hash = "changed"
		w.sweep()
		require.Equal(t, 1, w.told().Events[store.AwaitingApproval])
	})
}
