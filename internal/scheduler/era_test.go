package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

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
		_, err := ledger.Resume(y.t.Context(), store.Action{Who: "ops", What: "resume"}, p.Pause)
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
	_, err := ledger.PauseNow(y.t.Context(), store.Action{Who: "ops", What: "pause"}, p)
	require.NoError(y.t, err)
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
