package iotda_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
)

// The replies are those of iotda-api.md section 1, verbatim.

func TestTheListReplyIsReadWhole(t *testing.T) {
	var got struct {
		BatchTasks []iotda.Task `json:"batchtasks"`
		Page       iotda.Page   `json:"page"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"batchtasks":[{"task_id":"5f2bc5a1b2c3d4e5f6a7b8c9","task_name":"fw_v2","task_type":"firmwareUpgrade","targets":["d1","d2"],"targets_filter":{},"document":{"package_ids":["32822e5744a45ede319d2c50"]},"task_policy":{"schedule_time":null,"retry_count":2,"retry_interval":5},"status":"PartialSuccess","status_desc":"","task_progress":{"total":2,"processing":0,"success":1,"fail":1,"waitting":0,"fail_wait_retry":0,"stopped":0,"removed":0},"create_time":"20260301T081608Z"}],"page":{"count":1,"marker":"5f2bc5a1b2c3d4e5f6a7b8c9"}}`), &got))
	assert.Equal(t, []iotda.Task{{
		ID: "5f2bc5a1b2c3d4e5f6a7b8c9", Name: "fw_v2", Type: iotda.FirmwareUpgrade, Status: iotda.TaskPartialSuccess,
		Targets: iotda.NewDeviceSet("d1", "d2"), Progress: iotda.Progress{Total: 2, Success: 1, Fail: 1}, CreateTime: "20260301T081608Z",
	}}, got.BatchTasks)
	assert.Equal(t, iotda.Page{Count: 1, Marker: "5f2bc5a1b2c3d4e5f6a7b8c9"}, got.Page)
}

func TestTheShowReplyIsReadWhole(t *testing.T) {
	var got struct {
		BatchTask   iotda.Task      `json:"batchtask"`
		TaskDetails []iotda.Subtask `json:"task_details"`
		Page        iotda.Page      `json:"page"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"batchtask":{"task_id":"5f2bc5a1b2c3d4e5f6a7b8c9","task_type":"firmwareUpgrade","status":"PartialSuccess","task_progress":{"total":2,"success":1,"fail":1}},"task_details":[{"target":"d2","status":"Fail","output":"","error":{"error_code":"IOTDA.0xxxxx","error_msg":"Waiting for the device online timeout"}}],"page":{"count":1,"marker":"5f2bc5a1b2c3d4e5f6a7b8d0"}}`), &got))
	assert.Equal(t, iotda.Task{
		ID: "5f2bc5a1b2c3d4e5f6a7b8c9", Type: iotda.FirmwareUpgrade, Status: iotda.TaskPartialSuccess,
		Progress: iotda.Progress{Total: 2, Success: 1, Fail: 1},
	}, got.BatchTask)
	assert.Equal(t, []iotda.Subtask{{
		Target: "d2", Status: iotda.SubtaskFail,
		Error: &iotda.SubtaskError{Code: "IOTDA.0xxxxx", Message: "Waiting for the device online timeout"},
	}}, got.TaskDetails)
	assert.Equal(t, iotda.Page{Count: 1, Marker: "5f2bc5a1b2c3d4e5f6a7b8d0"}, got.Page)
	assert.Equal(t, "device-offline", iotda.CauseOf(got.TaskDetails[0].Cause()).Name)
}

func TestTheRetryReplyIsReadWhole(t *testing.T) {
	var got struct {
		Targets []iotda.TargetResult `json:"targets"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"targets":[{"target":"e495cf17-ff79-4294-8f64-4d367919d665","status":"failure","error_code":"IOTDA.014219","error_msg":"Invalid input. The target is not in the task"},{"target":"e495cf17-ff79-4294-8f64-4d367919d677","status":"success"}]}`), &got))
	assert.Equal(t, []iotda.TargetResult{
		{Target: "e495cf17-ff79-4294-8f64-4d367919d665", Status: iotda.TargetFailure, Code: "IOTDA.014219", Message: "Invalid input. The target is not in the task"},
		{Target: "e495cf17-ff79-4294-8f64-4d367919d677", Status: iotda.TargetSuccess},
	}, got.Targets)
}

func TestAbsentAndNullPartsAreReadAsEmpty(t *testing.T) {
	var task iotda.Task
	require.NoError(t, json.Unmarshal([]byte(`{"task_id":"a","targets":null,"task_progress":null,"create_time":null,"new_field":[1]}`), &task))
	assert.Equal(t, iotda.Task{ID: "a"}, task)

	var sub iotda.Subtask
	require.NoError(t, json.Unmarshal([]byte(`{"target":"d1","status":"Dreaming","output":null,"error":null}`), &sub))
	assert.Equal(t, iotda.Subtask{Target: "d1", Status: "Dreaming"}, sub, "a new word is kept as it is")
}
