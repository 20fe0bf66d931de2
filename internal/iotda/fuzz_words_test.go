package iotda_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
)

func storable(t *testing.T, text string, n int) {
	require.LessOrEqual(t, len(text), n)
	require.True(t, utf8.ValidString(text), "%q", text)
	require.NotContains(t, text, "\x00")
}

func FuzzASubtasksCauseIsShortStorableAndInTheTable(f *testing.F) {
	for _, row := range []string{
		`{"target":"d2","status":"Fail","output":"","error":{"error_code":"IOTDA.0xxxxx","error_msg":"Waiting for the device online timeout"}}`,
		`{"target":"d2","status":"Fail","output":"{\"result_code\": 255, \"progress\": 40}"}`,
		`{"target":"d2","status":"Fail","output":"result_code: 3","error":{"error_msg":"Firmware update failed"}}`,
		`{"target":"d2","status":"Dreaming","error":null}`,
		`{"target":"\u0000","error":{"error_code":"IOTDA.014219\ud800","error_msg":"` + strings.Repeat("电", 200) + `"}}`,
	} {
		f.Add([]byte(row))
	}
	known := map[iotda.Cause]bool{}
	for _, c := range iotda.Causes() {
		known[c] = true
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		var s iotda.Subtask
		if json.Unmarshal(row, &s) != nil {
			return
		}
		code, text := s.Cause()
		storable(t, code, 64)
		storable(t, text, 512)
		if s.Error == nil {
			require.Empty(t, code)
		}
		cause := iotda.CauseOf(code, text)
		require.True(t, known[iotda.Cause{Name: cause.Name, Class: cause.Class, Never: cause.Never}], cause.Name)
		require.False(t, s.Status.InMotion() && s.Status.Retryable())
	})
}

func FuzzATaskIDIsHexAndHarmlessInAPath(f *testing.F) {
	for _, id := range []string{"5f2bc5a1b2c3d4e5f6a7b8c9", iotda.FirstMarker, "", "../x", "a/b", "a%2fb", "5F2B", "a\n", "0?x=1", strings.Repeat("0", 25)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		harmless := len(id) >= 1 && len(id) <= 24
		for i := range len(id) {
			harmless = harmless && (id[i] >= '0' && id[i] <= '9' || id[i] >= 'a' && id[i] <= 'f')
		}
		require.Equal(t, harmless, iotda.ValidTaskID(id))
	})
}

func FuzzAnErrorHasOneOfTheClassesAndOnlyTheAPIsOwnCodesRefuse(f *testing.F) {
	for _, c := range []struct {
		status int
		code   string
	}{{400, "IOTDA.000006"}, {401, ""}, {403, "APIG.0308"}, {403, "APIGW.0302"}, {404, "IOTDA.014000"}, {404, "404"}, {429, ""}, {503, "IOTDA.000002"}, {302, ""}, {200, "IOTDA."}} {
		f.Add(c.status, c.code)
	}
	classes := []iotda.Class{
		iotda.ClassTransient, iotda.ClassThrottled, iotda.ClassAuth, iotda.ClassPermission,
		iotda.ClassNotFound, iotda.ClassRefused, iotda.ClassBroken,
	}
	f.Fuzz(func(t *testing.T, status int, code string) {
		class := iotda.Classify(status, code)
		require.Contains(t, classes, class)
		switch class {
		case iotda.ClassRefused, iotda.ClassPermission, iotda.ClassNotFound:
			require.True(t, iotda.IsAPICode(code))
		case iotda.ClassTransient, iotda.ClassThrottled, iotda.ClassAuth:
			require.True(t, iotda.IsAPICode(code) || status == 401 || status == 429 || status >= 500)
		}
		if rest, ok := strings.CutPrefix(code, "APIG."); ok {
			require.Equal(t, iotda.Classify(status, "APIGW."+rest), class, "two names of one gateway")
		}
	})
}

func FuzzATextIsClippedToWhatEveryDatabaseStores(f *testing.F) {
	f.Add("a电池", 5)
	f.Add("a\xffb\x00c", 4)
	f.Add("", 0)
	f.Add("\xe7\xff\x94\xb5", 3)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n &= 1<<10 - 1
		got := iotda.Clip(text, n)
		storable(t, got, n)
		require.Equal(t, got, iotda.Clip(got, n), "clipping twice changes nothing more")
		if len(text) <= n && utf8.ValidString(text) && !strings.Contains(text, "\x00") {
			require.Equal(t, text, got)
		}
	})
}

func FuzzOfTwoTasksNeverBothAreOlder(f *testing.F) {
	f.Add("a", "20260301T081608Z", "b", "20260301T081609Z")
	f.Add("a", "20260301T081608Z", "b", "2026-03-01T08:16:08Z")
	f.Add("a", "", "b", "yesterday")
	f.Add("a", "20260301T081608Z", "a", "20260301T081609Z")
	f.Fuzz(func(t *testing.T, id, made, otherID, otherMade string) {
		a, b := iotda.Task{ID: id, CreateTime: made}, iotda.Task{ID: otherID, CreateTime: otherMade}
		if id == otherID {
			require.False(t, a.NewerThan(b))
			return
		}
		require.True(t, a.NewerThan(b) || b.NewerThan(a), "neither is taken for the newer: both could be retried")
		if !a.Created().IsZero() && !b.Created().IsZero() {
			require.NotEqual(t, a.NewerThan(b), b.NewerThan(a))
		}
	})
}
