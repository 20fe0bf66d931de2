package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// overSocketOf is a client of whatever listens at a socket.
func overSocketOf(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

func TestTheSocketSaysWhoCallsAndItsModeIsThereFromTheFirstMoment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s, err := listenSocket(t.Context(), path, 0o640)
	require.NoError(t, err)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640)|os.ModeSocket, info.Mode())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left there")

	d := newDoor(siteOf(t, annsPassword))
	h := build(configOf(t, ""), quiet, io.Discard)
	e := h.side(s, d.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := d.caller(r)
		printf(w, "%s|%s|%s", by.Name, by.From, by.Refused)
	})))
	served := make(chan error, 1)
	go func() { served <- e.answer() }()
	resp, err := overSocketOf(path).Get("http://retryd/")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "no password is asked for")
	require.Equal(t, who()+"|socket|", string(body), "the name is that of the same person at a terminal")
	require.NoError(t, e.server.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	require.NoFileExists(t, path)
}

func TestASocketOfADeadDaemonIsReplacedAndThatOfALiveOneIsNot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	dead, err := listenSocket(t.Context(), path, 0o600)
	require.NoError(t, err)
	require.NoError(t, dead.UnixListener.Close(), "as if it was killed: the file stays")
	require.FileExists(t, path)

	live, err := listenSocket(t.Context(), path, 0o600)
	require.NoError(t, err)
	_, err = listenSocket(t.Context(), path, 0o600)
	require.ErrorContains(t, err, "another retryd, or another program, listens at "+path)
	require.NoError(t, os.Rename(path, path+".kept"))
	other, err := listenSocket(t.Context(), path, 0o600)
	require.NoError(t, err)
	require.NoError(t, live.Close())
	require.FileExists(t, path, "it is the other's")
	require.NoError(t, other.Close())
	require.NoFileExists(t, path)

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = listenSocket(t.Context(), path, 0o600)
	require.ErrorContains(t, err, "is no socket: it is left alone")
	require.FileExists(t, path)
	_, err = listenSocket(t.Context(), filepath.Join(path, "below"), 0o600)
	require.EqualError(t, err, "server.socket: "+filepath.Join(path, "below")+": not a directory")
	_, err = listenSocket(t.Context(), filepath.Join(filepath.Dir(path), "none", "s"), 0o600)
	require.EqualError(t, err, "server.socket: "+filepath.Join(filepath.Dir(path), "none", "s")+": no such file or directory")
}

// TestASocketThatDoesNotSayWhetherItIsDeadIsLeftAlone takes one of another kind, which refuses whoever
// speaks in a stream, however well it is.
func TestASocketThatDoesNotSayWhetherItIsDeadIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	live, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer live.Close()
	before, err := os.Lstat(path)
	require.NoError(t, err)
	_, err = listenSocket(t.Context(), path, 0o600)
	require.ErrorContains(t, err, "server.socket: "+path+": ")
	require.ErrorContains(t, err, "it is left alone")
	after, err := os.Lstat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
}
