package main

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAReadinessCheckRunsOnceASecondHoweverOftenItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, broken := 0, errors.New("the disk is full")
		var now error
		s := &shared{check: func(context.Context) error {
			runs++ // one at a time
			time.Sleep(300 * time.Millisecond)
			return now
		}}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { require.NoError(t, s.ask(t.Context())) })
		}
		all.Wait()
		require.Equal(t, 1, runs, "those who ask at once share it")
		now = broken
		for range 1000 {
			require.NoError(t, s.ask(t.Context()))
			time.Sleep(999 * time.Microsecond)
		}
		require.Equal(t, 1, runs, "within a second it is not run again")
		time.Sleep(time.Millisecond)
		require.ErrorIs(t, s.ask(t.Context()), broken)
		require.ErrorIs(t, s.ask(t.Context()), broken)
		require.Equal(t, 2, runs)
	})
}

func TestWhoLeavesDoesNotEndACheckThatOthersWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{check: func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { require.ErrorIs(t, s.ask(leaving), context.Canceled) })
		synctest.Wait()
		all.Go(func() { require.NoError(t, s.ask(t.Context())) })
		synctest.Wait()
		leave()
		all.Wait()
	})
}

func TestACheckThatHangsHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{check: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		start := time.Now()
		require.ErrorIs(t, s.ask(t.Context()), context.DeadlineExceeded)
		require.Equal(t, sharedTimeout, time.Since(start))
	})
}
