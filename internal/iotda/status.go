package iotda

import "slices"

// TaskStatus is the state of a whole batch task, spelt as the platform spells it.
type TaskStatus string

// The states of a task [sdk model_task.go]. "Waitting" is the platform's spelling.
const (
	TaskInitializing   TaskStatus = "Initializing"
	TaskWaitting       TaskStatus = "Waitting"
	TaskProcessing     TaskStatus = "Processing"
	TaskSuccess        TaskStatus = "Success"
	TaskFail           TaskStatus = "Fail"
	TaskPartialSuccess TaskStatus = "PartialSuccess"
	TaskStopped        TaskStatus = "Stopped"
	TaskStopping       TaskStatus = "Stopping"
)

// TaskStatuses lists every state of a task that is documented.
func TaskStatuses() []TaskStatus {
	return []TaskStatus{
		TaskInitializing, TaskWaitting, TaskProcessing, TaskSuccess,
		TaskFail, TaskPartialSuccess, TaskStopped, TaskStopping,
	}
}

// RetryableTaskStatuses lists the states in which the platform takes a retry: it
// refuses Success, Stopped, Stopping, Waitting and Initializing, which leaves these
// [doc RetryBatchTask].
func RetryableTaskStatuses() []TaskStatus {
	return []TaskStatus{TaskFail, TaskPartialSuccess, TaskProcessing}
}

// Retryable tells whether the platform takes a retry of a task in this state.
func (s TaskStatus) Retryable() bool { return slices.Contains(RetryableTaskStatuses(), s) }

// Known tells whether the state is one that is documented.
func (s TaskStatus) Known() bool { return slices.Contains(TaskStatuses(), s) }

// Ending tells whether a person has stopped the task or is stopping it.
func (s TaskStatus) Ending() bool { return s == TaskStopped || s == TaskStopping }

// SubtaskStatus is the state of one target of a task.
type SubtaskStatus string

// The states of a sub-task [sdk model_task_detail.go]; Removed appears as a filter
// value only [sdk model_show_batch_task_request.go].
const (
	SubtaskProcessing    SubtaskStatus = "Processing"
	SubtaskSuccess       SubtaskStatus = "Success"
	SubtaskFail          SubtaskStatus = "Fail"
	SubtaskWaitting      SubtaskStatus = "Waitting"
	SubtaskFailWaitRetry SubtaskStatus = "FailWaitRetry"
	SubtaskStopped       SubtaskStatus = "Stopped"
	SubtaskRemoved       SubtaskStatus = "Removed"
)

// SubtaskStatuses lists every state of a sub-task that is documented.
func SubtaskStatuses() []SubtaskStatus {
	return []SubtaskStatus{
		SubtaskProcessing, SubtaskSuccess, SubtaskFail, SubtaskWaitting,
		SubtaskFailWaitRetry, SubtaskStopped, SubtaskRemoved,
	}
}

// RetryableSubtaskStatuses lists the states that a retry re-runs: the platform's own
// "retry all" takes exactly these three [doc RetryBatchTask].
func RetryableSubtaskStatuses() []SubtaskStatus {
	return []SubtaskStatus{SubtaskFail, SubtaskFailWaitRetry, SubtaskStopped}
}

// Retryable tells whether a retry re-runs a sub-task in this state.
func (s SubtaskStatus) Retryable() bool { return slices.Contains(RetryableSubtaskStatuses(), s) }

// Known tells whether the state is one that is documented.
func (s SubtaskStatus) Known() bool { return slices.Contains(SubtaskStatuses(), s) }

// InMotion tells whether the platform is at work on the sub-task. A word that is not
// documented is not taken for motion.
func (s SubtaskStatus) InMotion() bool { return s == SubtaskProcessing || s == SubtaskWaitting }

// TaskType says what a batch task does to its targets.
type TaskType string

// The task types whose sub-tasks can be retried [doc RetryBatchTask]. Other types
// (moduleUpgrade, createDevices, …) exist and are never touched.
const (
	FirmwareUpgrade TaskType = "firmwareUpgrade"
	SoftwareUpgrade TaskType = "softwareUpgrade"
)

// RetryableTaskTypes lists the types for which a retry is documented.
func RetryableTaskTypes() []TaskType { return []TaskType{FirmwareUpgrade, SoftwareUpgrade} }
