package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// TestASmallPolicyDoesNotWaitForABigOne: sweeps of a connection take turns wave by wave. The
// names are such that the big one starts first: starts are spread by a hash of them.
func TestASmallPolicyDoesNotWaitForABigOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 2, 1
		big, small := newPolicy("huge"), newPolicy("small")
		big.Tasks.Names, small.Tasks.Names = patterns(t, "big"), patterns(t, "small")
		w.policies = []*policy.Policy{big, small}
		bigID := w.add(emulator.Task{Name: "big", Type: iotda.FirmwareUpgrade, Devices: failing("b", 6000, 1)})
		smallID := w.add(emulator.Task{Name: "small", Type: iotda.SoftwareUpgrade, Devices: failing("s", 20, 1)})
		w.run(40 * time.Minute)
		before, after := 0, 0 // retries of the big one before the small one's last, and after
		last := time.Time{}
		for _, r := range w.e.Retries() {
			if r.TaskID == smallID {
				last = r.At
			}
		}
		require.False(t, last.IsZero())
		for _, r := range w.e.Retries() {
			if r.TaskID == bigID && r.At.Before(last) {
				before++
			} else if r.TaskID == bigID {
				after++
			}
		}
		require.Positive(t, before, "the big one had begun")
		require.Greater(t, after, before, "it waits for one wave at most")
	})
}
