package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

// TestNothingIsSentInTheLastThirdOfALease also shows that what is in flight ends with it, and that a
// lease which the ledger renews late goes on.
func TestNothingIsSentInTheLastThirdOfALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &drive{shared: true, budget: "account", ttl: 15 * time.Second}
		require.False(t, d.mayPost(), "nobody has given it the budget")
		d.take(store.Acquired{Lease: store.Lease{Budget: "account", Token: 1}}, nil, time.Now().Add(-2*time.Second)) // the answer took 2 s
		time.Sleep(8*time.Second - time.Millisecond)
		require.True(t, d.mayPost())
		call, end := d.during(t.Context())
		defer end()
		time.Sleep(time.Millisecond)
		require.False(t, d.mayPost())
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		require.NoError(t, call.Err())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, call.Err(), context.Canceled)
		require.Nil(t, d.term())
		late, end := d.during(t.Context())
		defer end()
		require.Error(t, late.Err())

		d.renewed(time.Now(), time.Time{}, time.Now())
		require.True(t, d.mayPost())
		require.NotNil(t, d.term())
		d.lose()
		require.False(t, d.mayPost())
		require.Nil(t, d.term())
	})
}

func TestALeaseOfOneProcessAloneDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &drive{budget: "account", ttl: 15 * time.Second}
		d.take(store.Acquired{Lease: store.Lease{Budget: "account", Token: 1}}, nil, time.Now())
		time.Sleep(24 * time.Hour)
		require.True(t, d.mayPost())
		require.NoError(t, d.term().Err())
	})
}

func TestATimeWithoutASignOfLifeIsAGap(t *testing.T) {
	d := &drive{}
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	d.take(store.Acquired{At: at.Add(time.Hour), Before: store.Holding{Renewed: at}}, nil, time.Now())
	require.Equal(t, 30*time.Minute, d.lastGap().since(at.Add(30*time.Minute)))
	d.renewed(time.Now(), at.Add(time.Hour), at.Add(time.Hour+2*time.Minute))
	require.Equal(t, time.Hour, d.lastGap().since(at), "a minute more or less is none")
	d.renewed(time.Now(), at.Add(2*time.Hour), at.Add(time.Hour))
	require.Zero(t, d.lastGap().since(at), "the clock was put back: it may have been none")
}
