package scheduler_test

import (
	"cmp"
	"flag"
	"fmt"
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

var wholeMatrix = flag.Bool("whole-matrix", false, "run every fault on every operation, and then by chance until that is 100,000 calls")

const (
	callsOfWholeMatrix = 100_000
	faulty             = 2 * time.Hour  // how long a fault goes on
	faultyByChance     = 10 * time.Hour // how long faults come by chance
	quiet              = 20 * time.Hour // and then all is well
)

// telling are the pairs that are run where not all are: those that leave most in doubt.
var telling = map[string]bool{
	"ListBatchTasks/clock": true, "/401-APIGW.0301": true, "/other-instance": true,
	"ShowBatchTask/rows-move": true, "ShowBatchTask/rows-enter": true, "ShowBatchTask/missing-row": true, "ShowBatchTask/gone": true,
	"RetryBatchTask/late": true, "RetryBatchTask/throttled": true, "RetryBatchTask/504-applied": true, "RetryBatchTask/400-IOTDA.000006": true,
}

// TestFaultMatrix has every fault happen to every operation, one at a time and then all by chance,
// and holds the ledger and every call against the platform's own record.
func TestFaultMatrix(t *testing.T) {
	single, chance := newFigures("one at a time"), newFigures("by chance")
	var pairs []emulator.Step
	for _, fault := range emulator.AllFaults() {
		for _, op := range emulator.Operations() {
			if fault.On(op) {
				pairs = append(pairs, emulator.Step{Op: op, Fault: fault})
			}
		}
	}
	for _, fault := range []emulator.Fault{emulator.Refusal(401, "APIGW.0301"), emulator.Bare(503), emulator.FaultOtherInstance, emulator.FaultCut, emulator.FaultThrottled} {
		pairs = append(pairs, emulator.Step{Fault: fault}) // on every operation
	}
	t.Run("one at a time", func(t *testing.T) {
		for i, pair := range pairs {
			if !*wholeMatrix && (!telling[pair.Op+"/"+string(pair.Fault)] || withRace() && pair.Op != "RetryBatchTask") {
				continue
			}
			t.Run(cmp.Or(pair.Op, "all")+"/"+string(pair.Fault), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := newMatrix(t, uint64(i), pair.Op == "ShowApplications" || pair.Op == "ListDevices" || pair.Op == "ShowDevice")
					if i%2 == 0 { // else there are open attempts when it begins
						pair.From = time.Now().Add(20 * time.Minute)
					}
					pair.Until = time.Now().Add(faulty)
					m.run(emulator.Schedule(pair), faulty)
					single.add(m)
				})
			})
		}
	})
	mostly := slices.Concat(emulator.AllFaults(), emulator.Faults(), emulator.Faults()) // more of those that leave something unknown
	for seed := 0; seed < 2 || *wholeMatrix && chance.calls < callsOfWholeMatrix; seed += 2 {
		t.Run(fmt.Sprint("by chance ", seed), func(t *testing.T) {
			for i := seed; i < seed+2; i++ {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						m := newMatrix(t, uint64(i), i%2 == 1)
						m.run(emulator.Chance(uint64(i), emulator.Odds{"": 0.15, "RetryBatchTask": 0.6}, mostly...), faultyByChance)
						chance.add(m)
					})
				})
			}
		})
		if t.Failed() {
			break
		}
	}
	single.print(t)
	chance.print(t)
}

// matrix is one simulation: tasks with devices of all fates, under a policy with windows.
type matrix struct {
	*world
	window oracle
	fates  map[target]emulator.Device // of what may be retried
	tasks  []emulator.Task
	pokes  map[string]string // by task, a device with which a person changes it
	known  map[target]store.Record

	mu       sync.Mutex
	refusals int      // of the key, within 5 minutes
	untrue   []string // targets of which it was said that they have recovered
}

func newMatrix(t *testing.T, seed uint64, lookups bool) *matrix {
	w := newWorld(t)
	w.e = emulator.New(emulator.Options{
		ProjectID: project, Region: "cn-north-4", Keys: map[string]string{"key": "secret"}, Latency: 10 * time.Millisecond, Upgrade: 4 * time.Minute,
		Seed: seed, Huge: 1 << 20, Apps: []iotda.App{{ID: "a1", Name: "blue"}, {ID: "a2", Name: "red"}},
	})
	m := &matrix{world: w, fates: map[target]emulator.Device{}, pokes: map[string]string{}, known: map[target]store.Record{}}
	m.window = oracle{zone: time.UTC, windows: []civil{{"0 * * * *", 40 * time.Minute}}}
	p := w.policies[0]
	p.Windows = []policy.Window{must(policy.ParseWindow("0 * * * *", 40*time.Minute, time.UTC))}
	p.Attempts.StaleAfter, p.Attempts.GiveUpAfter = 4*time.Hour, 0
	p.Targets.RequireOnline = lookups
	if lookups {
		p.Tasks.AppNames = []string{"blue"}
	}
	w.watch = m.isTrue
	m.campaigns()
	return m
}

// isTrue looks at the platform when an attempt is said to have recovered.
func (m *matrix) isTrue(e scheduler.Event) {
	if e.Kind != scheduler.Settled || e.State != policy.Recovered || e.DeviceID == emulator.NotAskedFor {
		return
	}
	if sub, _ := m.e.Subtask(e.TaskID, e.DeviceID); sub.Status != iotda.SubtaskSuccess {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.untrue = append(m.untrue, fmt.Sprintf("%s %s is %s", e.TaskID, e.DeviceID, sub.Status))
	}
}

