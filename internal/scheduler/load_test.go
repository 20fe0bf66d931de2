package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

func TestAThrottlingPlatformLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newEstate(t)
		s := f.add("prod", project, emulator.Options{Latency: 30 * time.Millisecond, Upgrade: 4 * time.Minute, PerSecond: 10})
		s.budget = iotdaclient.NewBudget(50, 20)
		f.policies = []*policy.Policy{newPolicy("upgrades")}
		for i := range 150 {
			_, err := s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), ListTargets: true, Devices: failing(fmt.Sprintf("t%03d", i), 8, 1)})
			require.NoError(t, err)
		}
		f.with(func(s *scheduler.Scheduler, _ *store.Store) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
			defer cancel()
			require.NoError(t, s.Run(ctx))
		})
		tries := f.accepted()
		require.Len(t, tries, 150*8)
		for key, n := range tries {
			require.Equal(t, 1, n, "%v was tried twice", key)
			sub, _ := s.e.Subtask(key.task, key.device)
			require.Equal(t, iotda.SubtaskSuccess, sub.Status, "%v", key)
		}
		f.onlyFailedOnesOnceAtATime()
		require.Equal(t, 1200.0, f.outcomes("recovered"))
		all, refused := 0, 0
		made := s.e.Calls()
		for _, c := range made {
			if c.At.Sub(made[0].At) < 10*time.Second {
				continue
			}
			if all++; c.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		t.Logf("%d calls; %d of the %d after the first 10 s were throttled: %.1f %%", len(made), refused, all, 100*float64(refused)/float64(all))
		require.Greater(t, all, 300)
		require.Less(t, float64(refused), 0.1*float64(all))
	})
}

// TestReloadUnderLoad changes the policy, and which connections there are, 200 times in an hour
// of sweeps.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst, most = 4, 4, 5
		f, random := newEstate(t), rand.New(rand.NewPCG(4, 4))
		budget := iotdaclient.NewBudget(perSecond, burst)
		recoverAt := map[target]int{}
		for i := range 3 {
			s := f.add(string(rune('a'+i)), fmt.Sprintf("%032x", i+1), emulator.Options{Latency: 50 * time.Millisecond, Upgrade: 3 * time.Minute})
			s.budget = budget
			for n := range 3 {
				id := must(s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), Devices: failing(fmt.Sprintf("t%d", n), 40, n)}))
				for _, d := range failing(fmt.Sprintf("t%d", n), 40, n) {
					recoverAt[target{s.name, id, d.ID}] = n
				}
			}
		}
		closed := &oracle{zone: time.UTC, windows: []civil{{"*/5 * * * *", 2 * time.Minute}}}
		all := slices.Clone(f.sites)
		apply := func(s *scheduler.Scheduler, n, wanted int) (windowed bool) {
			p := newPolicy("upgrades")
			p.Hash, p.Connections = fmt.Sprint("version ", n), []string{"a", "b", "c"}
			p.Attempts.Max = most - n%3
			p.Attempts.Backoff = policy.Backoff{Initial: 4 * time.Minute, Multiplier: 1, Max: time.Hour}
			p.Limits = policy.Limits{TargetsPerSweep: []int{0, 50, 200}[n%3], InFlight: []int{0, 0, 90}[n%3], InFlightFor: time.Hour}
			schedule, err := policy.ParseSchedule([]string{"* * * * *", "*/2 * * * *"}[n%2], time.UTC)
			require.NoError(t, err)
			p.Schedule = schedule
			if windowed = wanted < 3; windowed { // else none
				for _, w := range closed.windows {
					window, err := policy.ParseWindow(w.start, w.duration, time.UTC)
					require.NoError(t, err)
					p.Windows = append(p.Windows, window)
				}
			}
			f.policies, f.sites = []*policy.Policy{p}, all[:1+wanted%3]
			setup := f.setup()
			s.Apply(setup)
			return windowed
		}
		var shut []span // while only the windowed policy applied
		f.with(func(s *scheduler.Scheduler, ledger *store.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			apply(s, 0, 5)
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			for n := range 200 {
				time.Sleep(time.Duration(1000+random.IntN(20_000)) * time.Millisecond)
				wanted := random.IntN(6)
				if n%2 == 1 {
					wanted = 5
				}
				if windowed := apply(s, n, wanted); windowed {
					shut = append(shut, span{from: time.Now()})
					time.Sleep(90 * time.Second)
				}
				if last := len(shut) - 1; last >= 0 && shut[last].to.IsZero() && n%2 == 1 {
					shut[last].to = time.Now().Add(-grace)
				}
			}
			apply(s, 201, 5)
			time.Sleep(150 * time.Minute)
			cancel()
			require.NoError(t, <-done)
			f.sites = all
			tries := f.accepted()
			for key, at := range recoverAt {
				site := all[key.connection[0]-'a']
				sub, _ := site.e.Subtask(key.task, key.device)
				known, err := ledger.Records(t.Context(), site.project, key.task, []string{key.device})
				require.NoError(t, err)
				require.Equal(t, tries[key], known[key.device].Counted, "%v", key)
				require.LessOrEqual(t, tries[key], most)
				if at > 0 {
					require.Equal(t, at, tries[key], "%v", key)
					require.Equal(t, iotda.SubtaskSuccess, sub.Status, "%v", key)
				} else {
					require.Equal(t, most, tries[key], "%v", key)
				}
			}
		})
		f.onlyFailedOnesOnceAtATime()
		made := calls(all...)
		neverFasterThan(t, made, perSecond, burst)
		inWindow := 0
		for _, c := range made {
			if c.Op == "RetryBatchTask" && slices.ContainsFunc(shut, func(s span) bool { return s.contains(c.At) }) {
				inWindow++
				require.True(t, closed.open(c.At), "a retry at %s, outside the windows of the policy that applied", c.At)
			}
		}
		retries := 0
		for _, n := range f.accepted() {
			retries += n
		}
		t.Logf("200 changes, %d calls, %d retries of %d targets, %d calls to retry under windows", len(made), retries, len(recoverAt), inWindow)
		require.Positive(t, inWindow)
	})
}

