package emulator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

func TestAScheduleChoosesByOperationCallAndTime(t *testing.T) {
	p := newPlace(t, 3)
	p.SetFault(emulator.Schedule(
		emulator.Step{Op: "RetryBatchTask", First: 2, Last: 3, Fault: emulator.Fault502},
		emulator.Step{Op: "ListBatchTasks", Fault: emulator.FaultRowsMove}, // which is not for lists of tasks
		emulator.Step{First: 6, Fault: emulator.Bare(503)},
	))
	var statuses []int
	for range 4 {
		statuses = append(statuses, p.retry("d-0000").status)
	}
	for range 3 {
		statuses = append(statuses, p.ask("GET", "/batchtasks?task_type=firmwareUpgrade", "").status)
	}
	require.Equal(t, []int{200, 502, 502, 200, 200, 503, 503}, statuses)

	noon := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	choose := emulator.Schedule(emulator.Step{From: noon, Until: noon.Add(time.Hour), Fault: emulator.FaultCut})
	for after, want := range map[time.Duration]emulator.Fault{-time.Second: "", 0: emulator.FaultCut, time.Hour - 1: emulator.FaultCut, time.Hour: ""} {
		require.Equal(t, want, choose(emulator.Call{Op: "ShowBatchTask", At: noon.Add(after)}), after)
	}
}

func TestChanceHasItsOddsItsFaultsAndItsSeed(t *testing.T) {
	odds := emulator.Odds{"": 0.1, "RetryBatchTask": 0.5, "ShowDevice": 0}
	draw := func(seed uint64, op string) (drawn []emulator.Fault) {
		choose := emulator.Chance(seed, odds, emulator.AllFaults()...)
		for n := range 4000 {
			drawn = append(drawn, choose(emulator.Call{N: n, Op: op}))
		}
		return drawn
	}
	for op, p := range map[string]float64{"RetryBatchTask": 0.5, "ShowBatchTask": 0.1, "ListBatchTasks": 0.1, "ShowDevice": 0} {
		count := map[emulator.Fault]int{}
		for _, f := range draw(1, op) {
			require.True(t, f.On(op), "%s on %s", f, op)
			count[f]++
		}
		require.InDelta(t, p, 1-float64(count[""])/4000, 0.03, op)
		for _, f := range emulator.AllFaults() {
			require.Equal(t, f.On(op) && p > 0, count[f] > 0, "%s on %s", f, op)
		}
	}
	require.Equal(t, draw(1, "RetryBatchTask"), draw(1, "RetryBatchTask"))
	require.False(t, slices.Equal(draw(1, "RetryBatchTask"), draw(2, "RetryBatchTask")))
}
