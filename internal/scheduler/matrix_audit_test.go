package scheduler_test

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// superseded tells whether a newer task of the type has the device at a time.
func (m *matrix) superseded(key target, at time.Time) bool {
	i := slices.IndexFunc(m.tasks, func(t emulator.Task) bool { return t.ID == key.task })
	return slices.ContainsFunc(m.tasks, func(t emulator.Task) bool {
		return t.Type == m.tasks[i].Type && t.Created.After(m.tasks[i].Created) && t.Created.Before(at) &&
			slices.ContainsFunc(t.Devices, func(d emulator.Device) bool { return d.ID == key.device })
	})
}

// fresh is how old a read may be when a retry arrives, and some time for it to get there.
const fresh = 31 * time.Second

// neverForbidden holds every retry that arrived against what it must not touch.
func (m *matrix) neverForbidden() {
	calls := m.e.Calls()
	for _, c := range calls {
		if c.Op != "RetryBatchTask" {
			continue
		}
		require.True(m.t, m.window.open(c.At), "a retry at %s", c.At)
		require.False(m.t, c.Code == "IOTDA.014217" && c.Fault == "", "the task was in no state to be retried")
		if !slices.Contains(c.Targets, emulator.NotAskedFor) { // which is in no list but by the platform's own lie
			require.LessOrEqual(m.t, c.At.Sub(c.Read), fresh, "by a read that was too old")
		}
		for _, device := range c.Targets {
			if key := (target{"prod", c.TaskID, device}); m.superseded(key, c.At.Add(-fresh)) {
				require.True(m.t, m.halfListed(calls[:c.N]), "%v is superseded", key)
			}
		}
	}
	for _, r := range m.e.Retries() {
		if r.Target == emulator.NotAskedFor { // see above
			continue
		}
		require.True(m.t, r.TaskStatus.Retryable(), "%s of a task that is %s", r.Target, r.TaskStatus)
		require.Equal(m.t, iotda.SubtaskFail, r.From, r.Target)
		require.Empty(m.t, r.Busy, "%s was retried in task %s while it was in motion in another", r.Target, r.TaskID)
	}
	m.neverLocked(calls)
}

// neverLocked: five refusals in a row would lock the key. Calls that are in flight with a key which
// had been accepted may be refused together, up to the connection's concurrency of 4.
func (m *matrix) neverLocked(calls []emulator.Call) {
	var bursts, row []time.Time
	last := time.Time{}
	for _, c := range calls {
		if c.Status != http.StatusUnauthorized {
			row = nil
			continue
		}
		if c.At.Sub(last) > time.Second {
			bursts = append(bursts, c.At)
		}
		row = slices.DeleteFunc(append(row, c.At), func(at time.Time) bool { return c.At.Sub(at) >= 5*time.Minute })
		m.refusals, last = max(m.refusals, len(row)), c.At
	}
	for i := 2; i < len(bursts); i++ {
		require.Greater(m.t, bursts[i].Sub(bursts[i-2]), 5*time.Minute, "three refusals of the key within 5 minutes, one after the other")
	}
	require.Less(m.t, m.refusals, 5, "refusals in a row within 5 minutes")
}

// halfListed tells whether the list of tasks that was read last left out the newest one: nobody
// can know what a list does not say.
func (m *matrix) halfListed(calls []emulator.Call) bool {
	for _, c := range slices.Backward(calls) {
		if c.Op == "ListBatchTasks" && c.Status == 200 && c.Query.Get("task_type") == string(iotda.FirmwareUpgrade) && c.Query.Get("app_id") == "" {
			return c.Fault == emulator.FaultMissingRow || c.Fault == emulator.FaultOtherInstance
		}
	}
	return false
}

