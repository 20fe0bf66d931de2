package scheduler_test

import (
	"testing"
	"time"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// BenchmarkSweep3000 sweeps 3,000 failing sub-tasks of two tasks with a ledger on disk:
// listing, reading, deciding, claiming and retrying, without the network and the rate.
func BenchmarkSweep3000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		w.perSec, w.burst = 1e9, 1e9
		w.e = emulator.New(emulator.Options{ProjectID: project, Region: "cn-north-4", Keys: map[string]string{"key": "secret"}})
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("f", 1500, 1)})
		w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing("s", 1500, 1)})
		w.with(func(s *scheduler.Scheduler, _ *store.Store) {
			b.StartTimer()
			reports, err := s.Sweep(b.Context(), nil)
			b.StopTimer()
			if err != nil || reports[0].Sent["accepted"] != 3000 {
				b.Fatal(err, reports)
			}
		})
		b.StartTimer()
	}
}
