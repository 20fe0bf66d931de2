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

// TestARetryEndpointThatIsDownForSixHoursBurnsOneAttemptEachProbe has 1,000 devices in
// ten tasks under three policies, with several forms of an outage: every call counts as attempted.
func TestARetryEndpointThatIsDownForSixHoursBurnsOneAttemptEachProbe(t *testing.T) {
	t.Parallel()
	faults := []emulator.Fault{emulator.Fault504Applied, emulator.Bare(503), emulator.FaultLate}
	if withRace() {
		faults = faults[:1]
	}
	for _, fault := range faults {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { outage(t, fault) })
		})
	}
}

const outageLasts = 6 * time.Hour

// outageSizes are the devices of the tasks: 1,000. One takes several calls.
var outageSizes = []int{60, 60, 60, 60, 60, 60, 60, 460, 60, 60}

func outage(t *testing.T, fault emulator.Fault) {
	w := newWorld(t)
	w.policies = nil
	for i := range 3 {
		p := newPolicy(fmt.Sprint("p", i))
		p.Schedule = must(policy.ParseSchedule([]string{"*/15 * * * *", "*/5 * * * *", "7 * * * *"}[i], time.UTC))
		p.Tasks.Names = patterns(t, fmt.Sprintf("of-p%d-.*", i))
		w.policies = append(w.policies, p)
	}
	var ids []string
	for i, n := range outageSizes {
		ids = append(ids, w.add(emulator.Task{
			Name: fmt.Sprintf("of-p%d-%d", i%3, i), Type: iotda.RetryableTaskTypes()[i%2], Created: time.Now().Add(-time.Hour),
			Devices: failing(fmt.Sprint("t", i), n, 1),
		}))
	}
	begun := time.Now()
	w.e.SetFault(emulator.Schedule(emulator.Step{Op: "RetryBatchTask", Until: begun.Add(outageLasts), Fault: fault}))
	w.during(func(_ *scheduler.Scheduler, ledger *store.Store) {
		time.Sleep(outageLasts)
		posts := w.posts()
		burned, probes, ledgers := 0, 0, must(ledger.Totals(t.Context()))
		for i, c := range posts {
			burned += len(c.Targets)
			if i >= 3 {
				probes++
				require.Len(t, c.Targets, 1, "only probes follow the first three calls")
			}
		}
		t.Logf("%s for %s: 1,000 devices in %d tasks of 3 policies, %d attempts burnt by %d calls, %d of them probes", fault, outageLasts, len(outageSizes), burned, len(posts), probes)
		require.Equal(t, burned, ledgers.Attempts, "the ledger says the same")
		require.Positive(t, probes)
		require.LessOrEqual(t, burned, 3+probes)
		require.LessOrEqual(t, probes, 4+int(outageLasts/(14*time.Minute)), "one in 14 minutes, once some have failed")
		w.probesFollowReads(posts[3:])
		time.Sleep(8 * time.Hour)
		require.Zero(t, must(ledger.Totals(t.Context())).Open)
		recovered, usedUp := w.afterOutage(ledger, ids)
		t.Logf("recovered in the end: %d; used up by probes: %d", recovered, usedUp)
	})
	w.holdsPromises()
}

// afterOutage counts the devices that have recovered, and those whose attempts calls without an
// answer have used up. There are no others.
func (w *world) afterOutage(ledger *store.Store, tasks []string) (recovered, usedUp int) {
	tries := w.tries()
	for i, id := range tasks {
		for _, d := range failing(fmt.Sprint("t", i), outageSizes[i], 1) {
			switch r := w.record(ledger, id, d.ID); {
			case r.State == policy.Recovered:
				recovered++
			case r.Counted == 3 && tries[id+" "+d.ID] == 0:
				usedUp++
			default:
				require.Fail(w.t, "neither", "%s: %+v", d.ID, r)
			}
		}
	}
	return recovered, usedUp
}

// probesFollowReads checks that each probe follows a read of its task that begins after the call
// before it.
func (w *world) probesFollowReads(probes []emulator.Call) {
	last := emulator.Call{N: -1}
	calls := w.e.Calls()
	for _, p := range probes {
		read := false
		for _, c := range calls[last.N+1 : p.N] {
			read = read || c.Op == "ShowBatchTask" && c.TaskID == p.TaskID && c.Status == 200
		}
		require.True(w.t, read, "a probe at %s without a read", p.At)
		last = p
	}
}
