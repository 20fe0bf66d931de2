package iotda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/iotda"
)

func TestParseTimeReadsEveryFormThatIsKnown(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       time.Time
	}{
		{"create_time of a task", "20260301T081608Z", time.Date(2026, 3, 1, 8, 16, 8, 0, time.UTC)},
		{"of a device, with milliseconds", "2026-03-01T08:16:08.123Z", time.Date(2026, 3, 1, 8, 16, 8, 123e6, time.UTC)},
		{"RFC 3339", "2026-03-01T08:16:08Z", time.Date(2026, 3, 1, 8, 16, 8, 0, time.UTC)},
		{"RFC 3339 elsewhere, as UTC", "2026-03-01T08:16:08+08:00", time.Date(2026, 3, 1, 0, 16, 8, 0, time.UTC)},
		{"compact with milliseconds", "20260301T081608.123Z", time.Date(2026, 3, 1, 8, 16, 8, 123e6, time.UTC)},
		{"with a blank", "2026-03-01 08:16:08", time.Date(2026, 3, 1, 8, 16, 8, 0, time.UTC)},
		{"the misprint of the reference", "2015-12-12T12:12:122Z", time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC)},
		{"blanks around it", " 20260301T081608Z\n", time.Date(2026, 3, 1, 8, 16, 8, 0, time.UTC)},
		{"nothing", "", time.Time{}},
		{"blanks only", " \t", time.Time{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := iotda.ParseTime(row.text)
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestParseTimeRefusesWhatIsNoTime(t *testing.T) {
	for _, text := range []string{
		"null", "0", "1772352968", "2026-03-01", "20260301T081608", "20261301T081608Z", "20260230T081608Z",
		"2015-12-12T12:12:12xZ", // the misprint has a digit there
		"2015-12-12T12:12:1222Z",
		"2015-12-12T12:12:622Z",
		"2026-03-01T08:16:08\xffZ",
	} {
		got, err := iotda.ParseTime(text)
		assert.ErrorContains(t, err, "is not a time", "%q", text)
		assert.Zero(t, got, "%q", text)
	}
}

func TestParseTimeQuotesOnlyTheBeginningOfALongText(t *testing.T) {
	_, err := iotda.ParseTime(string(make([]byte, 1<<20)) + "x")
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 300)
}

func FuzzATimeIsReadToTheSecondOrRefused(f *testing.F) {
	for _, seed := range []string{
		"", "20260301T081608Z", "2026-03-01T08:16:08.123Z", "2026-03-01T08:16:08+08:00", "20260301T081608.123Z",
		"2026-03-01 08:16:08", "2015-12-12T12:12:122Z", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := iotda.ParseTime(text)
		if err != nil {
			require.Zero(t, got, "an error comes without a time")
			return
		}
		require.Equal(t, time.UTC, got.Location())
		if got.IsZero() || got.Year() < 0 || got.Year() > 9999 {
			return
		}
		again, err := iotda.ParseTime(got.Format(iotda.TimeLayout))
		require.NoError(t, err)
		require.Equal(t, got.Truncate(time.Second), again, "the platform's own form says the same second")
	})
}

func TestCreatedIsZeroWhereThePlatformDoesNotSay(t *testing.T) {
	assert.Zero(t, iotda.Task{}.Created())
	assert.Zero(t, iotda.Task{CreateTime: "yesterday"}.Created())
	assert.Equal(t, time.Date(2026, 3, 1, 8, 16, 8, 0, time.UTC), iotda.Task{CreateTime: "20260301T081608Z"}.Created())
}

func TestNewerThan(t *testing.T) {
	const early, late = "20260301T081608Z", "20260301T081609Z"
	for _, row := range []struct {
		name           string
		a, b           iotda.Task
		aNewer, bNewer bool
	}{
		{"the later one", iotda.Task{ID: "a", CreateTime: late}, iotda.Task{ID: "b", CreateTime: early}, true, false},
		{"a tie goes by id", iotda.Task{ID: "b", CreateTime: early}, iotda.Task{ID: "a", CreateTime: early}, true, false},
		{"a tie of two forms", iotda.Task{ID: "b", CreateTime: early}, iotda.Task{ID: "a", CreateTime: "2026-03-01T08:16:08Z"}, true, false},
		{"one unknown: both count as newer", iotda.Task{ID: "a"}, iotda.Task{ID: "b", CreateTime: early}, true, true},
		{"one misread: both count as newer", iotda.Task{ID: "a", CreateTime: "?"}, iotda.Task{ID: "b", CreateTime: early}, true, true},
		{"both unknown: both count as newer", iotda.Task{ID: "a"}, iotda.Task{ID: "b"}, true, true},
		{"never than itself", iotda.Task{ID: "a", CreateTime: late}, iotda.Task{ID: "a", CreateTime: early}, false, false},
		{"never than itself, unknown", iotda.Task{ID: "a"}, iotda.Task{ID: "a"}, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.aNewer, row.a.NewerThan(row.b), "a newer than b")
			assert.Equal(t, row.bNewer, row.b.NewerThan(row.a), "b newer than a")
		})
	}
}

func TestOfTwoTasksWithKnownTimesExactlyOneIsNewer(t *testing.T) {
	task := rapid.Custom(func(t *rapid.T) iotda.Task {
		made := time.Unix(rapid.Int64Range(1772352968, 1772352971).Draw(t, "made"), 0).UTC()
		return iotda.Task{ID: rapid.StringMatching(`[0-9a-f]{1,3}`).Draw(t, "id"), CreateTime: made.Format(iotda.TimeLayout)}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := task.Draw(t, "a"), task.Draw(t, "b"), task.Draw(t, "c")
		if a.ID != b.ID {
			assert.NotEqual(t, a.NewerThan(b), b.NewerThan(a))
		}
		if a.ID != c.ID && a.NewerThan(b) && b.NewerThan(c) {
			assert.True(t, a.NewerThan(c), "it is an order")
		}
	})
}
