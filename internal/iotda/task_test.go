package iotda_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"retryd/internal/iotda"
)

func TestCauseJoinsTheErrorAndTheOutput(t *testing.T) {
	for _, row := range []struct {
		name, message, output, want string
	}{
		{"neither", "", "", ""},
		{"message only", "Task Conflict", "", "Task Conflict"},
		{"output only", "", "result_code: 4", "result_code: 4"},
		{"both", "Firmware update failed", "result_code: 4", "Firmware update failed; result_code: 4"},
		{"the same twice", "Task Conflict", "Task Conflict", "Task Conflict"},
		{"output is a part of the message", "error: Task Conflict", "Task Conflict", "error: Task Conflict"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, text := iotda.Subtask{
				Output: row.output,
				Error:  &iotda.SubtaskError{Code: "IOTDA.014016", Message: row.message},
			}.Cause()
			assert.Equal(t, "IOTDA.014016", code)
			assert.Equal(t, row.want, text)
		})
	}
}

func TestCauseOfASubtaskWithoutAnErrorIsItsOutput(t *testing.T) {
	code, text := iotda.Subtask{Output: "low battery"}.Cause()
	assert.Empty(t, code)
	assert.Equal(t, "low battery", text)
}

func TestCauseKeepsABoundedPieceOfWhatADeviceSays(t *testing.T) {
	code, text := iotda.Subtask{
		Output: strings.Repeat("o", 1000),
		Error:  &iotda.SubtaskError{Code: strings.Repeat("c", 1000), Message: strings.Repeat("é", 250)},
	}.Cause()
	assert.Equal(t, strings.Repeat("c", 64), code)
	assert.Equal(t, strings.Repeat("é", 250)+"; "+strings.Repeat("o", 10), text)
}

func TestClipCutsOnTheEdgeOfACharacter(t *testing.T) {
	for _, row := range []struct {
		text string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"abc", 0, ""},
		{"a电池", 7, "a电池"},
		{"a电池", 6, "a电"},
		{"a电池", 5, "a电"},
		{"a电池", 4, "a电"},
		{"a电池", 3, "a"},
		{"a\xffb", 10, "ab"},
		{"a\x00b", 10, "ab"}, // PostgreSQL stores no NUL
	} {
		assert.Equal(t, row.want, iotda.Clip(row.text, row.n), "%q to %d", row.text, row.n)
	}
}

func TestClipAlwaysGivesAStorableTextWithinTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		n := rapid.IntRange(0, 40).Draw(t, "n")
		got := iotda.Clip(text, n)
		assert.LessOrEqual(t, len(got), n)
		assert.True(t, utf8.ValidString(got), "%q", got)
		assert.NotContains(t, got, "\x00")
		assert.Equal(t, got, iotda.Clip(got, n), "clipping twice changes nothing more")
	})
}

func TestProgressGivesTheCountOfEachStatus(t *testing.T) {
	p := iotda.Progress{Total: 28, Processing: 1, Success: 2, Fail: 3, Waitting: 4, FailWaitRetry: 5, Stopped: 6, Removed: 7}
	got := map[iotda.SubtaskStatus]int{}
	for _, status := range iotda.SubtaskStatuses() {
		got[status] = p.Of(status)
	}
	assert.Equal(t, map[iotda.SubtaskStatus]int{
		"Processing": 1, "Success": 2, "Fail": 3, "Waitting": 4, "FailWaitRetry": 5, "Stopped": 6, "Removed": 7,
	}, got)
	assert.Zero(t, p.Of("Sleeping"))
	assert.Zero(t, p.Of(""))
}

func TestProgressIsSettledWhenEveryTargetHasSucceededOrFailed(t *testing.T) {
	assert.True(t, iotda.Progress{Total: 3, Success: 2, Fail: 1}.Settled())
	assert.True(t, iotda.Progress{Total: 2, Fail: 2}.Settled())
	assert.False(t, iotda.Progress{}.Settled(), "nothing counted yet")
	for _, rest := range []iotda.Progress{{Processing: 1}, {Waitting: 1}, {FailWaitRetry: 1}, {Stopped: 1}, {Removed: 1}} {
		rest.Total, rest.Success, rest.Fail = 3, 1, 1
		assert.False(t, rest.Settled(), "%+v", rest)
	}
}

func TestValidTaskID(t *testing.T) {
	for id, want := range map[string]bool{
		"5f2bc5a1b2c3d4e5f6a7b8c9":  true,
		iotda.FirstMarker:           true,
		"0":                         true,
		"":                          false,
		"5f2bc5a1b2c3d4e5f6a7b8c90": false, // 25
		"5F2BC5A1":                  false,
		"5f2g":                      false,
		"../x":                      false,
		"a/b":                       false,
		"a b":                       false,
		" a":                        false,
		"a\n":                       false,
		"ä":                         false,
	} {
		assert.Equal(t, want, iotda.ValidTaskID(id), "%q", id)
	}
}
