package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

// tryOnce has the command try one connection, and gives what it says of it.
func tryOnce(t *testing.T, e *emulator.Emulator, signing string) (code int, tried *trial, said string) {
	server := httptest.NewServer(e)
	defer server.Close()
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	file := filepath.Join(folder, "retryd.yaml")
	text := strings.Replace(sample(strings.TrimPrefix(server.URL, "http://")), "secret_key:", "signing: "+signing+", secret_key:", 1)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, "requests_per_second: 50", "timeout: 500ms", 1)), 0o600))
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), []string{"-c", file, "check", "--connect", "--format", "json"}, &stdout, &stderr)
	var results []checked
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &results), stderr.String())
	require.Len(t, results, 1)
	require.Len(t, results[0].Connect, 1)
	return code, results[0].Connect[0], stdout.String() + stderr.String()
}

// TestEveryFaultOfThePlatformIsSaidInWords makes each thing go wrong that the emulator can, with each of the
// two calls: what is said is of use, few calls are made, and no more than two are refused.
func TestEveryFaultOfThePlatformIsSaidInWords(t *testing.T) {
	harmless := map[emulator.Fault]bool{ // the call succeeds, and nothing is missing of what it is made for
		emulator.FaultUnknownStatus: true, emulator.FaultUnknownField: true, emulator.FaultDoubleRow: true, emulator.FaultMissingRow: true,
		emulator.FaultExtraRow: true, emulator.FaultRowsMove: true, emulator.FaultRowsEnter: true, emulator.FaultShortPage: true, emulator.FaultMarker: true,
		emulator.FaultHuge: true, emulator.FaultContradiction: true, emulator.FaultSuccessCode: true,
	}
	for _, op := range []string{"ListBatchTasks", "ShowBatchTask"} {
		for _, fault := range emulator.AllFaults() {
			t.Run(fmt.Sprintf("%s %s", op, fault), func(t *testing.T) {
				e := newEmulator(emulator.Options{Slow: 2 * time.Second, Huge: 1 << 16})
				_, err := e.AddScene(20, time.Now())
				require.NoError(t, err)
				e.SetFault(func(c emulator.Call) emulator.Fault {
					if c.Op == op {
						return fault
					}
					return ""
				})
				code, tried, said := tryOnce(t, e, "auto")
				works := harmless[fault] || op == "ListBatchTasks" && (fault == emulator.FaultOtherInstance || fault == emulator.FaultClock) // the last Date counts
				require.Equal(t, works, tried.Works, said)
				require.Equal(t, map[bool]int{true: exitDone, false: exitFailed}[works], code)
				require.NotContains(t, said, demoSecret)
				if !works {
					require.NotEmpty(t, tried.Problem)
					require.NotEmpty(t, tried.Class)
					require.NotEmpty(t, tried.Remedy, said)
				}
				refused, calls := 0, map[string]int{}
				for _, c := range e.Calls() {
					calls[c.Op+c.Query.Get("task_type")]++
					if c.Status == http.StatusUnauthorized {
						refused++
					}
				}
				require.LessOrEqual(t, refused, 1)
				for call, n := range calls {
					if fault != emulator.FaultCut && fault != emulator.FaultLostReply { // net/http itself reads again where a connection that was kept has gone
						require.Equal(t, 1, n, call)
					}
				}
				require.Len(t, calls, tried.Calls)
				require.Empty(t, e.Retries())
			})
		}
	}
}

// TestTheFormOfTheSignatureIsNamedWhereItIsTheWrongOne is for both kinds of instances.
func TestTheFormOfTheSignatureIsNamedWhereItIsTheWrongOne(t *testing.T) {
	for wants, uses := range map[string]string{"basic": "derived", "derived": "basic"} {
		e := emulator.New(emulator.Options{ProjectID: demoProject, Region: demoRegion, Keys: map[string]string{demoKey: demoSecret}, Signing: wants})
		code, tried, said := tryOnce(t, e, uses)
		require.Equal(t, exitFailed, code)
		require.Contains(t, tried.Remedy, "signed in the "+uses+" form", said)
		require.Contains(t, tried.Remedy, "set auth.aksk.signing to "+wants)
		code, tried, said = tryOnce(t, e, wants)
		require.Equal(t, exitDone, code, said)
		require.Contains(t, tried.Policies[0].Why, "is it the right project")
	}
}

// TestAKeyIsTriedOnceForAllItsConnections is over files too, each with a ledger of its own.
func TestAKeyIsTriedOnceForAllItsConnections(t *testing.T) {
	e := newEmulator(emulator.Options{})
	server := httptest.NewServer(e)
	defer server.Close()
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	args := []string{"check", "--connect"}
	for i := range 12 {
		file := filepath.Join(folder, fmt.Sprint(i, ".yaml"))
		text := strings.Replace(sample(strings.TrimPrefix(server.URL, "http://")), demoSecret, "wrong", 1)
		require.NoError(t, os.WriteFile(file, []byte(text+fmt.Sprintf("store: {url: \"sqlite:%d.db\"}\n", i)), 0o600))
		args = append(args, file)
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), args, &stdout, &stderr))
	require.Len(t, e.Calls(), 1)
	require.Equal(t, 11, strings.Count(stdout.String(), `not tried: its credentials were refused for connection "emulator"`))
	require.Contains(t, stderr.String(), "none of 12 connections works")
}
