package scheduler_test

import (
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func (w *world) schedule(spec string) {
	s, err := policy.ParseSchedule(spec, time.UTC)
	require.NoError(w.t, err)
	w.policies[0].Schedule = s
}

// at sleeps until a time of the day after midnight: synctest's clock starts at one.
func at(hours, minutes int) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	time.Sleep(time.Until(start.Add(time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute)))
}

func (w *world) ticks() (ticks []store.Tick) {
	w.joined(func(ledger *store.Store) {
		var err error
		ticks, err = ledger.Ticks(w.t.Context(), w.policies[0].Name, "prod")
		require.NoError(w.t, err)
	})
	return ticks
}

func TestATickThatWasMissedForLongerThanCatchUpIsSkippedAndAnotherIsMadeUpForOnce(t *testing.T) {
	t.Parallel()
	for _, late := range []int{40, 90} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.schedule("0 1 * * *")
			w.campaign(failing("d", 10, 1)...)
			w.run(30 * time.Minute)
			at(1, late)
			w.during(func(*scheduler.Scheduler, *store.Store) {
				time.Sleep(30 * time.Minute)
				skipped := metric(t, w, "retryd_ticks_skipped_total", "why=downtime")
				swept := metric(t, w, "retryd_sweeps_total", "result=complete")
				if late > 60 {
					require.Equal(t, []float64{1, 0}, []float64{skipped, swept})
					require.Empty(t, w.tries())
					require.Equal(t, "skipped", w.ticks()[0].Result)
				} else {
					require.Equal(t, []float64{0, 1}, []float64{skipped, swept})
					require.Len(t, w.tries(), 10)
				}
				require.Len(t, w.ticks(), 1)
				at(25, 5)
				require.Len(t, w.tries(), 10, "the next comes as ever")
				require.Len(t, w.ticks(), 2)
			})
		})
	}
}

func TestTicksThatCameTogetherAreOneSweepAndAreCountedOnceOverRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.perSec, w.burst = 1, 1
		w.campaign(failing("d", 150, 1)...)
		w.run(10 * time.Minute)
		at(0, 50) // 00:15, 00:30 and 00:45 have passed
		collapsed := 0.0
		for range 8 {
			w.run(3 * time.Second)
			collapsed += metric(t, w, "retryd_ticks_skipped_total", "why=collapsed")
		}
		w.run(time.Minute)
		require.Equal(t, 2.0, collapsed+metric(t, w, "retryd_ticks_skipped_total", "why=collapsed"))
		require.Len(t, w.ticks(), 1)
		require.Equal(t, 2, w.ticks()[0].Missed)
		require.Len(t, w.tries(), 150)
	})
}

func TestATickThatOnlyWaitsItsTurnIsNotSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].CatchUp = time.Minute
		w.schedule("@every 2m")
		w.perSec, w.burst = 0.2, 1
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			w.campaign(failing(name, 60, 1)...)
		}
		w.during(func(*scheduler.Scheduler, *store.Store) {
			time.Sleep(40 * time.Minute)
			require.Equal(t, 0.0, metric(t, w, "retryd_ticks_skipped_total", "why=downtime"))
			require.Positive(t, metric(t, w, "retryd_ticks_skipped_total", "why=collapsed"))
			require.Equal(t, 0.0, metric(t, w, "retryd_sweeps_total", "result=partial"))
		})
		missed := 0
		for _, tick := range w.ticks() {
			missed += tick.Missed
		}
		require.InDelta(t, 20, missed+len(w.ticks()), 1, "each tick is accounted for")
	})
}

func TestTicksOfEveryGoOnFromTheLastOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.schedule("@every 20m")
		start := time.Now().UTC()
		for range 10 {
			w.run(13 * time.Minute)
		}
		ticks := w.ticks()
		require.Len(t, ticks, 6)
		for i, tick := range ticks {
			require.Equal(t, start.Add(time.Duration(i+1)*20*time.Minute), tick.Tick)
		}
	})
}

// shifted is a world whose ledger's clock, and with platform also the platform's, can be set.
func shifted(t *testing.T, platform bool) (w *world, offset *atomic.Int64, with func(func(*store.Store))) {
	w, offset = newWorld(t), &atomic.Int64{}
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	if platform {
		w.front = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.e.ServeHTTP(dated{rw, clock}, r) })
	}
	return w, offset, func(f func(*store.Store)) {
		w.start(store.Options{Path: filepath.Join(w.folder, "retryd.db"), Create: true, Clock: clock}, func(s *scheduler.Scheduler, ledger *store.Store) {
			w.runs(s, func() { f(ledger) })
		})
	}
}

