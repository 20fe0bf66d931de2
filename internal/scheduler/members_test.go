package scheduler_test

import (
	"fmt"
	"slices"
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

// TestWhoIsInANewerTaskIsReadInTheWayThatTakesFewerCalls: device by device where few are due, else page by page, and
// not at all where its row says it.
func TestWhoIsInANewerTaskIsReadInTheWayThatTakesFewerCalls(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		due, newer     int
		listed         bool
		singles, pages int
	}{
		{"few are due, and it is large", 3, 3000, false, 3, 0},
		{"as many as are asked for one by one", 20, 3000, false, 20, 0},
		{"more than that", 21, 3000, false, 0, 61},
		{"more than it has pages", 3, 120, false, 0, 3},
		{"its row names them", 3, 3000, true, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				created := time.Now().Add(-48 * time.Hour)
				older := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("d", row.due, 1)})
				taken := failing("n", row.newer-1, 1)
				for i := range taken {
					taken[i].Status = iotda.SubtaskSuccess
				}
				newer := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Hour), ListTargets: row.listed,
					Devices: append(taken, emulator.Device{ID: "d-00000", Status: iotda.SubtaskSuccess})})
				r := w.sweep()
				require.Equal(t, 1, r.Counts["superseded"], "%+v", r)
				require.Equal(t, row.due-1, r.Sent[policy.Accepted])
				singles, pages := 0, 0
				for _, c := range w.e.Calls() {
					require.False(t, c.Op == "RetryBatchTask" && slices.Contains(c.Targets, "d-00000"))
					switch {
					case c.TaskID != newer || c.Op != "ShowBatchTask":
					case c.Query.Get("target") != "":
						singles++
					case c.Query.Get("task_detail_status") == "":
						pages++
					}
				}
				require.Equal(t, row.singles, singles)
				require.Equal(t, row.pages, pages)
				require.Len(t, w.tries(), row.due-1)
				require.NotEmpty(t, older)
			})
		})
	}
}

// TestOneNewerTaskIsReadOnceForAllOlderOnes: what is known of its members is kept for the sweep.
func TestOneNewerTaskIsReadOnceForAllOlderOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		created := time.Now().Add(-48 * time.Hour)
		for i := range 5 {
			w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Duration(i) * time.Minute), Devices: failing(fmt.Sprintf("d%d", i), 30, 1)})
		}
		newer := w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Hour), Devices: failing("n", 1000, 1)})
		w.e.StopTask(newer)
		w.sweep()
		require.Len(t, w.tries(), 150, "a stopped one takes nothing over, and costs nothing")
		newer = w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(2 * time.Hour), Devices: failing("n", 1000, 0)})
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("e", 300, 1)})
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("f", 300, 1)})
		before := len(w.e.Calls())
		w.sweep()
		pages := 0
		for _, c := range w.e.Calls()[before:] {
			if c.TaskID == newer && c.Op == "ShowBatchTask" && c.Query.Get("task_detail_status") == "" && c.Query.Get("target") == "" {
				pages++
			}
		}
		require.Equal(t, 21, pages)
	})
}

// TestAPlatformThatAnswersForNoSingleDeviceIsReadPageByPage.
func TestAPlatformThatAnswersForNoSingleDeviceIsReadPageByPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		created := time.Now().Add(-48 * time.Hour)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created, Devices: failing("d", 3, 1)})
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Created: created.Add(time.Hour), Devices: failing("n", 500, 0)})
		w.e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Query.Get("target") != "" {
				return emulator.Refusal(400, "IOTDA.000006")
			}
			return ""
		})
		w.with(func(s *scheduler.Scheduler, _ *store.Store) {
			_, err := s.Sweep(t.Context(), nil)
			require.NoError(t, err)
		})
		for i := range 3 {
			require.Contains(t, fmt.Sprint(w.tries()), fmt.Sprintf("d-%05d", i))
		}
	})
}