// campaigns adds the tasks that are there at the beginning.
func (m *matrix) campaigns() {
	hour := func(n int) time.Time { return time.Now().Add(-time.Duration(n) * time.Hour) }
	own := func(prefix string, recoverAt ...int) (devices []emulator.Device) {
		for _, at := range recoverAt {
			devices = append(devices, failing(fmt.Sprint(prefix, "-", at), 30, at)...)
		}
		return devices
	}
	bad := func(prefix string) []emulator.Device {
		return slices.Concat(failingWith("Unsupported package type", prefix+"-permanent", 4), refusing(failing(prefix+"-refused", 2, 1), 0, 1))
	}
	special := func(prefix string, n int, status iotda.SubtaskStatus, fate emulator.Fate) (devices []emulator.Device) {
		for i := range n {
			devices = append(devices, emulator.Device{ID: fmt.Sprintf("%s-%05d", prefix, i), Status: status, Fate: fate})
		}
		return devices
	}
	// An older campaign over some devices of the next, which is read by the shortcut once all of it
	// has ended; the third is never at rest.
	m.campaign(emulator.Task{Type: iotda.FirmwareUpgrade, Created: hour(3), Devices: slices.Concat(failing("fw-1", 10, 1), own("old", 1))})
	m.campaign(emulator.Task{Type: iotda.FirmwareUpgrade, Created: hour(2), Devices: slices.Concat(own("fw", 1, 2, 3, 0), bad("fw"), special("fine", 6, iotda.SubtaskSuccess, emulator.Fate{}))})
	m.campaign(emulator.Task{Type: iotda.SoftwareUpgrade, Created: hour(2), ListTargets: true, Devices: slices.Concat(
		failing("fw-1", 20, 2), own("sw", 1), bad("sw"),
		special("long", 2, iotda.SubtaskFail, emulator.Fate{RecoverAt: 2, Upgrade: 3 * time.Hour}),
		special("waits", 1, iotda.SubtaskFail, emulator.Fate{Upgrade: 100 * time.Hour}),
		special("offline", 6, iotda.SubtaskFail, emulator.Fate{RecoverAt: 1, Online: time.Now().Add(5 * time.Hour)}),
		special("works", 4, iotda.SubtaskProcessing, emulator.Fate{RecoverAt: 1}),
		special("stopped", 2, iotda.SubtaskStopped, emulator.Fate{RecoverAt: 1}))})
	for _, d := range special("offline", 6, "", emulator.Fate{}) {
		m.e.SetOnline(d.ID, false)
	}
	m.add(emulator.Task{App: "a1", Type: iotda.FirmwareUpgrade, Status: iotda.TaskStopped, Created: hour(4), Devices: failing("ended", 5, 1)})
	m.add(emulator.Task{App: "a1", Type: "moduleUpgrade", Created: hour(1), Devices: failing("module", 5, 1)})
	for i := range 52 { // a second page
		m.add(emulator.Task{App: "a1", Type: iotda.SoftwareUpgrade, Created: hour(50), Devices: special(fmt.Sprint("done-", i), 1, iotda.SubtaskSuccess, emulator.Fate{})})
	}
}

// campaign adds a task that may be retried.
func (m *matrix) campaign(task emulator.Task) {
	poke := fmt.Sprint("poke-", len(m.tasks))
	task.App = "a1"
	task.Devices = append(task.Devices, emulator.Device{ID: poke, Status: iotda.SubtaskSuccess, Fate: emulator.Fate{Message: "Unsupported package type"}})
	task.ID = m.add(task)
	m.tasks = append(m.tasks, task)
	m.pokes[task.ID] = poke
	for _, d := range task.Devices {
		m.fates[target{"prod", task.ID, d.ID}] = d
	}
}

// run lets faults happen for some time, and then none.
func (m *matrix) run(faults func(emulator.Call) emulator.Fault, while time.Duration) {
	m.e.SetFault(faults)
	m.start(store.Options{}, func(s *scheduler.Scheduler, ledger *store.Store) {
		m.runs(s, func() {
			time.Sleep(30 * time.Minute)
			m.campaign(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now(), Devices: slices.Concat(failing("fw-3", 10, 1), failing("new", 55, 1))})
			m.watching(ledger, while-30*time.Minute)
			m.e.SetFault(nil)
			for task, device := range m.pokes { // a task that was refused twice is left until it changes
				m.e.SetSubtask(task, device, iotda.SubtaskFail)
			}
			m.watching(ledger, quiet)
		})
		m.read(ledger)
		totals := must(ledger.Totals(m.t.Context()))
		require.Zero(m.t, totals.Open, "attempts are stuck")
	})
	m.neverForbidden()
	m.agrees()
}

// watching lets time pass, and looks for attempts that do not come to an end.
func (m *matrix) watching(ledger *store.Store, d time.Duration) {
	online := time.Now().Truncate(24 * time.Hour).Add(5 * time.Hour)
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(30 * time.Minute)
		for at, n := range must(ledger.OldestOpen(m.t.Context())) {
			require.Less(m.t, time.Since(n), m.policies[0].Attempts.StaleAfter+2*time.Hour, at)
		}
		for i := range 6 {
			m.e.SetOnline(fmt.Sprintf("offline-%05d", i), time.Now().After(online))
		}
	}
}

// read reads what the ledger has of every target.
func (m *matrix) read(ledger *store.Store) {
	for _, task := range m.tasks {
		devices := []string{emulator.NotAskedFor}
		for _, d := range task.Devices {
			devices = append(devices, d.ID)
		}
		for device, r := range must(ledger.Records(m.t.Context(), project, task.ID, devices)) {
			m.known[target{"prod", task.ID, device}] = r
		}
	}
}
