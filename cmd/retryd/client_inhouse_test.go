package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
	"retryd/internal/web"
)

// inHouseOf is the API in this process on the ledger of a file.
func inHouseOf(t *testing.T, file string) *inHouse {
	own := &inHouse{a: &app{ctx: t.Context(), config: []string{file}, stdout: io.Discard, stderr: io.Discard}}
	require.NoError(t, own.open())
	t.Cleanup(own.close)
	return own
}

// nowhere is a request that fails as soon as it is performed: there is no such policy.
func nowhere(t *testing.T, own *inHouse) store.Request {
	c := own.h.config.Connections[0]
	asked, _, err := own.h.store.Ask(t.Context(), store.Action{Who: "ann", What: "sweep"}, store.Request{Kind: store.SweepRequest, Identity: c.Identity(), Connection: c.Name, Policy: "nosuch"})
	require.NoError(t, err)
	return asked[0]
}

func TestWhatCouldNotBeBegunIsLeftToNobody(t *testing.T) {
	t.Parallel()
	own := inHouseOf(t, silent(t))
	s := own.h.store
	interrupted, end := context.WithCancel(t.Context())
	end()
	asked := nowhere(t, own)
	_, err := own.perform(interrupted, asked)
	require.EqualError(t, err, "interrupted: nothing more is sent")
	r, err := s.GetRequest(t.Context(), asked.ID)
	require.NoError(t, err)
	require.Equal(t, store.RequestFailed, r.State)
	require.Equal(t, []string{"interrupted before it was begun"}, r.Result.Problems)

	_, err = s.PauseNow(t.Context(), store.Action{Who: "ann", What: "pause", Why: "x"}, store.Pause{Scope: store.PausePolicy, Policy: "gone"})
	require.NoError(t, err)
	asked = nowhere(t, own)
	_, err = own.perform(t.Context(), asked)
	require.ErrorContains(t, err, `policy "gone" is not in the configuration`)
	r, err = s.GetRequest(t.Context(), asked.ID)
	require.NoError(t, err)
	require.Equal(t, store.RequestFailed, r.State)
	require.Contains(t, r.Result.Problems[0], "it could not be begun: ")
}

// TestACommandPerformsWhatItWaitsForOnceTheLedgerIsFree holds for a retry beside a sweep by hand, which
// has the ledger and performs no requests.
func TestACommandPerformsWhatItWaitsForOnceTheLedgerIsFree(t *testing.T) {
	t.Parallel()
	file := silent(t)
	sweep, err := store.Open(t.Context(), store.Options{Path: filepath.Join(filepath.Dir(file), "retryd.db")})
	require.NoError(t, err)
	own := inHouseOf(t, file)
	asked := nowhere(t, own)
	done, err := own.perform(t.Context(), asked)
	require.NoError(t, err)
	require.Nil(t, done, "whoever has the ledger may perform it")
	require.NoError(t, sweep.Close())

	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	h := &hand{a: &app{ctx: ctx, stderr: io.Discard}, api: &api{clientOf(own, "http://retryd"), own}}
	r, err := h.await(web.Request{ID: asked.ID, State: string(asked.State)})
	require.NoError(t, err)
	require.Equal(t, string(store.RequestFailed), r.State)
	require.Contains(t, r.Result.Problems[0], "has no policy nosuch")
}

func TestADaemonThatEndsTheConnectionIsThere(t *testing.T) {
	t.Parallel()
	daemon := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer daemon.Close()
	var said bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), []string{"status", "--url", daemon.URL}, &said, &said))
	require.Contains(t, said.String(), "the daemon at "+daemon.URL+" ended the connection before it answered (EOF)")
	require.NotContains(t, said.String(), errAbsent.Error())
}
