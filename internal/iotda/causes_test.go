package iotda_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
)

func TestEveryPublishedTextHasItsCauseInAnyCase(t *testing.T) {
	for _, row := range []struct {
		text, name string
		class      iotda.CauseClass
		never      bool
	}{
		{"Device Abnormal is not online", "device-offline", iotda.CauseNetwork, false},
		{"Waiting for the device online timeout", "device-offline", iotda.CauseNetwork, false},
		{"Task Conflict", "task-conflict", iotda.CausePlatform, false},
		{"Waiting for report cellId timeout", "report-timeout", iotda.CauseNetwork, false},
		{"Waiting for report device firmware version timeout", "report-timeout", iotda.CauseNetwork, false},
		{"Wait for the device to report upgrade result timeout", "report-timeout", iotda.CauseNetwork, false},
		{"Updating timeout and query device version for check timeout", "report-timeout", iotda.CauseNetwork, false},
		{"Waiting for device downloaded package timeout", "download-timeout", iotda.CauseNetwork, false},
		{"Connection lost during downloading process", "connection-lost", iotda.CauseNetwork, false},
		{"Out of memory during downloading process", "out-of-memory", iotda.CauseDevice, false},
		{"Integrity check failure for new downloaded package", "integrity-check", iotda.CauseFirmware, false},
		{"Not enough storage for the new firmware package", "no-space", iotda.CauseDevice, false},
		{"Unsupported package type", "unsupported-package", iotda.CauseFirmware, true},
		{"Invalid URI", "invalid-uri", iotda.CausePlatform, false},
		{"Firmware update failed", "update-failed", iotda.CauseFirmware, false},
		{"The current version is the same as the target version", "same-version", iotda.CauseDevice, true},
	} {
		for _, text := range []string{row.text, strings.ToUpper(row.text), strings.ToLower(row.text), "[d1] " + row.text + "."} {
			got := iotda.CauseOf("", text)
			assert.Equal(t, row.name, got.Name, text)
			assert.Equal(t, row.class, got.Class, text)
			assert.Equal(t, row.never, got.Never, text)
		}
	}
}

func TestEveryResultCodeHasItsCauseHoweverItIsWritten(t *testing.T) {
	for _, row := range []struct {
		result int
		name   string
		class  iotda.CauseClass
		never  bool
	}{
		{1, "device-busy", iotda.CauseDevice, false},
		{2, "poor-signal", iotda.CauseNetwork, false},
		{3, "same-version", iotda.CauseDevice, true},
		{4, "low-battery", iotda.CauseDevice, false},
		{5, "no-space", iotda.CauseDevice, false},
		{6, "download-timeout", iotda.CauseNetwork, false},
		{7, "integrity-check", iotda.CauseFirmware, false},
		{8, "unsupported-package", iotda.CauseFirmware, true},
		{9, "out-of-memory", iotda.CauseDevice, false},
		{10, "update-failed", iotda.CauseFirmware, false},
		{255, "internal-exception", iotda.CauseDevice, false},
	} {
		for _, form := range []string{
			`result_code: %d`, `result_code=%d`, `RESULT_CODE: %d`, `{"result_code":%d,"progress":40}`, `{"result_code": "%d"}`,
			`resultCode:%d`, `Result code: %d.`, `upgrade failed, result_code : %d`,
		} {
			text := fmt.Sprintf(form, row.result)
			got := iotda.CauseOf("", text)
			assert.Equal(t, row.name, got.Name, text)
			assert.Equal(t, row.class, got.Class, text)
			assert.Equal(t, row.never, got.Never, text)
		}
	}
}

func TestEveryKnownErrorCodeOfATargetHasItsCause(t *testing.T) {
	for code, want := range map[string]struct {
		name  string
		never bool
	}{
		"IOTDA.014219": {"not-in-task", true},
		"IOTDA.014000": {"no-such-device", true},
		"IOTDA.014016": {"device-offline", false},
		"IOTDA.014111": {"command-timeout", false},
		"IOTDA.014112": {"topic-not-subscribed", false},
	} {
		got := iotda.CauseOf(code, "some text")
		assert.Equal(t, want.name, got.Name, code)
		assert.Equal(t, want.never, got.Never, code)
	}
}

func TestWhatIsNotKnownMayBeRetried(t *testing.T) {
	require.False(t, iotda.UnknownCause.Never)
	for _, row := range [][2]string{
		{"", ""},
		{"", "the dog ate it"},
		{"IOTDA.0142190", ""},           // codes match whole
		{"", "IOTDA.014219"},            // and are not looked for in a text that a device wrote
		{"", "result_code: 0"},          // success, by the book
		{"", "result_code: 11"},         // not in the table
		{"", "result_code: 80"},         // not 8
		{"", "result_code: 2550"},       // not 255
		{"", "the result code is fine"}, // no number
	} {
		assert.Equal(t, iotda.UnknownCause, iotda.CauseOf(row[0], row[1]), "%q", row)
	}
}

func TestCausesListsEachNameOnceForTheLabelsOfMetrics(t *testing.T) {
	var names []string
	for _, c := range iotda.Causes() {
		names = append(names, c.Name)
		assert.Contains(t, []iotda.CauseClass{iotda.CauseDevice, iotda.CauseNetwork, iotda.CauseFirmware, iotda.CausePlatform}, c.Class, c.Name)
	}
	assert.ElementsMatch(t, []string{
		"not-in-task", "no-such-device", "device-offline", "command-timeout", "topic-not-subscribed", "task-conflict",
		"report-timeout", "download-timeout", "connection-lost", "out-of-memory", "integrity-check", "no-space",
		"unsupported-package", "invalid-uri", "same-version", "update-failed", "device-busy", "poor-signal",
		"low-battery", "internal-exception", "other",
	}, names)
}
