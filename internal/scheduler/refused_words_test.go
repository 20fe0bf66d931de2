package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// TestAStartWithAWrongKeySpendsOneCall: the sweep that is due has looked, and the second of the two calls is for
// whoever has corrected something.
func TestAStartWithAWrongKeySpendsOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 5, 1)})
		w.run(time.Hour)
		w.secret = "wrong"
		time.Sleep(20 * time.Minute) // a tick is missed
		before := len(w.e.Calls())
		w.run(30 * time.Second)
		require.Len(t, w.e.Calls()[before:], 1)
	})
}

// TestWhatThePlatformSaidStaysBesideLocked after two refusals, over a restart too: "locked" alone tells nobody
// what to correct.
func TestWhatThePlatformSaidStaysBesideLocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.secret = "wrong"
		w.add(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 5, 1)})
		stands := func(ledger *store.Store) store.ConnectionRow {
			rows, err := ledger.Connections(t.Context())
			require.NoError(t, err)
			require.Len(t, rows, 1)
			for _, row := range rows {
				return row
			}
			return store.ConnectionRow{}
		}
		tries := func(n int) {
			w.with(func(s *scheduler.Scheduler, ledger *store.Store) {
				for range n {
					r, err := s.Sweep(context.Background(), nil)
					require.NoError(t, err)
					require.Equal(t, scheduler.SweepFailed, r[0].Result)
				}
				row := stands(ledger)
				require.Equal(t, "locked", row.Reason)
				require.Regexp(t, `^ListBatchTasks: no call before 20.*Z; the last call was refused with: HTTP 401 APIGW\.0301 `, row.Detail)
			})
		}
		tries(3)
		tries(2) // another process
	})
}
