package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/notify"
	"retryd/internal/store"
)

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, h *house)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, end := newHouse(t)
		defer end()
		f(t, h)
	})
}

func TestADigestHasWhatHappensWithinABatchOfItsFirstNotice(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.during(func(*notify.Sender) {
			time.Sleep(time.Hour)
			require.Empty(t, h.deliveries(), "nothing has happened")
			begun := time.Now()
			h.closes("a", "b")
			time.Sleep(4 * time.Minute)
			h.closes("c")
			time.Sleep(10 * time.Minute)
			h.closes("d")
			time.Sleep(time.Hour)
			got := h.deliveries()
			require.Len(t, got, 2)
			require.InDelta(t, 5*time.Minute, got[0].at.Sub(begun), float64(time.Second))
			require.InDelta(t, 19*time.Minute, got[1].at.Sub(begun), float64(time.Second))
			require.Equal(t, []string{fmt.Sprint("chat-1-3-", begun.Unix()), fmt.Sprint("chat-4-4-", begun.Add(14*time.Minute).Unix())}, []string{got[0].digest.ID, got[1].digest.ID})
			require.Equal(t, 3, got[0].digest.Counts["exhausted"])
			require.Equal(t, got[0].digest.ID, got[0].header.Get("Retryd-Digest"))
			require.Equal(t, "https://retryd.example.com/devices?device=a&task="+task, got[0].digest.Targets[0].URL)
		})
		require.Equal(t, 2, h.count(notify.Sent))
		require.Zero(t, h.count(notify.Failed))
	})
}

// misbehaviours are ways for a receiver not to take a digest, each for an hour.
var misbehaviours = map[string]func(h *house){
	"nobody is there": func(h *house) { h.behaves(true, nil) },
	"it is too slow": func(h *house) {
		h.behaves(false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	},
	"it fails": func(h *house) { h.behaves(false, status(http.StatusInternalServerError)) },
	"it hangs up": func(h *house) {
		h.behaves(false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	},
	"it is busy": func(h *house) { h.behaves(false, status(http.StatusTooManyRequests)) },
	"it refuses": func(h *house) { h.behaves(false, status(http.StatusNotFound)) },
}

func TestNothingIsLostAndNothingIsToldTwiceByAReceiverThatIsAwayForLessThanADay(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.during(func(*notify.Sender) {
			n := 0
			for range 3 {
				for name, misbehave := range misbehaviours {
					misbehave(h)
					failed := h.count(notify.Failed)
					for range 4 {
						h.closes(fmt.Sprint("d", n))
						n++
						time.Sleep(15 * time.Minute)
					}
					require.Greater(t, h.count(notify.Failed), failed, name)
				}
			}
			require.Equal(t, 72, n)
			require.Empty(t, h.taken())
			h.behaves(false, nil)
			time.Sleep(2 * time.Hour)
			told, ids := 0, map[string]bool{}
			for _, d := range h.taken() {
				told += d.Counts["exhausted"]
				ids[d.ID] = true
			}
			require.Equal(t, n, told)
			require.Len(t, ids, len(h.taken()))
			require.Zero(t, h.count(notify.Dropped))
		})
		all := h.deliveries()
		for i, d := range all[1:] { // while the same digest is tried
			require.LessOrEqual(t, d.at.Sub(all[i].at), 4*time.Hour, "refused, and then nobody there")
		}
	})
}

func TestADigestWhoseAnswerIsLostComesAgainUnderItsID(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.behaves(false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) // it was read
		h.during(func(*notify.Sender) {
			h.closes("a")
			time.Sleep(5*time.Minute + 2*time.Second)
		})
		h.closes("b") // while nothing runs
		h.behaves(false, nil)
		h.during(func(*notify.Sender) { time.Sleep(time.Hour) })
		got := h.deliveries()
		require.Len(t, got, 3)
		require.Equal(t, []string{"chat-1-1", "chat-1-1", "chat-2-2"}, []string{span(got[0].digest.ID), span(got[1].digest.ID), span(got[2].digest.ID)})
		require.Equal(t, got[0].body, got[1].body)
		require.NotEqual(t, got[0].header.Get("Retryd-Signature"), got[1].header.Get("Retryd-Signature"), "each try is signed at its time")
	})
}

func TestWhatIsADayOldIsDroppedAndCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.behaves(true, nil)
		h.during(func(*notify.Sender) {
			h.closes("a", "b", "c")
			time.Sleep(20 * time.Hour)
			h.closes("d")
			time.Sleep(10 * time.Hour)
			require.Equal(t, 3, h.count(notify.Dropped))
			h.behaves(false, nil)
			time.Sleep(time.Hour)
			require.Len(t, h.taken(), 1)
			require.Equal(t, "d", h.taken()[0].Targets[0].DeviceID)
		})
		require.Equal(t, 1, h.logs.FilterMessageSnippet("they are dropped").Len())
	})
}