// agrees holds the ledger against what the platform did and could have done.
func (m *matrix) agrees() {
	require.Empty(m.t, m.untrue, "what was said to have recovered")
	accepted, possible := m.tries(), m.possibleTries()
	lies, alone := map[string]int{}, map[target]bool{}
	for _, c := range m.e.Calls() {
		if c.Op == "ShowBatchTask" && c.Status == 404 {
			lies[c.TaskID]++
		}
		if c.Op == "RetryBatchTask" && c.Status == 400 && len(c.Targets) == 1 {
			alone[target{"prod", c.TaskID, c.Targets[0]}] = true
		}
	}
	for key, d := range m.fates {
		r, tries := m.known[key], accepted[key.task+" "+key.device]
		sub, _ := m.e.Subtask(key.task, key.device)
		require.LessOrEqual(m.t, possible[key], 3, "%v", key)
		require.LessOrEqual(m.t, tries, r.Counted, "%v: an attempt that happened is not counted", key)
		require.LessOrEqual(m.t, r.Counted, 3, "%v", key)
		require.Equal(m.t, r.Refused, r.Refused && alone[key], "%v", key)
		switch failedAtFirst := d.Status == iotda.SubtaskFail || tries > 0; {
		case !failedAtFirst, r.Refused, d.Fate.Message == "Unsupported package type", m.superseded(key, time.Now()):
		case d.Fate.Upgrade > 50*time.Hour && sub.Status.InMotion():
			require.Equal(m.t, policy.Gone, r.State, "%v: it has had no outcome", key)
		case sub.Status == iotda.SubtaskSuccess && r.State == policy.Gone && lies[key.task] > 1: // and so the platform said
		case sub.Status == iotda.SubtaskSuccess:
			require.Equal(m.t, policy.Recovered, r.State, "%v has recovered", key)
		default:
			require.Equal(m.t, iotda.SubtaskFail, sub.Status, "%v", key)
			require.Equal(m.t, 3, r.Counted, "%v was left behind, and is %s", key, r.State)
		}
		require.True(m.t, r.State != policy.Recovered || sub.Status == iotda.SubtaskSuccess, "%v: recovered, and is %s", key, sub.Status)
	}
}

// possibleTries counts the calls that may have retried a target by all that came back: nothing,
// or anything but a refusal in the platform's own words.
func (m *matrix) possibleTries() map[target]int {
	tries := map[target]int{}
	for _, c := range m.posts() {
		if refused := slices.Contains([]int{400, 401, 403, 404, 413}, c.Status); c.Status == 429 || refused && c.Code != "" {
			continue
		}
		for _, device := range c.Targets {
			tries[target{"prod", c.TaskID, device}]++
		}
	}
	return tries
}

// figures are the sums over all simulations.
type figures struct {
	of                                                             string
	mu                                                             sync.Mutex
	runs, calls, faulty, posts, targets, accepted, recovered, most int
	refusals, possible, counted, exhausted, refused, gone          int
	faults                                                         map[emulator.Fault]int
}

func newFigures(of string) *figures { return &figures{of: of, faults: map[emulator.Fault]int{}} }

func (f *figures) add(m *matrix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
	for _, c := range m.e.Calls() {
		f.calls++
		if c.Fault != "" {
			f.faulty++
			f.faults[c.Fault]++
		}
	}
	f.posts += len(m.posts())
	f.refusals = max(f.refusals, m.refusals)
	for _, n := range m.tries() {
		f.accepted += n
	}
	possible := m.possibleTries()
	for _, n := range possible {
		f.possible += n
		f.most = max(f.most, n)
	}
	for key, r := range m.known {
		f.counted += r.Counted
		f.targets += min(r.Counted, 1)
		switch sub, _ := m.e.Subtask(key.task, key.device); {
		case r.State == policy.Recovered:
			f.recovered++
		case r.Refused:
			f.refused++
		case r.State == policy.Gone:
			f.gone++
		case sub.Status == iotda.SubtaskFail && r.Counted == 3:
			f.exhausted++
		}
	}
}

func (f *figures) print(t *testing.T) {
	t.Logf("%s: %d simulations, %d calls, %d of them faulty, %d retry calls", f.of, f.runs, f.calls, f.faulty, f.posts)
	t.Logf("%d targets tried: %d retries accepted, %d accepted or possibly accepted, %d attempts counted in the ledger", f.targets, f.accepted, f.possible, f.counted)
	t.Logf("%d recovered, %d exhausted, %d refused by the platform, %d without an outcome; most tries of one target: %d; most refusals of the key in a row: %d within 5 minutes", f.recovered, f.exhausted, f.refused, f.gone, f.most, f.refusals)
	for _, fault := range slices.Sorted(maps.Keys(f.faults)) {
		t.Logf("%7d %s", f.faults[fault], fault)
	}
}