// grace is what calls in flight get when a policy is replaced.
const grace = 5 * time.Second

func TestAWrongKeyForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, random := newEstate(t), rand.New(rand.NewPCG(5, 5))
		f.secret = "wrong"
		p := newPolicy("upgrades")
		p.Schedule = must(policy.ParseSchedule("* * * * *", time.UTC))
		p.Connections = []string{"a", "b", "c"}
		f.policies = []*policy.Policy{p}
		for i, name := range p.Connections {
			s := f.add(name, fmt.Sprintf("%032x", i+1), emulator.Options{Latency: 50 * time.Millisecond})
			_, err := s.e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing("d", 5, 1)})
			require.NoError(t, err)
		}
		starts := 0
		plan := func() {
			beside := *f
			beside.start(store.Options{Path: f.path, Join: true}, func(s *scheduler.Scheduler, _ *store.Store) {
				reports, err := s.Plan(t.Context(), nil)
				require.NoError(t, err)
				require.Equal(t, scheduler.SweepFailed, reports[0].Result)
			})
			starts++
		}
		for begin := time.Now(); time.Since(begin) < time.Hour; starts++ {
			f.with(func(s *scheduler.Scheduler, _ *store.Store) {
				if random.IntN(3) == 0 {
					_, err := s.Sweep(t.Context(), nil)
					require.NoError(t, err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+random.IntN(300))*time.Second)
				defer cancel()
				done := make(chan error)
				go func() { done <- s.Run(ctx) }()
				for range random.IntN(4) {
					time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
					plan()
				}
				require.NoError(t, <-done)
			})
			time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
		}
		refused := slices.DeleteFunc(calls(f.sites...), func(c emulator.Call) bool { return c.Status != http.StatusUnauthorized })
		for i := 2; i < len(refused); i++ {
			require.Greater(t, refused[i].At.Sub(refused[i-2].At), 5*time.Minute, "three refusals within 5 minutes")
		}
		t.Logf("%d starts, sweeps and plans of three connections: %d refusals in an hour", starts, len(refused))
		require.Greater(t, len(refused), 15, "it is tried again when it may be")
	})
}
