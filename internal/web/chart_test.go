package web

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

func TestThePartsOfABarAreAllOfItAndDoNotOverlap(t *testing.T) {
	for name, row := range map[string]struct {
		task Task
		want map[string]int
	}{
		"nothing yet": {Task{}, map[string]int{}},
		"not begun":   {Task{Total: 5}, map[string]int{"other": 5}},
		"done":        {Task{Total: 5, Success: 5, Ended: map[string]int{"exhausted": 2}}, map[string]int{"succeeded": 5}},
		"on its way":  {Task{Total: 100, Success: 60, Fail: 10, Open: 1, Ended: map[string]int{"exhausted": 1, "recovered": 3}}, map[string]int{"succeeded": 60, "open": 1, "given up": 1, "waiting": 9, "other": 29}},
		"taken over":  {Task{Total: 20, Success: 10, Fail: 10, Targets: map[string]int{"superseded": 6, "excluded": 1, "backoff": 3}}, map[string]int{"succeeded": 10, "left alone": 7, "waiting": 3}},
		"perhaps":     {Task{Total: 20, Success: 10, Fail: 10, Perhaps: true, Targets: map[string]int{"superseded": 6, "excluded": 1, "backoff": 3}}, map[string]int{"succeeded": 10, "left alone": 1, "perhaps left alone": 6, "waiting": 3}},
		"perhaps, given up before": {Task{Total: 20, Success: 10, Fail: 10, Perhaps: true, Ended: map[string]int{"exhausted": 4}, Targets: map[string]int{"superseded": 9, "excluded": 1}},
			map[string]int{"succeeded": 10, "given up": 4, "left alone": 1, "perhaps left alone": 5}},
		"perhaps, and stopped": {Task{Total: 20, Success: 10, Fail: 10, Status: "Stopped", Perhaps: true, Targets: map[string]int{"superseded": 6}}, map[string]int{"succeeded": 10, "left alone": 10}},
		"counts differ":        {Task{Total: 10, Success: 8, Fail: 5, Open: 4, Ended: map[string]int{"permanent": 9}}, map[string]int{"succeeded": 8, "open": 2}},
	} {
		got, sum := map[string]int{}, 0
		for _, p := range parts(row.task) {
			got[p.Name] = p.N
			sum += p.N
		}
		require.Equal(t, row.want, got, name)
		require.Equal(t, row.task.Total, sum, name)
	}
}

func TestAChartAndItsTableSayTheSame(t *testing.T) {
	now := time.Date(2026, 3, 8, 1, 0, 0, 0, time.UTC)
	r := Recovery{
		Since: now.Add(-24 * time.Hour), Ends: map[string]int{"recovered": 7, "failed": 2, "exhausted": 1},
		Hours: []Hour{{now.Add(-2 * time.Hour), map[string]int{"recovered": 3, "failed": 2, "exhausted": 1}}, {now.Add(-time.Hour), map[string]int{"recovered": 4}}},
	}
	c := recoveryChart(r, now)
	require.Len(t, c.Columns, 24)
	require.Equal(t, "Sat 7 Mar 23:00, 3 recovered, 2 failed again", c.Columns[22].Words)
	require.Equal(t, [][]string{{"7 Mar 23:00", "3", "2", "0", "1"}, {"8 Mar 00:00", "4", "0", "0", "0"}}, c.Rows)
	require.Equal(t, "6", c.Down[0].Text)
	require.True(t, recoveryChart(Recovery{Since: now.Add(-time.Hour)}, now).Empty())

	c = neededChart([]Needed{{1, 10}, {3, 2}, {20, 1}})
	require.Equal(t, [][]string{{"1", "10"}, {"2", "0"}, {"3", "2"}}, c.Rows[:3])
	require.Equal(t, []string{"20 or more", "1"}, c.Rows[19])
	require.True(t, neededChart(nil).Empty())
}

func TestALongProgressIsDrawnWithItsLastPoint(t *testing.T) {
	now := time.Date(2026, 3, 8, 1, 0, 0, 0, time.UTC)
	var progress []store.Progress
	for i := range 1000 {
		progress = append(progress, store.Progress{At: now.Add(time.Duration(i-1000) * time.Minute), Total: 1000, Success: i})
	}
	c := progressChart(progress, now)
	require.LessOrEqual(t, len(c.Rows), 150)
	require.Equal(t, "999", c.Rows[len(c.Rows)-1][1])
	require.True(t, progressChart(progress[:1], now).Empty(), "one point is no line")
}

func TestNumbersAndTimesAreEasyToRead(t *testing.T) {
	require.Equal(t, []string{"0", "-1", "999", "1\u202f000", "-12\u202f345", "1\u202f234\u202f567"},
		[]string{number(0), number(-1), number(999), number(1000), number(-12345), number(1234567)})
	require.Equal(t, []int{1, 2, 3, 4, 6, 8, 10, 30, 200}, []int{nice(1), nice(2), nice(3), nice(4), nice(5), nice(7), nice(9), nice(27), nice(101)})
	for d, want := range map[time.Duration]string{0: "now", -4 * time.Second: "now", -70 * time.Second: "1 min ago", 3 * time.Hour: "in 3 h", -72 * time.Hour: "3 days ago"} {
		require.Equal(t, want, Ago(d))
	}
	most, all, none := 0.9999, 1.0, 0.0
	require.Equal(t, []string{"> 99.9 %", "100.0 %", "0.0 %", "–"}, []string{percent(&most), percent(&all), percent(&none), percent(nil)})
}
