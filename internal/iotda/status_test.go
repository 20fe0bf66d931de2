package iotda_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"retryd/internal/iotda"
)

func TestATaskIsRetryableOnlyWherePlatformTakesIt(t *testing.T) {
	for status, want := range map[iotda.TaskStatus]struct{ retryable, known, ending bool }{
		"Initializing":   {known: true},
		"Waitting":       {known: true},
		"Processing":     {known: true, retryable: true},
		"Success":        {known: true},
		"Fail":           {known: true, retryable: true},
		"PartialSuccess": {known: true, retryable: true},
		"Stopped":        {known: true, ending: true},
		"Stopping":       {known: true, ending: true},
		"Waiting":        {}, // the correct spelling is not the platform's
		"fail":           {},
		"":               {},
	} {
		assert.Equal(t, want.retryable, status.Retryable(), "%q retryable", status)
		assert.Equal(t, want.known, status.Known(), "%q known", status)
		assert.Equal(t, want.ending, status.Ending(), "%q ending", status)
	}
	assert.Len(t, iotda.TaskStatuses(), 8)
}

func TestASubtaskIsRetryableOnlyInTheThreeStatesThatRetryAllTakes(t *testing.T) {
	for status, want := range map[iotda.SubtaskStatus]struct{ retryable, known, motion bool }{
		"Processing":    {known: true, motion: true},
		"Success":       {known: true},
		"Fail":          {known: true, retryable: true},
		"Waitting":      {known: true, motion: true},
		"FailWaitRetry": {known: true, retryable: true},
		"Stopped":       {known: true, retryable: true},
		"Removed":       {known: true},
		"Waiting":       {}, // a word that is not documented is not taken for motion
		"":              {},
	} {
		assert.Equal(t, want.retryable, status.Retryable(), "%q retryable", status)
		assert.Equal(t, want.known, status.Known(), "%q known", status)
		assert.Equal(t, want.motion, status.InMotion(), "%q in motion", status)
	}
	assert.Len(t, iotda.SubtaskStatuses(), 7)
}

func TestOnlyUpgradesOfFirmwareAndSoftwareAreRetryable(t *testing.T) {
	assert.ElementsMatch(t, []iotda.TaskType{"firmwareUpgrade", "softwareUpgrade"}, iotda.RetryableTaskTypes())
}

func TestACallerCannotChangeTheListsForOthers(t *testing.T) {
	iotda.RetryableTaskStatuses()[0] = iotda.TaskStopped
	iotda.RetryableSubtaskStatuses()[0] = iotda.SubtaskSuccess
	iotda.RetryableTaskTypes()[0] = "createDevices"

	assert.False(t, iotda.TaskStopped.Retryable())
	assert.False(t, iotda.SubtaskSuccess.Retryable())
	assert.NotContains(t, iotda.RetryableTaskTypes(), iotda.TaskType("createDevices"))
}
