package scheduler_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
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

func daily(t *testing.T, w *world) {
	var err error
	w.policies[0].Schedule, err = policy.ParseSchedule("0 2 * * *", time.UTC)
	require.NoError(t, err)
}

// wrong gives a ledger whose clock is off by what the returned value says.
func (w *world) wrong() (store.Options, *atomic.Int64) {
	var off atomic.Int64
	return store.Options{
		Path: filepath.Join(w.folder, "retryd.db"), Create: true,
		Clock: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
	}, &off
}

func TestAStopInTheMiddleOfADailySweepIsMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		daily(t, w)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 1000, 1)})
		w.perSec, w.burst = 2, 1
		w.run(2*time.Hour + 20*time.Second)
		require.Less(t, len(w.tries()), 1000)
		w.run(time.Hour)
		require.Len(t, w.tries(), 1000)
		w.holdsPromises()
	})
}

func TestAClockThatWasAheadForAWhileCostsNoNight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		daily(t, w)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 10, 1)})
		o, off := w.wrong()
		w.start(o, func(s *scheduler.Scheduler, _ *store.Store) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
			defer cancel()
			time.AfterFunc(time.Hour, func() { off.Store(int64(2 * time.Hour)) }) // 01:00 is shown as 03:00
			time.AfterFunc(time.Hour+5*time.Minute, func() { off.Store(0) })
			require.NoError(t, s.Run(ctx))
		})
		require.Len(t, w.tries(), 10)
		require.GreaterOrEqual(t, w.e.Retries()[0].At.UTC().Hour(), 2, "and not before its time")
	})
}

func TestAWrongClockAtTheStartDeletesNoHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 10, 1)})
		w.run(2 * time.Hour)
		o, off := w.wrong()
		off.Store(int64(365 * 24 * time.Hour))
		w.start(o, func(s *scheduler.Scheduler, l *store.Store) {
			before, err := l.Ticks(t.Context(), "upgrades", "prod")
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			require.NoError(t, s.Run(ctx))
			after, err := l.Ticks(t.Context(), "upgrades", "prod")
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(after), len(before))
		})
	})
}

func TestAClockThatIsPutBackWhileAttemptsAreReadMakesNoRestShorter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Backoff = policy.Backoff{Initial: 4 * time.Hour, Multiplier: 1, Max: 4 * time.Hour}
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 10, 0)})
		o, off := w.wrong()
		begun, set := time.Now(), false
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == "ShowBatchTask" && time.Since(begun) > 4*time.Hour-time.Minute && !set {
				set = true
				off.Store(int64(-3 * time.Hour))
				time.AfterFunc(time.Second, func() { off.Store(0) })
			}
			return ""
		})
		w.start(o, func(s *scheduler.Scheduler, _ *store.Store) {
			_, err := s.Sweep(t.Context(), nil)
			require.NoError(t, err)
			time.Sleep(4 * time.Hour) // it is read as failed only now
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
			defer cancel()
			require.NoError(t, s.Run(ctx))
		})
		retries := w.e.Retries()
		require.Greater(t, len(retries), 10)
		require.Greater(t, retries[10].At.Sub(retries[0].At), 8*time.Hour)
	})
}

func TestAKilledSweepWhoseTickIsSkippedIsSkippedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		daily(t, w)
		w.with(func(_ *scheduler.Scheduler, l *store.Store) {
			_, err := l.Baseline(t.Context(), "upgrades", "prod")
			require.NoError(t, err)
			time.Sleep(2 * time.Hour)
			_, err = l.Acquire(t.Context(), "host  "+project, store.Replica{ID: "killed"}, time.Minute)
			require.NoError(t, err)
			_, err = l.StartTick(t.Context(), store.Tick{Policy: "upgrades", Connection: "prod", Tick: time.Now(), Started: time.Now()})
			require.NoError(t, err)
		})
		time.Sleep(2 * time.Hour)
		w.run(time.Hour)
		require.Equal(t, 1, w.logs.FilterMessageSnippet("tick skipped").Len())
	})
}
