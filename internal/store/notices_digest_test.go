package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

func TestAReceiverIsToldOfWhatHappensAfterItIsKnown(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		closed(t, s, "before")
		_, _, _, err := s.NextDigest(t.Context(), subscribed("chat"))
		require.ErrorIs(t, err, store.ErrNotSubscribed)
		for range 2 { // each start says so
			require.NoError(t, s.Subscribe(t.Context(), []string{"chat", "other"}))
		}
		require.Nil(t, digest(t, s, subscribed("chat")))
		closed(t, s, "after")
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		require.Equal(t, "after", digest(t, s, subscribed("chat")).Targets[0].DeviceID)
		require.NoError(t, s.Unsubscribe(t.Context(), []string{"chat"}))
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		require.Nil(t, digest(t, s, subscribed("chat")), "one of the same name is a new one")
		require.NotNil(t, digest(t, s, subscribed("other")))
	})
}

func TestADigestWaitsForItsBatchAndIsTheSameUntilItWasSent(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		sub := subscribed("chat")
		sub.Batch = 5 * time.Minute
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		closed(t, s, "a")
		p.sleep(4 * time.Minute)
		closed(t, s, "b")
		d, _, next, err := s.NextDigest(t.Context(), sub)
		require.NoError(t, err)
		require.Nil(t, d)
		require.Equal(t, epoch.Add(5*time.Minute), next)
		p.sleep(time.Minute)
		first := digest(t, s, sub)
		require.Equal(t, 2, first.Count())
		require.Less(t, first.First, first.Last)
		closed(t, s, "late") // the digest is begun: this is for the next one
		require.NoError(t, s.DigestFailed(t.Context(), sub, first, "down", time.Hour))
		d, _, next, err = s.NextDigest(t.Context(), sub)
		require.NoError(t, err)
		require.Nil(t, d)
		require.Equal(t, p.now.Add(time.Hour), next)
		p.sleep(time.Hour)
		again := digest(t, p.beside(t), sub)
		require.Equal(t, 1, again.Tries)
		again.Tries = 0
		require.Equal(t, first, again, "whoever asks, after whatever")
		require.NoError(t, s.DigestSent(t.Context(), sub, first))
		second := digest(t, s, sub)
		require.Equal(t, "late", second.Targets[0].DeviceID)
		require.Zero(t, second.Tries)
		require.NoError(t, s.DigestSent(t.Context(), sub, second))
		require.Nil(t, digest(t, s, sub))
	})
}

func TestAReceiverIsToldOfItsEventsAndPoliciesOnly(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		other := ends("bb", "exhausted", "other")
		other.Policy = "nightly"
		for _, c := range []store.Closings{other, ends(task, "permanent", "p"), ends(task, "exhausted", "e")} {
			_, err := s.CloseTargets(t.Context(), c)
			require.NoError(t, err)
		}
		for _, name := range []string{"prod", "test"} {
			_, err := s.SetConnection(t.Context(), store.ConnectionRow{Identity: name, Name: name, Reason: "auth"})
			require.NoError(t, err)
		}
		sub := subscribed("chat")
		sub.All, sub.Policies, sub.Connections, sub.Events = false, []string{"upgrades"}, []string{"prod"}, []store.Event{store.TargetExhausted, store.ConnectionDown}
		d := digest(t, s, sub)
		require.Equal(t, map[store.Event]int{store.TargetExhausted: 1, store.ConnectionDown: 1}, d.Events)
		require.Equal(t, "e", d.Targets[0].DeviceID)
		require.Equal(t, "prod", d.Others[0].Connection)
		wider := sub
		wider.Policies = append(wider.Policies, "nightly")
		require.NotEqual(t, d.First, digest(t, s, wider).First, "it is told of other things by now: that is another digest")
		none := sub
		none.Events = []store.Event{store.ConnectionUp}
		require.Nil(t, digest(t, s, none))
		require.Nil(t, digest(t, s, sub), "what it was not told of then is dealt with")
	})
}

