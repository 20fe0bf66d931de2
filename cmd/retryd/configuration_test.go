package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/emulator"
)

// TestWhatAnswersInPlaceOfTheDaemonIsSaidInWords is for plan --against running.
func TestWhatAnswersInPlaceOfTheDaemonIsSaidInWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "retryd.yaml")
	require.NoError(t, os.WriteFile(file, []byte(sample("127.0.0.1:1")), 0o600))
	for answer, says := range map[string]string{
		"404 page not found": "what answers is retryd demo, which has no configuration of its own, or an older retryd, which does not tell it: restart the daemon with this version, or give --url its address",
		"200 <html>":         "what answers is not the daemon: ",
		"200 {}":             "the daemon's configuration is not YAML: it is empty",
		"502 bad gateway":    "/api/v1/configuration: HTTP 502: bad gateway",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var code int
			_, err := fmt.Sscan(answer, &code)
			require.NoError(t, err)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(answer[4:]))
		}))
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitFailed, run(t.Context(), []string{"-c", file, "plan", "--against", "running", "--url", server.URL}, &stdout, &stderr))
		require.Contains(t, stderr.String(), says)
		require.Empty(t, stdout.String())
		server.Close()
	}
}

// inForce writes a configuration for the platform, and has something tell it as a daemon would.
func inForce(t *testing.T, e *emulator.Emulator) (file, daemon string) {
	_, err := e.AddScene(20, time.Now())
	require.NoError(t, err)
	platform := httptest.NewServer(e)
	t.Cleanup(platform.Close)
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	file = filepath.Join(folder, "retryd.yaml")
	require.NoError(t, os.WriteFile(file, []byte(sample(strings.TrimPrefix(platform.URL, "http://"))), 0o600))
	c, err := config.Load([]string{file}, env)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = writeJSON(w, c.Running("elsewhere.db"))
	}))
	t.Cleanup(server.Close)
	return file, server.URL
}

// TestAComparisonReadsThePlatformOnce: else a device that recovers in between would be a difference.
func TestAComparisonReadsThePlatformOnce(t *testing.T) {
	e := newEmulator(emulator.Options{})
	file, daemon := inForce(t, e)
	calls := func(args ...string) int {
		before := len(e.Calls())
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitDone, run(t.Context(), append([]string{"-c", file}, args...), &stdout, &stderr), stderr.String())
		return len(e.Calls()) - before
	}
	once := calls("plan")
	require.Positive(t, once)
	require.Equal(t, once, calls("plan", "--against", "running", "--url", daemon))
}

// TestWhatIsInterruptedSaysWhatIsNotKnown has Ctrl-C come while the platform is waited for.
func TestWhatIsInterruptedSaysWhatIsNotKnown(t *testing.T) {
	e := newEmulator(emulator.Options{Slow: time.Minute})
	file, daemon := inForce(t, e)
	for command, says := range map[string]struct{ stdout, stderr string }{
		"plan --format json":                     {`"interrupted"`, "interrupted: what is shown is not the whole plan"},
		"plan --against running --url " + daemon: {"", "interrupted: what changes is not known"},
		"check --connect":                        {"is valid", "interrupted: not every connection was tried to its end"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		e.SetFault(func(emulator.Call) emulator.Fault {
			interrupt()
			return emulator.FaultSlowHeaders
		})
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitFailed, run(ctx, append([]string{"-c", file}, strings.Fields(command)...), &stdout, &stderr))
		require.Contains(t, stdout.String(), says.stdout)
		require.Contains(t, stderr.String(), says.stderr)
		require.NotContains(t, stdout.String()+stderr.String(), "context canceled")
		if says.stdout == "" {
			require.Empty(t, stdout.String())
		}
	}
}