func TestTheRestBetweenTriesGrowsAndAReceiverSaysHowLongItIs(t *testing.T) {
	for name, c := range map[string]struct {
		answer      func(http.ResponseWriter, *http.Request)
		tries       [2]int // in 6 hours
		least, most time.Duration
	}{
		"500":                   {status(500), [2]int{28, 40}, 4 * time.Second, 15 * time.Minute},
		"404 is mended by hand": {status(404), [2]int{9, 13}, 96 * time.Second, time.Hour},
		"308 is not followed":   {status(308, "Location", "http://receiver/elsewhere"), [2]int{9, 13}, 96 * time.Second, time.Hour},
		"408":                   {status(408), [2]int{28, 40}, 4 * time.Second, 15 * time.Minute},
		"429 in seconds":        {status(429, "Retry-After", "1200"), [2]int{18, 19}, 20 * time.Minute, 20 * time.Minute},
		"503 for a year":        {status(503, "Retry-After", "31536000"), [2]int{6, 7}, time.Hour, time.Hour},
		"a Retry-After of none": {status(429, "Retry-After", "soon"), [2]int{28, 40}, 4 * time.Second, 15 * time.Minute},
		"a Retry-After of less": {status(429, "Retry-After", "-5"), [2]int{28, 40}, 4 * time.Second, 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.receiver.Batch = 0
				h.behaves(false, c.answer)
				h.during(func(*notify.Sender) {
					h.closes("a")
					time.Sleep(6 * time.Hour)
				})
				got := h.deliveries()
				require.GreaterOrEqual(t, len(got), c.tries[0])
				require.LessOrEqual(t, len(got), c.tries[1])
				for i := range got[1:] {
					rest := got[i+1].at.Sub(got[i].at)
					require.GreaterOrEqual(t, rest, c.least-time.Millisecond)
					require.LessOrEqual(t, rest, c.most+time.Second)
				}
			})
		})
	}
}

func TestAReloadAddsAndRemovesReceiversAndLeavesTheOthersAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		other := h.receiver
		other.Name, other.Batch = "other", time.Minute
		h.during(func(s *notify.Sender) {
			apply := func(receivers ...notify.Receiver) {
				require.NoError(t, s.Apply(context.Background(), notify.Setup{ExternalURL: "https://retryd.example.com", Receivers: receivers}))
			}
			h.closes("before")
			time.Sleep(time.Minute)
			apply(h.receiver, other) // other is new: it is told of nothing that has been
			h.closes("both")
			time.Sleep(2 * time.Minute)
			require.Equal(t, "other-2-2", span(h.deliveries()[0].digest.ID))
			apply(h.receiver)
			h.closes("one")
			time.Sleep(time.Hour)
			require.Len(t, h.deliveries(), 2)
			require.Equal(t, "chat-1-3", span(h.deliveries()[1].digest.ID))
			changed := other
			changed.Events = []store.Event{store.TargetExhausted}
			apply(changed)
			h.closes("last")
			time.Sleep(time.Hour)
			require.Len(t, h.deliveries(), 3)
			require.Equal(t, "other-4-4", span(h.deliveries()[2].digest.ID))
		})
	})
}

func TestAReloadThatTheLedgerDoesNotTakeChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.during(func(s *notify.Sender) {
			ended, end := context.WithCancel(context.Background())
			end()
			other := h.receiver
			other.Name = "other"
			require.Error(t, s.Apply(ended, notify.Setup{Receivers: []notify.Receiver{other}}))
			h.closes("a")
			time.Sleep(time.Hour)
			require.Len(t, h.taken(), 1)
			require.Equal(t, "chat-1-1", span(h.taken()[0].ID))
		})
	})
}

func TestAReceiverThatAnotherReplicaHasForgottenIsKnownAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.during(func(*notify.Sender) {
			require.NoError(t, h.ledger.Unsubscribe(context.Background(), []string{"chat"}))
			time.Sleep(time.Minute)
			h.closes("a")
			time.Sleep(time.Hour)
			require.Len(t, h.taken(), 1)
		})
	})
}

func TestADigestInFlightAtTheEndHasFiveSeconds(t *testing.T) {
	for delay, ids := range map[time.Duration][]string{3 * time.Second: {"chat-1-1"}, 8 * time.Second: {"chat-1-1", "chat-1-1"}} {
		t.Run(delay.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.behaves(false, func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(delay):
					case <-r.Context().Done():
					}
				})
				h.during(func(*notify.Sender) {
					h.closes("a")
					time.Sleep(5*time.Minute + time.Second)
				})
				h.behaves(false, nil)
				h.during(func(*notify.Sender) { time.Sleep(time.Hour) })
				var have []string
				for _, d := range h.deliveries() {
					have = append(have, span(d.digest.ID))
				}
				require.Equal(t, ids, have)
			})
		})
	}
}

func TestALedgerThatIsAwayIsSaidOnceAndWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.during(func(*notify.Sender) {
			h.closes("a")
			require.NoError(t, h.ledger.Close())
			time.Sleep(time.Hour)
			require.Equal(t, 1, h.logs.FilterMessageSnippet("the ledger does not say").Len())
		})
		_, err := notify.New(context.Background(), h.options(pipes{}, h.receiver))
		require.Error(t, err)
	})
}
