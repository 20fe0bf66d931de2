package scheduler_test

import (
	"maps"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

const (
	simulatedYears = 2
	yearsSeed      = 20270101
	yearsMax       = 6
	yearsJitter    = 0.3
	yearsLatency   = 20 * time.Millisecond
	clockMay       = 5*time.Minute + time.Second // be off while anything is claimed: a Date header has whole seconds
)

// TestTwoYearsOfTicksWindowsAndClockJumps runs a daemon with a policy in each of three time zones
// through two years in which it is restarted, down, paused and has its clock set, and holds what
// the platforms recorded, and what the ledger says of ticks, against the oracle. The daemon is up
// for some minutes of each day (with the race detector: of each third, in the first year), most
// often about the edges of windows, and through each night in which a clock changes: to write a
// ledger on disk in every minute of two years takes most of an hour.
func TestTwoYearsOfTicksWindowsAndClockJumps(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", yearsSeed)
	synctest.Test(t, func(t *testing.T) {
		y := newEra(t)
		from := time.Now()
		to := from.AddDate(simulatedYears, 0, 0)
		every := 24 * time.Hour
		if withRace() {
			to, every = from.AddDate(simulatedYears/2, 0, 0), 3*24*time.Hour
		}
		if testing.Short() {
			to = from.AddDate(0, 3*simulatedYears, 0)
		}
		nights := y.nights(from, to)
		for day := from; day.Before(to); day = day.Add(every) {
			for len(nights) > 0 && nights[0].Before(day.Add(every)) {
				sleepTo(nights[0].Add(-45 * time.Minute))
				y.up(max(time.Until(nights[0])+75*time.Minute, time.Minute))
				nights = nights[1:]
			}
			y.campaigns()
			if y.rand.IntN(40) == 0 {
				day = day.Add(time.Duration(1+y.rand.IntN(5)) * 24 * time.Hour) // down for days
				continue
			}
			sleepTo(y.moment(day))
			y.up(time.Duration(120+y.rand.IntN(420)) * time.Second)
			if y.rand.IntN(3) == 0 { // a restart, or a short downtime
				time.Sleep(time.Duration(1+y.rand.IntN(3000)) * time.Second)
				y.up(time.Duration(60+y.rand.IntN(240)) * time.Second)
			}
		}
		y.set(0)
		y.up(90 * time.Minute)
		y.callsHold()
		y.retriesHold()
		y.ticksHold()
	})
}

// withRace tells whether the test runs with the race detector, which makes SQLite 20 times slower.
func withRace() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func sleepTo(t time.Time) { time.Sleep(time.Until(t)) }

// note keeps what is said of targets.
func (y *era) note(e scheduler.Event) {
	y.mu.Lock()
	defer y.mu.Unlock()
	key := e.Connection + " " + e.TaskID + " " + e.DeviceID
	switch e.Kind {
	case scheduler.Decided:
		if before := y.told[key]; e.Verdict.Reason == policy.InBackoff &&
			(len(before) == 0 || before[len(before)-1].notBefore != e.Verdict.NotBefore) {
			y.told[key] = append(before, told{time.Now(), e.Verdict.NotBefore, e.Attempt})
		}
	case scheduler.Settled:
		y.settled[key] = append(y.settled[key], time.Now())
	default:
	}
}

// callsHold: every retry call left at a moment that was right by the platform's own clock.
func (y *era) callsHold() {
	edge, total := 0, 0
	for i, s := range y.sites {
		o := y.oracles[i]
		for _, c := range s.e.Calls() {
			if c.Op != "RetryBatchTask" {
				continue
			}
			total++
			off := y.off(c.At.Add(-1)) // the call itself may have set the clock
			require.LessOrEqual(y.t, off.Abs(), clockMay, "%s: a retry at %s while the clock was off", s.name, c.At)
			shown := c.At.Add(off)
			require.True(y.t, o.open(shown), "%s: a retry at %s, outside of every window", s.name, shown.In(o.zone))
			if !o.open(shown.Add(-10*time.Minute)) || !o.open(shown.Add(10*time.Minute)) {
				edge++
			}
			for _, p := range y.pauses {
				scoped := p.Scope == store.PauseConnection && p.Connection == s.name || p.Scope == store.PausePolicy && p.Policy == s.name || p.Scope == store.PauseTask && p.ProjectID == s.project && p.TaskID == c.TaskID
				holds := !c.At.Before(p.from) && (p.ended.IsZero() || c.At.Before(p.ended)) && (p.Until.IsZero() || shown.Before(p.Until))
				require.False(y.t, scoped && holds, "%s: a retry at %s while paused from %s to %s: %v", s.name, c.At, p.from, p.ended, p)
			}
		}
	}
	y.t.Logf("up for %s; %d retry calls, %d of them within 10 minutes of an edge of a window; %d pauses; the clock was set %d times", y.minutes, total, edge, len(y.pauses), len(y.settings)-1)
	require.Positive(y.t, edge)
}

// retriesHold: no target was tried too often, too early, or a second time while open.
func (y *era) retriesHold() {
	for _, s := range y.sites {
		tries, last := map[string]int{}, map[string]time.Time{}
		open := map[string]string{} // device -> key of its last accepted retry
		longest := 0
		for _, r := range s.e.Retries() {
			key := s.name + " " + r.TaskID + " " + r.Target
			shown := r.At.Add(y.off(r.At.Add(-yearsLatency - 1)))
			if n := tries[key]; n > 0 {
				rest := min(20*time.Minute<<(n-1), 12*time.Hour)
				require.GreaterOrEqual(y.t, shown.Sub(last[key]), 5*time.Minute+time.Duration(float64(rest)*(1-yearsJitter)), "%s: attempt %d came too early", key, n+1)
			}
			for _, said := range y.told[key] {
				if said.at.Before(r.At) && said.attempt == tries[key]+1 {
					require.False(y.t, shown.Before(said.notBefore), "%s: tried at %s, it was not due before %s", key, shown, said.notBefore)
				}
			}
			require.Equal(y.t, iotda.SubtaskFail, r.From, key)
			require.Empty(y.t, r.Busy, key)
			require.True(y.t, r.Accepted)
			if before := open[r.Target]; before != "" {
				require.True(y.t, slices.ContainsFunc(y.settled[before], func(at time.Time) bool {
					return !at.Before(last[before].Add(-y.off(last[before]))) && !at.After(r.At)
				}), "%s was tried while its attempt in %s was open", key, before)
			}
			tries[key]++
			last[key], open[r.Target] = shown, key
			require.LessOrEqual(y.t, tries[key], yearsMax, key)
			longest = max(longest, tries[key])
		}
		y.t.Logf("%s: %d targets tried, %d times in all, at most %d times each", s.name, len(tries), len(s.e.Retries()), longest)
		require.NotEmpty(y.t, tries)
	}
}

// ticksHold: every tick that the oracle counts was swept, made up for, or skipped; once, but for
// those that the ledger's clock went over twice because it was set.
func (y *era) ticksHold() {
	for i, o := range y.oracles {
		rows := slices.SortedFunc(maps.Values(y.ticks[i]), func(a, b store.Tick) int { return a.Tick.Compare(b.Tick) })
		rows = slices.DeleteFunc(rows, func(row store.Tick) bool { return row.Finished.IsZero() }) // a later one has to stand for it
		due := o.ticks(y.begun[i], rows[len(rows)-1].Tick)
		covered := make([]int, len(due))
		ran, missed, skipped := 0, 0, 0
		for _, row := range rows {
			at, found := slices.BinarySearchFunc(due, row.Tick, time.Time.Compare)
			require.True(y.t, found, "%s: a sweep at %s, when no tick is due", y.sites[i].name, row.Tick.In(o.zone))
			require.GreaterOrEqual(y.t, at, row.Missed)
			for j := at - row.Missed; j <= at; j++ {
				covered[j]++
			}
			if missed += row.Missed; row.Result == "skipped" {
				require.NotEmpty(y.t, row.Why)
				skipped++
			} else {
				ran++
			}
		}
		twice := 0
		for j, n := range covered {
			require.Positive(y.t, n, "%s: nothing is said of the tick at %s", y.sites[i].name, due[j].In(o.zone))
			if n > 1 {
				twice += n - 1
				require.True(y.t, y.disturbed(due[j]), "%s: the tick at %s is counted %d times", y.sites[i].name, due[j].In(o.zone), n)
			}
		}
		y.t.Logf("%s: %d ticks: %d swept, %d skipped, %d made up for or skipped with a later one, %d counted twice after the clock was set back", y.sites[i].name, len(due), ran, skipped, missed, twice)
		require.Equal(y.t, len(due), ran+skipped+missed-twice)
	}
}

// disturbed tells whether the ledger's clock may have shown the time more than once.
func (y *era) disturbed(at time.Time) bool {
	for j, s := range y.settings[1:] {
		before := y.settings[j].off
		reach := max(before.Abs(), s.off.Abs()) + 24*time.Hour
		if before != s.off && at.Sub(s.at).Abs() < reach {
			return true
		}
	}
	return false
}
