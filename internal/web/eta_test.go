package web

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/store"
)

func TestAnETAIsALineThroughTheLastDayOrSaysWhyThereIsNone(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	sample := func(ago time.Duration, total, success, fail int) store.Progress {
		return store.Progress{At: now.Add(-ago), Total: total, Success: success, Fail: fail}
	}
	last := func(past ...store.Progress) forecast {
		return forecast{status: iotda.TaskProcessing, progress: past[len(past)-1], past: past}
	}
	with := func(f forecast, change func(*forecast)) forecast { change(&f); return f }
	for name, row := range map[string]struct {
		f    forecast
		in   time.Duration // 0 = there is none
		rate float64
		says string
	}{
		"even": {last(sample(24*time.Hour, 1000, 100, 300), sample(time.Hour, 1000, 340, 300)), 66 * time.Hour, 10, "in about 3 d, at 10 an hour"},
		"older than a day": { // what held a day ago counts from then
			last(sample(90*time.Hour, 1000, 100, 300), sample(time.Hour, 1000, 340, 300)), 66 * time.Hour, 10, "in about 3 d, at 10 an hour"},
		"younger than a day": {last(sample(4*time.Hour, 100, 0, 0), sample(time.Hour, 100, 80, 0)), time.Hour, 20, "in about 60 min, at 20 an hour"},
		"slowing": { // nothing for six hours: the line runs to now
			last(sample(12*time.Hour, 100, 0, 0), sample(6*time.Hour, 100, 60, 40)), 8 * time.Hour, 5, "in about 8 h, at 5.0 an hour"},
		"growing":         {last(sample(10*time.Hour, 100, 0, 0), sample(time.Hour, 200, 100, 0)), 10 * time.Hour, 10, "in about 10 h, at 10 an hour"},
		"few":             {last(sample(24*time.Hour, 100, 91, 9), sample(time.Hour, 100, 94, 6)), 48 * time.Hour, 0.125, "in about 2 d, at 3.0 a day"},
		"hardly any":      {last(sample(24*time.Hour, 30000, 0, 0), sample(time.Hour, 30000, 1, 0)), 0, 1. / 24, "29999 are left; at 1.0 a day it would take more than a year"},
		"none":            {last(sample(30*time.Hour, 100, 40, 60)), 0, 0, "60 are left; none has succeeded in the last 24 h"},
		"none, and young": {last(sample(3*time.Hour, 100, 40, 60)), 0, 0, "60 are left; none has succeeded in the last 3 h"},
		"one sample":      {last(sample(time.Minute, 100, 40, 60)), 0, 0, "60 are left; it has been seen for too short a time to tell"},
		"never sampled":   {forecast{progress: store.Progress{Total: 5}}, 0, 0, "5 are left; it has been seen for too short a time to tell"},
		"clock put back":  {last(sample(-time.Hour, 100, 40, 60)), 0, 0, "60 are left; it has been seen for too short a time to tell"},
		"done":            {last(sample(24*time.Hour, 100, 76, 24), sample(time.Hour, 100, 100, 0)), 0, 1, "done: all 100 have succeeded"},
		"empty":           {last(sample(time.Hour, 0, 0, 0)), 0, 0, "it has no sub-tasks yet"},
		"gone":            {with(last(sample(time.Hour, 9, 5, 4)), func(f *forecast) { f.gone = true }), 0, 0, "the platform has the task no more"},
		"stopped":         {with(last(sample(time.Hour, 9, 5, 0)), func(f *forecast) { f.status = iotda.TaskStopped }), 0, 0, "4 are left, and the task is stopped"},
		"given up":        {with(last(sample(time.Hour, 9, 6, 3)), func(f *forecast) { f.givenUp = 3 }), 0, 0, "3 are left, all given up: none without you"},
		"some given up": {with(last(sample(10*time.Hour, 100, 0, 20), sample(time.Hour, 100, 50, 20)), func(f *forecast) { f.givenUp = 10 }), 8 * time.Hour, 5,
			"in about 8 h, at 5.0 an hour, but for 10 given up"},
		"left alone": {with(last(sample(time.Hour, 9, 6, 3)), func(f *forecast) { f.alone = 3 }), 0, 0, "3 are left, all left alone: in a newer task, or excluded"},
		"given up or left alone": {with(last(sample(time.Hour, 9, 6, 3)), func(f *forecast) { f.givenUp, f.alone = 1, 5 }), 0, 0,
			"3 are left: 1 given up, 2 in a newer task or excluded"},
		"some left alone": {with(last(sample(10*time.Hour, 100, 0, 20), sample(time.Hour, 100, 50, 20)), func(f *forecast) { f.alone = 10 }), 8 * time.Hour, 5,
			"in about 8 h, at 5.0 an hour, but for 10 left alone"},
		"held": {with(last(sample(10*time.Hour, 100, 0, 0), sample(time.Hour, 100, 50, 50)), func(f *forecast) { f.held = "paused" }), 0, 5, "50 are left, and held back: paused"},
		"held, and the platform goes on": {with(last(sample(10*time.Hour, 100, 0, 0), sample(time.Hour, 100, 50, 10)), func(f *forecast) { f.held = "paused" }), 10 * time.Hour, 5,
			"in about 10 h, at 5.0 an hour"},
	} {
		t.Run(name, func(t *testing.T) {
			e := row.f.eta(now)
			require.Equal(t, row.says, e.Words)
			require.InDelta(t, row.rate, e.PerHour, 1e-9)
			if row.in == 0 {
				require.Nil(t, e.At)
				return
			}
			require.Equal(t, now.Add(row.in), *e.At)
		})
	}
}

