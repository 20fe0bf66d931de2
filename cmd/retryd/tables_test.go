package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/web"
)

func TestATableFitsATerminalByCuttingItsWidestColumns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		widths []int
		width  int
		want   []int
	}{
		{[]int{4, 60, 20}, 0, []int{4, 60, 20}},
		{[]int{4, 60, 20}, 200, []int{4, 60, 20}},
		{[]int{4, 60, 20}, 60, []int{4, 32, 20}},
		{[]int{4, 60, 60}, 48, []int{4, 20, 20}},
		{[]int{20, 20, 20}, 10, []int{8, 8, 8}},
	} {
		have := append([]int{}, c.widths...)
		fit(have, c.width)
		require.Equal(t, c.want, have, "%v in %d", c.widths, c.width)
	}
	require.Equal(t, "device …", clipped("device is offline", 8))
	require.Equal(t, "固件…", clipped("固件升级失败", 6))
	require.Equal(t, "固件升级失败", clipped("固件升级失败", 12))
}

func TestTablesAndCSVAreSafeWhateverThingsAreCalled(t *testing.T) {
	t.Parallel()
	hostile := web.Target{DeviceID: "=cmd|' /C calc'!A0", TaskName: "固件\x1b[2J\u202eevil", Is: "exhausted", FailureText: "a\nb\tc", LastAt: new(time.Time)}
	var b strings.Builder
	targetTable.write(&b, []web.Target{hostile, {DeviceID: "lamp-1"}})
	require.NotContains(t, b.String(), "\x1b")
	require.NotContains(t, b.String(), "\u202e")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 3)
	require.Contains(t, lines[1], `固件\x1b[2J\u202eevil`)
	column := func(line string) int { return wide(line[:strings.Index(line, "exhausted")]) }
	require.Equal(t, wide(lines[0][:strings.Index(lines[0], "IS ")]), column(lines[1]), "letters that take two columns are counted as two")

	b.Reset()
	require.NoError(t, fieldsCSV(&b, []web.Target{hostile}))
	require.Contains(t, b.String(), "\n'=cmd|")
	require.NotContains(t, b.String(), "\x1b")
}

func TestCSVHasEveryFieldOfTheAPI(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 2, 13, 8, 0, 0, 0, time.FixedZone("", 8*3600))
	var b strings.Builder
	require.NoError(t, fieldsCSV(&b, []web.Task{{ID: "t", Created: &at, Targets: map[string]int{"due": 2, "backoff": 3, "capped": 0}, ETA: web.ETA{At: &at, PerHour: 1.5, Words: "soon"}}}))
	require.Equal(t, "id,name,project_id,app,type,status,policy,connection,created,seen,gone,total,success,fail,open_attempts,counted,targets,superseded_perhaps,capped,ended,held,held_by,eta_at,eta_per_hour,eta_words\n"+
		"t,,,,,,,,2027-02-13T00:00:00Z,,,0,0,0,0,,backoff=3; due=2,false,,,,,2027-02-13T00:00:00Z,1.5,soon\n", b.String())
}
