package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestTheLedgerKeepsHowSweepsWentAndTasksStand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies[0].Limits.TargetsPerSweep = 30
		swept := w.campaign(failing("a", 100, 1)...)
		done := w.add(emulator.Task{Type: iotda.SoftwareUpgrade, Created: time.Now().Add(-40 * 24 * time.Hour), Devices: failing("b", 7, 1)})
		w.sweep()
		w.with(func(_ *scheduler.Scheduler, ledger *store.Store) {
			sweeps, _, err := ledger.ListSweeps(t.Context(), store.SweepFilter{}, store.Page{Limit: 2})
			require.NoError(t, err)
			require.Len(t, sweeps, 1)
			require.Equal(t, map[string]int{"due": 30, "capped": 70, "task_age": 7}, sweeps[0].Counts)
			require.Equal(t, map[string]int{"targets_per_sweep": 70}, sweeps[0].Limits)
			require.Equal(t, map[string]int{"accepted": 30}, sweeps[0].Sent)
			require.Empty(t, sweeps[0].Problems)
			for id, want := range map[string]store.TaskRow{
				swept: {Counts: map[string]int{"due": 30, "capped": 70}, Limits: map[string]int{"targets_per_sweep": 70}, Open: 30},
				done:  {Counts: map[string]int{"task_age": 7}, Limits: map[string]int{}},
			} {
				tasks, _, err := ledger.ListTasks(t.Context(), store.TaskFilter{TaskID: id, Policy: "upgrades", Connection: "prod"}, store.Page{Limit: 2})
				require.NoError(t, err)
				require.Len(t, tasks, 1)
				require.Equal(t, want.Counts, tasks[0].Counts)
				require.Equal(t, want.Limits, tasks[0].Limits)
				require.Equal(t, want.Open, tasks[0].Open)
				require.Equal(t, id == done, tasks[0].Detail != "", "why it is closed as a whole")
				require.False(t, tasks[0].CountedAt.IsZero())
			}
		})
	})
}
