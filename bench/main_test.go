package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/buildtest"
)

// TestMain is the program itself where it is started as a contender or a platform.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		if err := run(contextOfMain(), os.Args[1:], os.Stdout); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func bench(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), args, &out), "%s", out.String())
	return out.String()
}

// binaryOf builds retryd for all measurements of a test.
func binaryOf(t *testing.T) string {
	file, err := buildtest.Retryd(t.Context(), t.TempDir())
	require.NoError(t, err)
	return "--retryd=" + file
}

func TestEachMeasurementEndsAndHoldsThePlatformsRecordAgainstWhatWasDone(t *testing.T) {
	retryd := binaryOf(t)
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"compare": {
			[]string{"--failing=1230", "--tasks=2", "--latency=1ms"},
			[]string{"floor", "retryd", "sdk", "each failing target exactly once", "with 1,230 targets the attempt of each was committed"},
		},
		"scale":       {[]string{"--sizes=100,400", "--tasks=3", "--latency=0s"}, []string{"Slope of wall time"}},
		"few":         {[]string{"--large=300"}, []string{"in motion", "permanent"}},
		"rate":        {[]string{"--for=2s", "--per-second=40"}, []string{"requests_per_second: 40"}},
		"ledger":      {[]string{"--small=500", "--large=5000", "--old=1000", "--failing=60", "--runs=1", "--schedule=@every 1s"}, []string{"Retention deleted 1,00"}},
		"idle":        {[]string{"--for=1s", "--policies=2", "--starts=1", "--schedule=@every 1s", "--rest=0s"}, []string{"start to ready"}},
		"connections": {[]string{"--connections=3", "--tasks=2", "--failing=20", "--latency=0s"}, []string{"3 connections"}},
		"replicas":    {[]string{"--budgets=2", "--for=1s", "--replicas=2", "--schedule=@every 2s"}, []string{"2 budgets"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := bench(t, append([]string{name, retryd, "--keep=" + filepath.Join(t.TempDir(), name)}, c.args...)...)
			for _, text := range c.says {
				require.Contains(t, said, text)
			}
		})
	}
}

func TestTheSlopeOfWhatGrowsLinearlyIsOne(t *testing.T) {
	require.InDelta(t, 1, slope([]float64{10, 100, 1000}, []float64{3, 30, 300}), 1e-9)
	require.InDelta(t, 2, slope([]float64{10, 100, 1000}, []float64{1, 100, 10000}), 1e-9)
	require.InDelta(t, 0, slope([]float64{10, 100}, []float64{7, 7}), 1e-9)
}
