package policy

import "retryd/internal/iotda"

// TaskTypes lists the task types that a policy may name: what the platform takes a
// retry for, and no more.
func TaskTypes() []iotda.TaskType { return iotda.RetryableTaskTypes() }

// TaskStatuses lists the task statuses that a policy may name.
func TaskStatuses() []iotda.TaskStatus { return iotda.RetryableTaskStatuses() }

// TargetStatuses lists the sub-task statuses that a policy may name.
func TargetStatuses() []iotda.SubtaskStatus { return iotda.RetryableSubtaskStatuses() }

// CauseClass says what kind of thing made a sub-task fail.
type CauseClass = iotda.CauseClass

// Causes lists every cause that is not an operator's rule, once, by name.
func Causes() []iotda.Cause {
	return append(iotda.Causes(), iotda.Cause{Name: refused, Class: iotda.CausePlatform, Never: true})
}
