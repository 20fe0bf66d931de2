package scheduler

import (
	"slices"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// hand is what a person who retries targets of a task asks for, and what has become of it. A nil
// hand is that of a sweep.
type hand struct {
	request store.Request
	order   store.Order // each device once
	dry     bool
	wanted  map[string]bool // devices
	decided map[string]verdictOf
	tried   map[string]bool // devices that have had the attempt which was asked for
}

// verdictOf is how far a named target has come.
type verdictOf struct {
	retried bool
	store.Left
}

// Why a target that was named is left as it is, where that is no verdict of a policy.
const (
	// LeftUnknown is of a target that the task does not have.
	LeftUnknown = "not_in_task"
	// LeftUnclaimed is of one that has changed since it was decided on: the ledger did not take the claim.
	LeftUnclaimed = "not_claimed"
	// LeftUnreached is of one that was not come to, or not sent: the detail says why.
	LeftUnreached = "not_reached"
)

// maxLeft is how many targets a result names.
const maxLeft = 1000

func newHand(r store.Request, dry bool) *hand {
	h := &hand{request: r, order: r.Order, dry: dry, wanted: map[string]bool{}, decided: map[string]verdictOf{}, tried: map[string]bool{}}
	h.order.Devices = nil
	for _, device := range r.Order.Devices {
		if !h.wanted[device] {
			h.order.Devices = append(h.order.Devices, device)
		}
		h.wanted[device] = true
	}
	h.order.Named = true
	return h
}

// names tells whether it is of some targets, and not of all that have failed.
func (h *hand) names() bool { return h != nil && len(h.order.Devices) > 0 }

// who is the person.
func (h *hand) who() string {
	if h == nil {
		return ""
	}
	return h.request.Who
}

// means tells whether the device is one of those that are meant.
func (h *hand) means(device string) bool { return !h.names() || h.wanted[device] }

// only gives those of the sub-tasks that are meant.
func (h *hand) only(subtasks []iotda.Subtask) []iotda.Subtask {
	return slices.DeleteFunc(subtasks, func(s iotda.Subtask) bool { return !h.means(s.Target) })
}

// untried gives those of the sub-tasks that have not had their attempt: what was asked for is one,
// however often a target is read. A sweep decides again about all that it reads.
func (h *hand) untried(subtasks []iotda.Subtask) []iotda.Subtask {
	if h == nil {
		return subtasks
	}
	return slices.DeleteFunc(subtasks, func(s iotda.Subtask) bool { return h.tried[s.Target] })
}

// tries notes which of the targets have had their attempt, and gives those.
func (h *hand) tries(targets []target) (tried []target) {
	if h == nil {
		return nil
	}
	for _, row := range targets {
		if row.claimed || h.dry && row.verdict.Reason == policy.Due {
			h.tried[row.Target.DeviceID] = true
			tried = append(tried, row)
		}
	}
	return tried
}

// note keeps what became of named targets. Of one that is due and was not sent, the error of the
// whole says why.
func (h *hand) note(targets []target) {
	if !h.names() {
		return
	}
	for _, row := range targets {
		device, due := row.Target.DeviceID, row.verdict.Reason == policy.Due
		left := store.Left{DeviceID: device, Reason: string(row.verdict.Reason), Detail: row.verdict.Detail}
		switch {
		case row.claimed, due && h.dry:
			h.decided[device] = verdictOf{retried: true, Left: left}
		case row.dropped != "":
			h.decided[device] = verdictOf{Left: store.Left{DeviceID: device, Reason: LeftUnclaimed, Detail: row.dropped}}
		case !due:
			h.decided[device] = verdictOf{Left: left}
		}
	}
}

// result gives the named targets by verdict, and those that were not retried, in the order in which
// they were named. rest is what to say of those that nothing was decided about.
func (h *hand) result(rest store.Left) (counts map[string]int, left []store.Left) {
	counts = map[string]int{}
	for _, device := range h.order.Devices {
		v, ok := h.decided[device]
		if !ok {
			v.Left = rest
			v.DeviceID = device
		}
		counts[v.Reason]++
		if !v.retried && len(left) < maxLeft {
			left = append(left, v.Left)
		}
	}
	return counts, left
}
