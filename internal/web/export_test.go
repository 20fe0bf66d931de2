package web

import (
	"maps"
	"slices"
	"time"

	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// Reads gives the paths that can be read, for tests.
func Reads() []string { return slices.Sorted(maps.Keys((&server{}).reads())) }

// Summaries gives what can be said of a device under a policy for a reason, for tests.
func Summaries(p *policy.Policy, reason policy.Reason, now time.Time) (all []string) {
	for _, status := range iotda.SubtaskStatuses() {
		for _, state := range []policy.State{policy.Failed, policy.Recovered} {
			for _, next := range []time.Time{{}, now.Add(time.Hour)} {
				j := judged{policy: p, zone: time.UTC, now: now, next: next}
				j.facts.Subtask.Status, j.facts.Record.State, j.facts.Record.Counted = status, state, 1
				j.verdict = policy.Verdict{Reason: reason, Detail: "so it is", NotBefore: next}
				j.target = j.verdict
				all = append(all, j.summary())
			}
		}
	}
	return all
}
