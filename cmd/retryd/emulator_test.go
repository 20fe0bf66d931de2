package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/policy"
)

// TestWhatTheEmulatorPrintsIsAConfigurationForIt pastes all of it, as a person would.
func TestWhatTheEmulatorPrintsIsAConfigurationForIt(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	says, out := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"emulator", "--listen", "127.0.0.1:0", "--project", "fedcba9876543210fedcba9876543210"}, out, io.Discard)
		_ = out.Close()
		ended <- code
	}()
	page := make([]byte, 8192)
	n, err := says.Read(page) // it is written at once
	require.NoError(t, err)
	text := string(page[:n])
	folder := t.TempDir()
	file := filepath.Join(folder, "retryd.yaml")
	retryd := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"-c", file}, args...), &out, &out)
		return code, out.String()
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	c, err := config.Load([]string{file}, env)
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Equal(t, []policy.Mode{policy.ModeAuto, policy.ModeApprove}, []policy.Mode{c.Policies[0].Mode, c.Policies[1].Mode})
	code, said := retryd("sweep", "--new-ledger")
	require.Equal(t, exitDone, code, said)
	require.Contains(t, said, "5 accepted", "as limits.in_flight allows")
	require.Contains(t, said, "20 awaiting_approval")
	code, said = retryd("approve", "agent-5.4", "--why", "the canary is good", "--yes")
	require.Equal(t, exitDone, code, said)

	// What is commented out works too: a token, a login at IAM, windows and a receiver.
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		word := strings.TrimLeft(line, " #")
		for _, key := range []string{"windows:", "time_zone:", "notify:", "- {name: lab"} {
			if strings.HasPrefix(word, key) {
				lines[i] = strings.Replace(line, "# ", "", 1)
			}
		}
	}
	for _, way := range []string{"token:", "iam:"} {
		with := make([]string, 0, len(lines))
		for _, line := range lines {
			switch at := strings.Index(line, "auth: {"); {
			case at < 0:
				with = append(with, line)
			case strings.Contains(line, "# auth: {"+way):
				with = append(with, strings.Replace(line, "# ", "", 1))
			}
		}
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(with, "\n")), 0o600))
		code, said = retryd("check", "--connect")
		require.Equal(t, exitDone, code, said)
		require.Contains(t, said, "works", way)
	}
	c, err = config.Load([]string{file}, env)
	require.NoError(t, err)
	require.Len(t, c.Policies[1].Windows, 1)
	require.Len(t, c.Receivers, 1)
	stop()
	rest, err := io.ReadAll(says)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^# The emulator answered \d+ calls and re-ran 5 sub-tasks\.$`, string(rest))
	require.Equal(t, exitDone, <-ended)
}

// busy has no turn for the first of those who want to act, or to know what would happen.
type busy struct {
	turns int
	keys  []string
	then  http.Handler
}

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		b.keys = append(b.keys, r.Header.Get("Idempotency-Key"))
		if len(b.keys) <= b.turns {
			refuse(w, r, http.StatusServiceUnavailable, "the platform is being asked for others: ask again in a few seconds")
			return
		}
	}
	b.then.ServeHTTP(w, r)
}

func TestWhoeverFindsThePlatformAskedForOthersWaitsForTheirTurn(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"result": {"targets": {"capped": 3}, "capped": {"in_flight": 2, "ramp": 1}}}`))
	})
	b := &busy{turns: 2, then: answer}
	daemon := httptest.NewServer(b)
	t.Cleanup(daemon.Close)
	var out, said bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"retry", "fw", "--all-failed", "--dry-run", "--why", "x", "--url", daemon.URL}, &out, &said), &said)
	require.Equal(t, "The platform is being asked for others: this waits for its turn, up to 60 seconds.\n", said.String(), "once")
	require.Contains(t, out.String(), "\n        3 capped\n  capped: 2 by in_flight, 1 by ramp\n")
	require.Len(t, b.keys, 3)
	require.Equal(t, b.keys[0], b.keys[2], "it is one request")

	// Whoever does not want to wait can leave.
	ctx, leave := context.WithCancel(t.Context())
	b.keys, b.turns = nil, 1000
	said.Reset()
	wait := &waiter{on: "waits for its turn", do: leave, to: &said}
	began := time.Now()
	require.Equal(t, exitFailed, run(ctx, []string{"retry", "fw", "--all-failed", "--dry-run", "--why", "x", "--url", daemon.URL}, &out, wait), &said)
	require.Contains(t, said.String(), "retryd: interrupted while others had the turn: nothing is done")
	require.Less(t, time.Since(began), busyFor/2)
}

// waiter does something when a text is written.
type waiter struct {
	on string
	do func()
	to io.Writer
}

func (w *waiter) Write(data []byte) (int, error) {
	if strings.Contains(string(data), w.on) {
		w.do()
	}
	return w.to.Write(data)
}
