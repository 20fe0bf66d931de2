package iotda

import "strings"

// Limits of the API.
const (
	// MaxTargetsPerRetry is the most targets that one retry call may name [doc RetryBatchTask].
	MaxTargetsPerRetry = 100
	// MaxPageSize is the most rows of one page [sdk model_list_batch_tasks_request.go].
	MaxPageSize = 50
	// MaxOffset is the furthest that an offset reaches past its marker [sdk, same file].
	MaxOffset = 500
	// MaxTaskTargets is the most targets that a task is created with [sdk model_create_batch_task.go].
	MaxTaskTargets = 30000
	// FirstMarker is the marker of the first page; pages run by id, descending [sdk].
	FirstMarker = "ffffffffffffffffffffffff"
)

// Task is one batch task as ListBatchTasks and ShowBatchTask give it [sdk model_task.go].
type Task struct {
	ID         string     `json:"task_id"`
	Name       string     `json:"task_name"`
	Type       TaskType   `json:"task_type"`
	Status     TaskStatus `json:"status"`
	StatusDesc string     `json:"status_desc"`
	// Targets are the device ids the task was made for. Whether a list row carries
	// them is not documented; a task made for a group has none.
	Targets  DeviceSet `json:"targets"`
	Progress Progress  `json:"task_progress"`
	// AppID and AppName are the resource space that the task was listed under. A row does
	// not carry them [sdk model_task.go]: who lists by app fills them in.
	AppID   string `json:"-"`
	AppName string `json:"-"`
	// CreateTime is in the platform's own form; see Created.
	CreateTime string `json:"create_time"`
}

// Progress counts the sub-tasks of a task by state. "Waitting" is the platform's spelling.
type Progress struct {
	Total         int `json:"total"`
	Processing    int `json:"processing"`
	Success       int `json:"success"`
	Fail          int `json:"fail"`
	Waitting      int `json:"waitting"`
	FailWaitRetry int `json:"fail_wait_retry"`
	Stopped       int `json:"stopped"`
	Removed       int `json:"removed"`
}

// Of gives the count of one state, 0 for a state that is not documented.
func (p Progress) Of(s SubtaskStatus) int {
	switch s {
	case SubtaskProcessing:
		return p.Processing
	case SubtaskSuccess:
		return p.Success
	case SubtaskFail:
		return p.Fail
	case SubtaskWaitting:
		return p.Waitting
	case SubtaskFailWaitRetry:
		return p.FailWaitRetry
	case SubtaskStopped:
		return p.Stopped
	case SubtaskRemoved:
		return p.Removed
	}
	return 0
}

// Settled tells whether every sub-task has either succeeded or failed.
func (p Progress) Settled() bool { return p.Total > 0 && p.Success+p.Fail == p.Total }

// Subtask is the state of one target of a task. It carries neither a time nor a
// number of tries [sdk model_task_detail.go].
type Subtask struct {
	Target string        `json:"target"`
	Status SubtaskStatus `json:"status"`
	Output string        `json:"output"`
	Error  *SubtaskError `json:"error"`
}

// SubtaskError is why a sub-task failed.
type SubtaskError struct {
	Code    string `json:"error_code"`
	Message string `json:"error_msg"`
}

// maxCauseBytes bounds what is kept of a failure's text: a device chooses it.
const maxCauseBytes = 512

// Cause gives the code and text of a failure. Whether the platform puts its text in
// error_msg, in output or in both is not documented, so both are joined, cut to 512 bytes.
func (s Subtask) Cause() (code, text string) {
	if s.Error != nil {
		code, text = s.Error.Code, s.Error.Message
	}
	switch {
	case s.Output == "" || strings.Contains(text, s.Output):
	case text == "":
		text = s.Output
	default:
		text += "; " + s.Output
	}
	return Clip(code, 64), Clip(text, maxCauseBytes)
}

// Clip cuts text to n bytes at most, on a character's edge, and makes it valid UTF-8
// without NUL, which not every database stores.
func Clip(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// ValidTaskID tells whether id can be a task's: 1 to 24 characters of 0-9 and a-f [sdk].
func ValidTaskID(id string) bool {
	if id == "" || len(id) > 24 {
		return false
	}
	return strings.Trim(id, "0123456789abcdef") == ""
}

// TargetResult is the platform's answer for one target of a retry call. The call
// answers 200 even where targets were refused [doc RetryBatchTask].
type TargetResult struct {
	Target  string `json:"target"`
	Status  string `json:"status"` // TargetSuccess or TargetFailure
	Code    string `json:"error_code"`
	Message string `json:"error_msg"`
}

// The two words of TargetResult.Status.
const (
	TargetSuccess = "success"
	TargetFailure = "failure"
)

// Page is the paging part of a list reply. Marker names the last row of the page.
type Page struct {
	Count  int64  `json:"count"`
	Marker string `json:"marker"`
}
