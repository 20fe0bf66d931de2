package scheduler_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestALookIsOneCallAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.add(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Devices: failing("d", 200, 0)})
	w.with(func(s *scheduler.Scheduler, ledger *store.Store) {
		seen, err := s.Look(context.Background(), project, id, "d-00007")
		require.NoError(t, err)
		require.Equal(t, iotda.SubtaskFail, seen.Subtask.Status)
		require.Equal(t, iotda.TaskFail, seen.Task.Status)
		require.Equal(t, "prod", seen.Connection)
		require.WithinDuration(t, ledger.Now(), seen.At, time.Minute)
		require.Len(t, w.e.Calls(), 1)
		seen, err = s.Look(context.Background(), project, id, "nobody")
		require.NoError(t, err)
		require.Nil(t, seen.Subtask)
		_, err = s.Look(context.Background(), project, "aaaa", "d-00007")
		require.ErrorIs(t, err, scheduler.ErrNoTask)
		_, err = s.Look(context.Background(), "another", id, "d-00007")
		require.ErrorIs(t, err, scheduler.ErrNotAsked)
		known, err := ledger.KnownTasks(context.Background(), project)
		require.NoError(t, err)
		require.Empty(t, known)
	})
	require.Empty(t, w.e.Retries())
}

func TestAConnectionThatIsDownIsNotLookedAt(t *testing.T) {
	w := newWorld(t)
	id := w.add(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Devices: failing("d", 1, 0)})
	w.with(func(s *scheduler.Scheduler, ledger *store.Store) {
		_, err := ledger.SetConnection(context.Background(), store.ConnectionRow{Identity: "host  " + project, Name: "prod", Reason: "auth"})
		require.NoError(t, err)
		_, err = s.Look(context.Background(), project, id, "d-00000")
		require.ErrorIs(t, err, scheduler.ErrNotAsked)
		require.Empty(t, w.e.Calls())
	})
}
