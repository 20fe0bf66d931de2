package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

// TestAConnectionThatFailsIsNamedBeforeItIsGivenUp: its calls are repeated for two minutes.
func TestAConnectionThatFailsIsNamedBeforeItIsGivenUp(t *testing.T) {
	for _, command := range []string{"plan", "sweep --new-ledger"} {
		e := newEmulator(emulator.Options{})
		file, _ := inForce(t, e)
		ctx, interrupt := context.WithCancel(t.Context())
		calls := 0
		e.SetFault(func(emulator.Call) emulator.Fault {
			if calls++; calls == 2 { // the first has failed by now
				interrupt()
			}
			return emulator.Bare(503)
		})
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitFailed, run(ctx, append([]string{"-c", file}, strings.Fields(command)...), &stdout, &stderr))
		require.Regexp(t, `connection emulator fails: ListBatchTasks: HTTP 503 .*; trying again until 20\d\d-\d\d-\d\d`, stderr.String())
		require.Equal(t, 1, strings.Count(stderr.String(), "trying again"))
	}
}

// TestASweepThatIsInterruptedSaysWhatHasLeft has Ctrl-C come while the platform takes the first retries.
func TestASweepThatIsInterruptedSaysWhatHasLeft(t *testing.T) {
	for op, says := range map[string]string{
		"ListBatchTasks": `(?m)^retryd: interrupted: no retry was sent, and none leaves any more$`,
		"RetryBatchTask": `(?m)^retryd: interrupted: retries of \d+ targets? were sent and \d+ of them accepted, and nothing else leaves; the next sweep reads what comes of them$`,
	} {
		e := newEmulator(emulator.Options{})
		file, _ := inForce(t, e)
		ctx, interrupt := context.WithCancel(t.Context())
		e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.Op == op {
				interrupt()
			}
			return ""
		})
		var stdout, stderr bytes.Buffer
		code := run(ctx, []string{"-c", file, "sweep", "--new-ledger"}, &stdout, &stderr)
		require.Regexp(t, says, stderr.String())
		require.NotContains(t, stdout.String()+stderr.String(), "context canceled")
		if op == "ListBatchTasks" {
			require.Equal(t, exitFailed, code)
			require.Empty(t, e.Retries())
			continue
		}
		require.Equal(t, exitPartial, code)
		require.NotEmpty(t, e.Retries())
	}
}

// TestAComparisonTellsOfEachReadOnce although it plans twice.
func TestAComparisonTellsOfEachReadOnce(t *testing.T) {
	e := newEmulator(emulator.Options{})
	file, daemon := inForce(t, e)
	told := func(args ...string) []string {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitDone, run(t.Context(), append([]string{"-c", file}, args...), &stdout, &stderr), stderr.String())
		return regexp.MustCompile(`(?m)^.* decided$`).FindAllString(stderr.String(), -1)
	}
	once := told("plan")
	require.NotEmpty(t, once)
	require.Equal(t, once, told("plan", "--against", "running", "--url", daemon))
}
