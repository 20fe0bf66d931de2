package iotdaclient_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotdaclient"
)

// TestRetriesGoBeforeReadsThatWaitLonger: what is read grows old, so what is decided goes first.
func TestRetriesGoBeforeReadsThatWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		id := addTask(t, w.e, 3)
		budget := iotdaclient.NewBudget(1, 1)
		c := w.paced(t, budget)
		var mu sync.Mutex
		var order []string
		done := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		var all sync.WaitGroup
		all.Go(func() { // takes the only token
			require.NoError(t, list(t.Context(), c))
			done("first read")
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				require.NoError(t, list(t.Context(), c))
				done("read")
			})
		}
		synctest.Wait()
		for range 2 {
			all.Go(func() {
				free, err := c.Acquire(t.Context())
				require.NoError(t, err)
				defer free()
				_, e := c.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
				require.Nil(t, e)
				done("retry")
			})
		}
		all.Wait()
		require.Equal(t, []string{"first read", "retry", "retry", "read", "read", "read"}, order)
	})
}

// TestARetryGetsTheNextFreeSlot: before reads that have waited for one longer.
func TestARetryGetsTheNextFreeSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		id := addTask(t, w.e, 3)
		c := w.paced(t, iotdaclient.NewBudget(1000, 1000))
		require.NoError(t, list(t.Context(), c)) // proves the key
		before := len(w.e.Calls())
		var all sync.WaitGroup
		for range 12 { // the first four take all slots
			all.Go(func() { require.NoError(t, list(t.Context(), c)) })
		}
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			_, err := c.Acquire(gone)
			require.ErrorIs(t, err, context.Canceled)
		})
		for range 2 {
			all.Go(func() {
				free, err := c.Acquire(t.Context())
				require.NoError(t, err)
				defer free()
				_, e := c.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
				require.Nil(t, e)
			})
		}
		synctest.Wait()
		cancel() // one that waits no more takes no slot with it
		all.Wait()
		var ops []string
		for _, call := range w.e.Calls()[before:] {
			ops = append(ops, call.Op)
		}
		require.Len(t, ops, 14)
		require.NotContains(t, ops[:4], "RetryBatchTask")
		require.Contains(t, ops[4:8], "RetryBatchTask")
		require.NotContains(t, ops[8:], "RetryBatchTask")
	})
}

// TestConnectionsOfOneBudgetTakeTurns: the one that has a thousand calls to make leaves the other
// its share.
func TestConnectionsOfOneBudgetTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		budget := iotdaclient.NewBudget(10, 1)
		busy, quiet := w.paced(t, budget), w.paced(t, budget)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					_ = list(ctx, busy)
				}
			})
		}
		time.Sleep(10 * time.Second)
		begun := time.Now()
		require.NoError(t, list(t.Context(), quiet))
		require.Less(t, time.Since(begun), time.Second, "behind at most one call for each of the other's slots")
		stop()
		all.Wait()
	})
}

// TestABudgetThatIsSetKeepsWhatItHasLearnt: a reload does not make it forget that the platform
// throttles.
func TestABudgetThatIsSetKeepsWhatItHasLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{PerSecond: 1})
		budget := iotdaclient.NewBudget(40, 40)
		c := w.paced(t, budget)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { _ = list(t.Context(), c) })
		}
		all.Wait()
		slow := budget.PerSecond()
		require.Less(t, slow, 40.0)
		budget.Set(80, 80)
		require.InDelta(t, slow, budget.PerSecond(), 0.001)
		budget.Set(0.5, 1)
		require.LessOrEqual(t, budget.PerSecond(), 0.5, "but it is never faster than it may be")
	})
}

// paced gives a client with a budget of four calls at once.
func (w *world) paced(t *testing.T, budget *iotdaclient.Budget) *iotdaclient.Client {
	c, err := iotdaclient.New(iotdaclient.Options{
		Name: "prod", Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project, Credentials: key(iotdaclient.SigningDerived),
		Budget: budget, Guards: iotdaclient.NewGuards(), Concurrency: 4, Timeout: 10 * time.Second, Transport: inMemory{w.e, nil},
		Backoff: iotdaclient.Backoff{Initial: time.Second, Multiplier: 2, Max: 10 * time.Second, MaxElapsed: time.Minute},
	})
	require.NoError(t, err)
	return c
}