func TestWhatIsADayOldIsDroppedAndCountedAndTheRestIsAnotherDigest(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		sub := subscribed("chat")
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		closed(t, s, "a", "b")
		p.sleep(23 * time.Hour)
		closed(t, s, "c")
		d := digest(t, s, sub)
		require.Equal(t, 3, d.Count())
		require.NoError(t, s.DigestFailed(t.Context(), sub, d, "down", 0))
		p.sleep(time.Hour)
		require.Equal(t, 3, digest(t, s, sub).Count(), "it is just not older")
		p.sleep(time.Second)
		rest, dropped, _, err := s.NextDigest(t.Context(), sub)
		require.NoError(t, err)
		require.Equal(t, 2, dropped)
		require.Equal(t, []int64{d.Last, d.Last}, []int64{rest.First, rest.Last})
		require.NoError(t, s.DigestSent(t.Context(), sub, d), "which comes too late")
		require.NotNil(t, digest(t, s, sub))
		p.sleep(24 * time.Hour)
		none, dropped, _, err := s.NextDigest(t.Context(), sub)
		require.NoError(t, err)
		require.Nil(t, none)
		require.Equal(t, 1, dropped)
		require.Nil(t, digest(t, s, sub), "it is counted once")
	})
}

func TestAClockThatIsWrongForAMomentDropsNothingThatIsFresh(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		closed(t, s, "old")
		p.sleep(25 * time.Hour)
		closed(t, s, "fresh")
		p.sleep(-25 * time.Hour)
		closed(t, s, "meanwhile")
		p.sleep(25 * time.Hour)
		d, dropped, _, err := s.NextDigest(t.Context(), subscribed("chat"))
		require.NoError(t, err)
		require.Equal(t, 1, dropped)
		require.Equal(t, []string{"fresh", "meanwhile"}, []string{d.Targets[0].DeviceID, d.Targets[1].DeviceID})
		require.Equal(t, d, digest(t, s, subscribed("chat")), "it is the same one until it is sent")
	})
}

func TestWhatNobodyIsToldOfIsPassedBy(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		sub := subscribed("chat")
		sub.Events = []store.Event{store.ConnectionDown}
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		var devices []string
		for i := range 1001 {
			devices = append(devices, fmt.Sprint(i))
		}
		closed(t, s, devices...)
		require.Nil(t, digest(t, s, sub))
		var sent int
		require.NoError(t, p.raw(t).QueryRow(`SELECT sent FROM receivers`).Scan(&sent))
		require.Equal(t, 1001, sent)
	})
}

func TestOfSeveralReplicasOneSends(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s, beside := p.open(t), p.beside(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		closed(t, s, "d")
		one, two := subscribed("chat"), subscribed("chat")
		two.Holder = "two"
		d := digest(t, s, one)
		require.NotNil(t, d)
		if !s.Shared() { // the process before is dead
			require.Equal(t, d, digest(t, beside, two))
			return
		}
		none, _, next, err := beside.NextDigest(t.Context(), two)
		require.NoError(t, err)
		require.Nil(t, none)
		require.Equal(t, epoch.Add(time.Minute), next)
		p.sleep(time.Minute) // the other one has died
		require.Equal(t, d, digest(t, beside, two))
		require.NoError(t, s.DigestSent(t.Context(), one, d), "which it has lost")
		require.Nil(t, digest(t, s, one))
		require.NoError(t, beside.DigestFailed(t.Context(), two, d, "down", time.Second))
		p.sleep(time.Second)
		require.NotNil(t, digest(t, s, one), "it is let go between tries")
	})
}

// TestNoNoticeIsLeftOutWhoeverIsSlow writes in many projects while digests are sent: on PostgreSQL
// their transactions do not end in the order of their ids.
func TestNoNoticeIsLeftOutWhoeverIsSlow(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s, beside := p.open(t), p.beside(t)
		require.NoError(t, s.Subscribe(t.Context(), []string{"chat"}))
		const writers, each = 4, 25
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					c := ends(task, "exhausted", fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), fmt.Sprintf("c%d", i))
					c.ProjectID = fmt.Sprint("p", w)
					if _, err := s.CloseTargets(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		told := 0
		for ended := false; ; {
			d := digest(t, beside, subscribed("chat"))
			if d != nil {
				told += d.Count()
				require.NoError(t, beside.DigestSent(t.Context(), subscribed("chat"), d))
				continue
			}
			if ended {
				break
			}
			select {
			case <-done:
				ended = true
			default:
			}
		}
		require.Equal(t, writers*each*3, told)
	})
}
