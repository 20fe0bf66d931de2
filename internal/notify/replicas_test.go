package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"retryd/internal/notify"
	"retryd/internal/pgtest"
	"retryd/internal/store"
)

// TestEachDigestIsSentByOneOfTwoReplicas runs two senders on one PostgreSQL.
func TestEachDigestIsSentByOneOfTwoReplicas(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	h, end := newHouseWith(t, store.Options{URL: address})
	defer end()
	beside, err := store.Open(t.Context(), store.Options{URL: address})
	require.NoError(t, err)
	defer func() { require.NoError(t, beside.Close()) }()
	server := httptest.NewServer(h)
	defer server.Close()
	h.receiver.URL, h.receiver.Batch = server.URL, 0

	arrived, release := make(chan struct{}, 10), make(chan struct{})
	answer := sync.OnceFunc(func() { close(release) })
	h.behaves(false, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	ctx, stop := context.WithCancel(context.Background())
	var senders errgroup.Group
	defer func() {
		stop()
		require.NoError(t, senders.Wait())
	}()
	defer answer()
	by := make(chan string, 100)
	start := func(holder string, ledger *store.Store) {
		s, err := notify.New(ctx, notify.Options{
			Setup: notify.Setup{Receivers: []notify.Receiver{h.receiver}}, Store: ledger, Holder: holder, Log: zap.NewNop(),
			Count: func(_, result string, _ int) { by <- holder + " " + result },
		})
		require.NoError(t, err)
		senders.Go(func() error { return s.Run(ctx) })
	}
	start("one", h.ledger)
	h.closes("a")
	<-arrived
	// While the one is at it, the other has to wait, for longer than a request may take.
	d, _, next, err := beside.NextDigest(t.Context(), store.Subscription{Name: "chat", Events: store.Events(), All: true, Holder: "two", Hold: time.Minute})
	require.NoError(t, err)
	require.Nil(t, d)
	require.Greater(t, next.Sub(beside.Now()), h.receiver.Timeout)
	h.behaves(false, nil)
	answer()
	require.Equal(t, "one sent", <-by)

	start("two", beside)
	const rounds = 4 // a second each
	for i := range rounds {
		h.closes(fmt.Sprint("d", i))
		require.Regexp(t, "^(one|two) sent$", <-by)
	}
	ids := map[string]bool{}
	for _, d := range h.deliveries() {
		require.Equal(t, 1, d.digest.Counts["exhausted"])
		require.False(t, ids[d.digest.ID], "it comes once")
		ids[d.digest.ID] = true
	}
	require.Len(t, ids, 1+rounds)
}