// dated writes replies with the date of another clock.
type dated struct {
	http.ResponseWriter
	clock func() time.Time
}

func (d dated) WriteHeader(status int) {
	d.Header().Set("Date", d.clock().UTC().Format(http.TimeFormat))
	d.ResponseWriter.WriteHeader(status)
}

func TestAMachineThatSleptSkipsOrMakesUpAsOneThatWasDown(t *testing.T) {
	t.Parallel()
	for _, slept := range []time.Duration{40 * time.Minute, 5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w, offset, with := shifted(t, true)
			w.schedule("0 1 * * *")
			w.campaign(failing("d", 10, 1)...)
			with(func(*store.Store) {
				at(0, 50)
				offset.Store(int64(slept))
				time.Sleep(10 * time.Minute)
				if slept > time.Hour {
					require.Equal(t, 1.0, metric(t, w, "retryd_ticks_skipped_total", "why=downtime"))
					require.Empty(t, w.tries())
				} else {
					require.Equal(t, 0.0, metric(t, w, "retryd_ticks_skipped_total", "why=downtime"))
					require.Len(t, w.tries(), 10)
				}
				require.Len(t, w.ticks(), 1)
			})
		})
	}
}

func TestWhileTheClockIsOffNothingIsClaimedGivenUpOrSettled(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w, offset, with := shifted(t, false)
			w.campaign(append(failing("d", 10, 1), failing("e", 10, 0)...)...)
			w.policies[0].Attempts.GiveUpAfter = 80 * time.Minute
			with(func(*store.Store) {
				at(0, 20)
				require.Len(t, w.tries(), 20)
				offset.Store(int64(off))
				w.campaign(failingWith("Unsupported package type", "new", 5)...)
				w.campaign(failing("newer", 5, 1)...)
				at(2, 10)
				require.Len(t, w.tries(), 20)
				require.Equal(t, 0.0, metric(t, w, "retryd_targets_closed_total"))
				require.Equal(t, 20, openIn(w))
				require.InDelta(t, off.Seconds(), metric(t, w, "retryd_clock_offset_seconds"), 2)
				require.Equal(t, 0.0, metric(t, w, "retryd_connection_up"))
				require.Equal(t, 1, w.logs.FilterMessageSnippet("while the clock is off").Len())
				require.WithinDuration(t, time.Now(), w.e.Calls()[len(w.e.Calls())-1].At, 20*time.Minute, "reading goes on")
				offset.Store(0)
				at(3, 30)
				require.Equal(t, 10.0, metric(t, w, "retryd_attempts_settled_total", "outcome=failed"))
				require.Equal(t, 15.0, metric(t, w, "retryd_attempts_settled_total", "outcome=recovered"))
				require.Equal(t, 5.0, metric(t, w, "retryd_targets_closed_total", "outcome=permanent"))
				require.Equal(t, 10.0, metric(t, w, "retryd_targets_closed_total", "outcome=expired"))
				require.Equal(t, 1.0, metric(t, w, "retryd_connection_up", "reason="))
				require.Equal(t, 1, w.logs.FilterMessageSnippet("right again").Len())
			})
		})
	}
}

// TestAPolicyOfSecondsSleepsBetweenItsTicks: a loop that spins keeps virtual time from moving, so
// that this would never end.
func TestAPolicyOfSecondsSleepsBetweenItsTicks(t *testing.T) {
	t.Parallel()
	for _, fraction := range []time.Duration{0, 300 * time.Millisecond, 999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			var err error
			w.policies[0].Schedule, err = policy.ParseSchedule("@every 2s", time.UTC)
			require.NoError(t, err)
			w.campaign(failing("d", 3, 1)...)
			time.Sleep(fraction)
			w.run(time.Minute)
			require.Len(t, w.tries(), 3)
			w.with(func(_ *scheduler.Scheduler, l *store.Store) {
				ticks, err := l.Ticks(t.Context(), "upgrades", "prod")
				require.NoError(t, err)
				require.InDelta(t, 30, len(ticks), 1)
			})
		})
	}
}
