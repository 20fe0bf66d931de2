package scheduler_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// TestTheNextWaveIsReadWhileOneIsRetried by the platform's own record.
func TestTheNextWaveIsReadWhileOneIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.campaign(failing("d", 3000, 1)...)
		w.sweep()
		require.Len(t, w.tries(), 3000)
		turns, last := 0, ""
		for _, c := range w.e.Calls() {
			if c.TaskID == id && c.Op != last {
				turns++
				last = c.Op
			}
		}
		require.Greater(t, turns, 20, "reads and retries take turns within a wave too, of which there are 6")
		w.holdsPromises()
	})
}

// TestLimitsHoldWhileWavesOverlap: what is on its way to be claimed counts.
func TestLimitsHoldWhileWavesOverlap(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		limits policy.Limits
		tasks  int
		want   int
	}{
		"targets_per_sweep":                {policy.Limits{TargetsPerSweep: 1777}, 1, 1777},
		"targets_per_sweep of three tasks": {policy.Limits{TargetsPerSweep: 4111}, 3, 4111},
		"in_flight":                        {policy.Limits{InFlight: 1333, InFlightFor: time.Hour}, 1, 1333},
		"ramp":                             {policy.Limits{Ramp: policy.Ramp{Initial: 777, Factor: 2}}, 2, 2 * 777},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.policies[0].Limits = row.limits
				for i := range row.tasks {
					w.campaign(failing(fmt.Sprint("d", i), 3000, 0)...)
					time.Sleep(time.Second)
				}
				report := w.sweep()
				require.Len(t, w.tries(), row.want)
				require.Equal(t, 3000*row.tasks-row.want, report.Counts[string(policy.Capped)])
				w.holdsPromises()
			})
		})
	}
}

// TestManySmallTasksAreSweptTogether where their order does not matter, and one by one, the newest first, where it does.
func TestManySmallTasksAreSweptTogether(t *testing.T) {
	t.Parallel()
	took := map[int]time.Duration{}
	for _, limit := range []int{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.policies[0].Limits.TargetsPerSweep = limit
			var ids []string
			for i := range 20 {
				ids = append(ids, w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour + time.Duration(i)*time.Minute), Devices: failing(fmt.Sprint("t", i), 20, 1)}))
			}
			begun := time.Now()
			report := w.sweep()
			took[limit] = time.Since(begun)
			if limit == 0 {
				require.Equal(t, 400, report.Sent["accepted"])
				return
			}
			require.Equal(t, 100, report.Sent["accepted"])
			for _, r := range w.e.Retries() {
				require.Contains(t, ids[15:], r.TaskID, "the newest have the limit")
			}
		})
	}
	require.Less(t, took[0], took[100], "more is done in less time, of the platform's clock")
}
