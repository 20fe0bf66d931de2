package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
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
// for some minutes of each day (with the race detector: of each sixth), most often about the edges
// of windows, and through each night in which a clock changes: to write a ledger on disk in every
// minute of two years takes most of an hour.
func TestTwoYearsOfTicksWindowsAndClockJumps(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", yearsSeed)
	synctest.Test(t, func(t *testing.T) {
		y := newEra(t)
		from := time.Now()
		to := from.AddDate(simulatedYears, 0, 0)
		if testing.Short() {
			to = from.AddDate(0, 3*simulatedYears, 0)
		}
		nights, every := y.nights(from, to), 24*time.Hour
		if withRace() {
			every = 6 * 24 * time.Hour
		}
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

// era is the two years, and what has been done in them.
type era struct {
	*estate
	rand    *rand.Rand
	oracles []*oracle // by site
	begun   []time.Time
	ticks   []map[int64]store.Tick // by site: kept from what retention deletes
	kept    time.Time
	minutes time.Duration // of uptime

	mu       sync.Mutex
	settings []setting
	pauses   []pausing
	told     map[string][]told // by target: what was said of when it is due
	settled  map[string][]time.Time
	setAt    int // set the clock in the n-th call from now
	setTo    time.Duration
	tasks    [][]string
}

// setting is a moment at which somebody set the clock, and how far off it was from then on.
type setting struct {
	at  time.Time
	off time.Duration
}

// pausing is a pause that a person made, until the ledger's clock shows a time or it is ended.
type pausing struct {
	store.Pause
	from, ended time.Time
}

type told struct {
	at, notBefore time.Time
	attempt       int
}

func newEra(t *testing.T) *era {
	sleepTo(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	y := &era{
		estate: newEstate(t), rand: rand.New(rand.NewPCG(yearsSeed, 1)), oracles: newOracles(t),
		settings: []setting{{}}, told: map[string][]told{}, settled: map[string][]time.Time{},
	}
	y.clock = func() time.Time { return time.Now().Add(y.off(time.Now())) }
	y.watch = y.note
	for i, o := range y.oracles {
		name := []string{"berlin", "new-york", "lord-howe"}[i]
		s := y.add(name, fmt.Sprintf("%032x", i+1), emulator.Options{Latency: yearsLatency, Upgrade: 4 * time.Minute})
		s.e.SetFault(y.hook)
		p := newPolicy(name)
		p.Connections = []string{name}
		p.CatchUp = []time.Duration{time.Hour, 6 * time.Hour, 10 * time.Minute}[i]
		p.Tasks.MaxAge = 50 * 24 * time.Hour
		if i > 0 {
			p.Tasks.Types = p.Tasks.Types[:1]
		}
		p.Attempts.Max, p.Attempts.GiveUpAfter = yearsMax, 40*24*time.Hour
		p.Attempts.Backoff = policy.Backoff{Initial: 20 * time.Minute, Multiplier: 2, Max: 12 * time.Hour, Jitter: yearsJitter}
		o.apply(t, p)
		y.policies = append(y.policies, p)
		y.ticks = append(y.ticks, map[int64]store.Tick{})
		y.tasks = append(y.tasks, nil)
	}
	return y
}

// nights lists when a clock changes in any of the zones.
func (y *era) nights(from, to time.Time) (nights []time.Time) {
	for _, o := range y.oracles {
		nights = append(nights, o.changes(from, to)...)
	}
	slices.SortFunc(nights, time.Time.Compare)
	return nights
}

// moment picks a time of the day: shortly before a window of any place opens or closes, in one,
// or any.
func (y *era) moment(day time.Time) time.Time {
	at := day.Add(time.Duration(y.rand.IntN(20*3600)) * time.Second)
	if at.Before(time.Now()) {
		at = time.Now()
	}
	o := *y.oracles[y.rand.IntN(len(y.oracles))]
	o.blackouts = nil
	kind, open := y.rand.IntN(10), o.open(at)
	if kind < 1 {
		return at
	}
	for range 24 * 60 {
		next := at.Add(time.Minute)
		if is := o.open(next); kind < 5 && is != open || kind >= 5 && is {
			break
		}
		at = next
	}
	if early := at.Add(-time.Duration(y.rand.IntN(300)) * time.Second); early.After(time.Now()) {
		at = early
	}
	return at
}

// up runs the daemon for some time, with what may happen meanwhile.
func (y *era) up(d time.Duration) {
	y.minutes += d
	y.mu.Lock()
	right := y.settings[len(y.settings)-1].off == 0
	switch n := y.rand.IntN(20); {
	case right && n == 0: // the clock is set while the daemon is down
		y.settings = append(y.settings, setting{time.Now(), y.jump()})
	case right && n <= 2: // in the middle of a call
		y.setAt, y.setTo = 1+y.rand.IntN(20), y.jump()
	case !right && n < 6: // and put right again
		y.settings = append(y.settings, setting{time.Now(), 0})
	case !right && n < 12:
		y.setAt, y.setTo = 1+y.rand.IntN(20), 0
	}
	y.mu.Unlock()
	y.with(func(s *scheduler.Scheduler, ledger *store.Store) {
		y.people(ledger)
		for i, p := range y.policies {
			seen, err := ledger.Baseline(y.t.Context(), p.Name, p.Connections[0])
			require.NoError(y.t, err)
			if len(y.begun) == i {
				y.begun = append(y.begun, seen)
			}
		}
		ctx, cancel := context.WithTimeout(y.t.Context(), d)
		defer cancel()
		require.NoError(y.t, s.Run(ctx))
		if time.Since(y.kept) < 30*24*time.Hour && d < time.Hour {
			return
		}
		y.kept = time.Now()
		for i, p := range y.policies {
			rows, err := ledger.Ticks(y.t.Context(), p.Name, p.Connections[0])
			require.NoError(y.t, err)
			for _, row := range rows {
				y.ticks[i][row.Tick.Unix()] = row
			}
		}
	})
}

// jump picks how far off a clock is set: by less than what is borne, or by hours.
func (y *era) jump() time.Duration {
	d := time.Duration(10+y.rand.IntN(280)) * time.Second
	if y.rand.IntN(3) > 0 {
		d = time.Duration(6*60+y.rand.IntN(8*3600)) * time.Second
	}
	if y.rand.IntN(2) == 0 {
		d = -d
	}
	return d
}

func (y *era) set(off time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.settings = append(y.settings, setting{time.Now(), off})
}

// off gives how far off the ledger's clock is at a moment.
func (y *era) off(at time.Time) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, s := range slices.Backward(y.settings) {
		if !s.at.After(at) {
			return s.off
		}
	}
	return 0
}

func (y *era) hook(emulator.Call) emulator.Fault {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.setAt--; y.setAt == 0 {
		y.settings = append(y.settings, setting{time.Now(), y.setTo})
		if y.setTo != 0 && y.rand.IntN(2) == 0 { // somebody notices soon
			y.setAt, y.setTo = 1+y.rand.IntN(30), 0
		}
	}
	return ""
}

// people pause, and end pauses.
func (y *era) people(ledger *store.Store) {
	now := y.clock()
	for i := range y.pauses {
		p := &y.pauses[i]
		if !p.ended.IsZero() || !p.Until.IsZero() || y.rand.IntN(6) > 0 {
			continue
		}
		_, _, err := ledger.Resume(y.t.Context(), p.Pause, store.Action{Who: "ops", What: "resume"})
		require.NoError(y.t, err)
		for j := range y.pauses { // a resume ends every pause of the scope
			if q := &y.pauses[j]; q.ended.IsZero() && q.Scope == p.Scope && q.Identity == p.Identity && q.Policy == p.Policy && q.TaskID == p.TaskID {
				q.ended = time.Now()
			}
		}
	}
	if y.rand.IntN(12) > 0 {
		return
	}
	i := y.rand.IntN(len(y.sites))
	s := y.sites[i]
	p := store.Pause{Who: "ops", Why: "test"}
	switch y.rand.IntN(3) {
	case 0:
		p.Scope, p.Connection, p.Identity = store.PauseConnection, s.name, s.identity()
	case 1:
		p.Scope, p.Policy = store.PausePolicy, s.name
	default:
		if len(y.tasks[i]) == 0 {
			return
		}
		p.Scope, p.ProjectID, p.TaskID = store.PauseTask, s.project, y.tasks[i][len(y.tasks[i])-1]
	}
	if y.rand.IntN(2) == 0 {
		p.Until = now.Add(time.Duration(1+y.rand.IntN(72)) * time.Hour).Truncate(time.Microsecond)
	}
	require.NoError(y.t, ledger.PauseNow(y.t.Context(), p, store.Action{Who: "ops", What: "pause"}))
	y.pauses = append(y.pauses, pausing{Pause: p, from: time.Now()})
}

// campaigns begin every few weeks, and end.
func (y *era) campaigns() {
	for i, s := range y.sites {
		if y.rand.IntN(25) > 0 && len(y.tasks[i]) > 0 {
			continue
		}
		task := emulator.Task{Type: iotda.FirmwareUpgrade}
		if i == 0 && y.rand.IntN(2) == 0 {
			task.Type = iotda.SoftwareUpgrade
		}
		for n := range 60 {
			if y.rand.IntN(5) > 1 {
				continue
			}
			fate := emulator.Fate{RecoverAt: y.rand.IntN(yearsMax + 1), Message: "Connection lost during downloading process", Upgrade: time.Duration(1+y.rand.IntN(30)) * time.Minute}
			switch y.rand.IntN(10) {
			case 0:
				fate = emulator.Fate{Message: "Unsupported package type"}
			case 1:
				fate.Online = time.Now().Add(time.Duration(y.rand.IntN(20*24)) * time.Hour)
			}
			task.Devices = append(task.Devices, emulator.Device{ID: fmt.Sprintf("d-%02d", n), Status: iotda.SubtaskFail, Fate: fate})
		}
		y.tasks[i] = append(y.tasks[i], must(s.e.AddTask(task)))
		if n := len(y.tasks[i]); n > 3 {
			s.e.RemoveTask(y.tasks[i][n-4])
		}
		if n := len(y.tasks[i]); n > 1 && y.rand.IntN(4) == 0 {
			s.e.StopTask(y.tasks[i][n-2])
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

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
				scoped := p.Scope == store.PauseConnection && p.Connection == s.name || p.Scope == store.PausePolicy && p.Policy == s.name || p.Scope == store.PauseTask && p.TaskID == c.TaskID
				holds := !c.At.Before(p.from) && (p.ended.IsZero() || c.At.Before(p.ended)) && (p.Until.IsZero() || shown.Before(p.Until))
				require.False(y.t, scoped && holds, "%s: a retry at %s while paused: %+v", s.name, c.At, p)
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
