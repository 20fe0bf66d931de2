package scheduler_test

import (
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

// lookedUp gives how many pages of devices, and how many single ones, were read.
func lookedUp(w *world) (pages, singles int) {
	return len(w.calls("ListDevices")), len(w.calls("ShowDevice"))
}

func TestADeviceThatIsOfflineCostsNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Targets.RequireOnline = true
		id := w.campaign(failing("d", 20, 1)...)
		for _, d := range failing("d", 15, 1) {
			w.e.SetOnline(d.ID, false)
		}
		r := w.sweep()
		require.Equal(t, 15, r.Counts[string(policy.Offline)])
		require.Equal(t, 5, r.Sent[policy.Accepted])
		w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
			require.Zero(t, w.record(ledger, id, "d-00000").Counted)
			require.Zero(t, w.record(ledger, id, "d-00000").N)
		})
		for _, d := range failing("d", 15, 1) {
			w.e.SetOnline(d.ID, true)
		}
		time.Sleep(time.Hour)
		require.Equal(t, 15, w.sweep().Sent[policy.Accepted])
	})
}

func TestWithoutTheRuleNoDeviceIsLookedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.campaign(failing("d", 20, 1)...)
		w.sweep()
		pages, singles := lookedUp(w)
		require.Zero(t, pages+singles)
	})
}

func TestDevicesAreLookedUpOnPagesOrOneByOneWhicheverIsFewerCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ failing, fleet, pages, singles int }{
		{failing: 1, fleet: 400, pages: 0, singles: 1},
		{failing: 5, fleet: 1000, pages: 1, singles: 5}, // the first page says how many there are
		{failing: 120, fleet: 400, pages: 8 + 3, singles: 0},
		{failing: 20, fleet: 20, pages: 1, singles: 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.policies[0].Targets.RequireOnline = true
			w.add(emulator.Task{Type: "moduleUpgrade", Devices: failing("z", c.fleet, 1)})
			w.campaign(failing("d", c.failing, 1)...)
			require.Equal(t, c.failing, w.sweep().Sent[policy.Accepted])
			pages, singles := lookedUp(w)
			require.LessOrEqual(t, pages, c.pages)
			require.LessOrEqual(t, singles, c.singles)
			require.Positive(t, pages+singles)
		})
	}
}

func TestTheSizeOfTheFleetIsReadOnceInASweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Targets.RequireOnline = true
		w.add(emulator.Task{Type: "moduleUpgrade", Devices: failing("z", 1000, 1)})
		for _, name := range []string{"a", "b", "c"} {
			w.campaign(failing(name, 5, 1)...)
		}
		require.Equal(t, 15, w.sweep().Sent[policy.Accepted])
		pages, singles := lookedUp(w)
		require.Equal(t, []int{1, 15}, []int{pages, singles})
	})
}

func TestAFleetIsLookedUpOnceInASweepHoweverManyWavesItTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Targets.RequireOnline = true
		w.policies[0].Limits.TargetsPerSweep = 100
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("d", 1300, 1)})
		w.perSec, w.burst = 10, 10
		w.sweep()
		pages, singles := lookedUp(w)
		require.LessOrEqual(t, pages+singles, 27)
		require.Len(t, w.tries(), 100)
	})
}

// awaiting makes a task of failed devices in an instance that has many others.
func awaiting(t *testing.T, failed, others, limit int) *world {
	w := newWorld(t)
	w.policies[0].Targets.RequireOnline = true
	w.policies[0].Limits.TargetsPerSweep = limit
	w.add(emulator.Task{Type: "moduleUpgrade", Devices: failing("z", others, 1)})
	w.campaign(failing("d", failed, 1)...)
	return w
}

func TestDevicesAreLookedUpOnlyAsFarAsTheLimitsReach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := awaiting(t, 1200, 6000, 70)
		r := w.sweep()
		require.Equal(t, 70, r.Sent[policy.Accepted])
		require.Equal(t, 1130, r.Counts[string(policy.Capped)])
		pages, singles := lookedUp(w)
		require.Equal(t, []int{1, 70}, []int{pages, singles})
		time.Sleep(time.Hour)
		w.policies[0].Limits.TargetsPerSweep = 0
		w.sweep()
		pages, singles = lookedUp(w)
		require.LessOrEqual(t, pages+singles, 71+7200/50, "without a limit, pages take fewer")
	})
}

func TestDevicesThatAreOfflineKeepNobodyBehindThemFromTheirTurn(t *testing.T) {
	t.Parallel()
	for _, from := range []int{0, 200, 400} { // where in the wave they are
		synctest.Test(t, func(t *testing.T) {
			w := awaiting(t, 500, 1000, 70)
			offline := map[string]string{}
			w.watch = collect(offline, func(e scheduler.Event) (string, bool) {
				return e.Verdict.Detail, e.Kind == scheduler.Decided && e.Verdict.Reason == policy.Offline
			})
			for _, d := range failing("d", 500, 1)[from : from+100] {
				w.e.SetOnline(d.ID, false)
			}
			r := w.sweep()
			require.Equal(t, 70, r.Sent[policy.Accepted])
			require.Equal(t, 430, r.Counts[string(policy.Capped)]+r.Counts[string(policy.Offline)])
			require.Len(t, offline, r.Counts[string(policy.Offline)])
			pages, singles := lookedUp(w)
			require.LessOrEqual(t, pages+singles, 70+1500/50)
			time.Sleep(time.Hour)
			w.policies[0].Limits.TargetsPerSweep = 0
			r = w.sweep()
			require.Equal(t, 330, r.Sent[policy.Accepted])
			require.Equal(t, 100, r.Counts[string(policy.Offline)])
		})
	}
}

func TestAWaveOfDevicesThatAreOfflineIsLookedUpOnPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := awaiting(t, 1000, 4000, 20)
		for _, d := range failing("d", 1000, 1) {
			w.e.SetOnline(d.ID, false)
		}
		r := w.sweep()
		require.Equal(t, 1000, r.Counts[string(policy.Offline)])
		pages, singles := lookedUp(w)
		require.LessOrEqual(t, pages, 5000/50+1)
		require.LessOrEqual(t, singles, 20)
	})
}

func TestAnApprovedDeviceThatIsOfflineGivesItsPlaceToNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Mode, w.policies[0].Targets.RequireOnline = policy.ModeApprove, true
		id := w.campaign(failing("d", 20, 2)...)
		w.sweep() // makes the ledger
		w.approve(store.Approval{TaskID: id, PolicyHash: w.policies[0].Hash, Targets: 5, Until: time.Now().Add(48 * time.Hour)})
		require.Equal(t, 5, w.sweep().Sent[policy.Accepted])
		for target := range w.tries() {
			w.e.SetOnline(target[len(id)+1:], false)
		}
		time.Sleep(time.Hour)
		w.sweep() // sees that they failed
		time.Sleep(4 * time.Hour)
		r := w.sweep()
		require.Equal(t, map[string]int{string(policy.Offline): 5, string(policy.Capped): 15}, r.Counts)
		require.Empty(t, r.Sent)
	})
}
