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
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// sweptCalls counts the calls that a sweep makes for a task, of whatever kind.
func (w *world) sweptCalls(id string) int {
	w.t.Helper()
	before := len(w.e.Calls())
	require.Equal(w.t, scheduler.SweepComplete, w.sweep().Result)
	n := 0
	for _, c := range w.e.Calls()[before:] {
		if c.TaskID == id {
			n++
		}
	}
	return n
}

// TestATaskInWhichNothingIsLeftToDoIsLeftUnread until something changes that its targets' verdicts depend on.
func TestATaskInWhichNothingIsLeftToDoIsLeftUnread(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world, id string){
		"a day has gone by": func(*world, string) { time.Sleep(24 * time.Hour) },
		"another has failed": func(w *world, id string) {
			w.e.SetSubtask(id, "good", iotda.SubtaskFail)
		},
		"the policy has changed": func(w *world, _ string) { w.policies[0].Hash = "another" },
		"a newer task": func(w *world, _ string) {
			w.campaign(emulator.Device{ID: "d-00001", Status: iotda.SubtaskSuccess})
		},
		"one is forgiven": func(w *world, id string) {
			w.with(func(_ *scheduler.Scheduler, l *store.Store) {
				f := store.Forgiveness{ProjectID: project, TaskID: id, Devices: []string{"d-00001"}}
				_, err := l.Forgive(w.t.Context(), store.Action{Who: "ann", Why: "a new battery"}, f)
				require.NoError(w.t, err)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.policies[0].Attempts.Max = 1
				id := w.campaign(append(failing("d", 10, 0), emulator.Device{ID: "good", Status: iotda.SubtaskSuccess})...)
				w.sweep()
				time.Sleep(time.Hour)
				w.sweep() // they have failed once more, and are given up
				w.sweep()
				time.Sleep(2 * time.Hour) // what may have been resolved elsewhere has been looked for
				w.sweep()
				require.Zero(t, w.sweptCalls(id))
				report := w.sweep()
				require.Equal(t, 10, report.Counts[string(policy.Exhausted)], "they are counted as ever")
				change(w, id)
				require.Positive(t, w.sweptCalls(id))
				w.holdsPromises()
			})
		})
	}
}

// TestATaskWhoseTargetsRestIsReadWhenTheFirstHasRested and not before.
func TestATaskWhoseTargetsRestIsReadWhenTheFirstHasRested(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Attempts.Backoff = policy.Backoff{Initial: 5 * time.Hour, Multiplier: 1, Max: 5 * time.Hour, Jitter: 0.2}
		w.policies[0].Attempts.GiveUpAfter = 9 * time.Hour
		id := w.campaign(failing("d", 10, 0)...)
		w.sweep()
		read, tried := []int{}, []int{}
		for range 24 {
			time.Sleep(30 * time.Minute)
			read, tried = append(read, w.sweptCalls(id)), append(tried, len(w.e.Retries()))
		}
		unread := 0
		for i, n := range read {
			if n == 0 {
				unread++
				require.True(t, i == 0 || tried[i] == tried[i-1], "nothing is retried unread")
			}
		}
		require.Greater(t, unread, 10, "%v", read)
		require.Greater(t, len(w.e.Retries()), 10, "they are retried when they have rested: %v", tried)
		require.Equal(t, 10, w.sweep().Counts[string(policy.Expired)], "and come to their end in time")
		w.holdsPromises()
	})
}

// TestALargeTaskCostsNoMoreCallsThanASmallOneWithAsManyFailing has ten in either.
func TestALargeTaskCostsNoMoreCallsThanASmallOneWithAsManyFailing(t *testing.T) {
	t.Parallel()
	calls := map[int]int{}
	for _, size := range []int{100, 30_000} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			devices := failing("d", 10, 1)
			for i := len(devices); i < size; i++ {
				devices = append(devices, emulator.Device{ID: fmt.Sprint("g-", i), Status: iotda.SubtaskSuccess})
			}
			w.campaign(devices...)
			w.sweep()
			require.Len(t, w.tries(), 10)
			calls[size] = len(w.e.Calls())
		})
	}
	require.Equal(t, calls[100], calls[30_000])
}