// TestATargetIsNotWaitedForOnce although it was given up before a newer task took it over.
func TestATargetIsNotWaitedForOnce(t *testing.T) {
	for name, row := range map[string]struct {
		ended, counts  map[string]int
		givenUp, alone int
	}{
		"given up":                      {map[string]int{"exhausted": 3, "recovered": 9}, map[string]int{"exhausted": 3, "backoff": 1}, 3, 0},
		"given up, then taken over":     {map[string]int{"exhausted": 3}, map[string]int{"superseded": 3}, 0, 3},
		"some of either":                {map[string]int{"exhausted": 3, "permanent": 1}, map[string]int{"superseded": 2, "exhausted": 1, "permanent": 1, "excluded": 1}, 2, 3},
		"forgiven since":                {map[string]int{"exhausted": 1}, map[string]int{"exhausted": 3, "excluded": 1}, 1, 1},
		"closed as a whole since":       {map[string]int{"exhausted": 3}, map[string]int{"paused": 5}, 3, 0},
		"never looked at one by one":    {map[string]int{"exhausted": 3}, nil, 3, 0},
		"taken over, none is given up":  {nil, map[string]int{"superseded": 2}, 0, 2},
		"nothing is known of its state": {nil, nil, 0, 0},
	} {
		givenUp, alone, perhaps := notToCome(Task{Ended: row.ended, Targets: row.counts})
		require.Equal(t, [3]int{row.givenUp, row.alone, 0}, [3]int{givenUp, alone, perhaps}, name)
	}
}

// TestATargetThatIsPerhapsTakenOverIsWaitedFor unless it was given up before that, which it is in any case.
func TestATargetThatIsPerhapsTakenOverIsWaitedFor(t *testing.T) {
	for name, row := range map[string]struct {
		ended, counts           map[string]int
		givenUp, alone, perhaps int
	}{
		"none is given up":            {nil, map[string]int{"superseded": 2, "backoff": 1}, 0, 0, 2},
		"all had been given up":       {map[string]int{"exhausted": 3}, map[string]int{"superseded": 3}, 3, 0, 0},
		"some of either":              {map[string]int{"exhausted": 3, "permanent": 1}, map[string]int{"superseded": 6, "permanent": 1, "excluded": 2}, 4, 2, 3},
		"the excluded were given up":  {map[string]int{"exhausted": 3}, map[string]int{"superseded": 1, "excluded": 3}, 1, 3, 0},
		"given up since the counting": {map[string]int{"exhausted": 9}, map[string]int{"superseded": 2}, 9, 0, 0},
	} {
		givenUp, alone, perhaps := notToCome(Task{Ended: row.ended, Targets: row.counts, Perhaps: true})
		require.Equal(t, [3]int{row.givenUp, row.alone, row.perhaps}, [3]int{givenUp, alone, perhaps}, name)
	}
}

// TestWhatIsOpenAndHasSucceededIsNotThePlatformsOwn as far as its counts show.
func TestWhatIsOpenAndHasSucceededIsNotThePlatformsOwn(t *testing.T) {
	task := func(total, success, fail, recovered, open int) store.TaskRow {
		return store.TaskRow{Task: store.Task{Total: total, Success: success, Fail: fail}, Open: open, Ended: map[string]int{"recovered": recovered}}
	}
	for name, row := range map[string]struct {
		task store.TaskRow
		own  float64
	}{
		"all are seen":                {task(100, 90, 10, 30, 0), 0.6},
		"ten are not seen yet":        {task(100, 90, 10, 20, 10), 0.6},
		"ten wait for their devices":  {task(100, 80, 10, 20, 10), 0.6},
		"some of them do":             {task(100, 86, 10, 20, 10), 0.6},
		"counts of different moments": {task(100, 10, 90, 9, 20), 0},
	} {
		own, _ := shares([]store.TaskRow{row.task})
		require.InDelta(t, row.own, *own, 1e-9, name)
	}
}
