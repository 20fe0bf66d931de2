package scheduler

import (
	"hash/fnv"
	"maps"
	"slices"

	"retryd/internal/store"
)

// assign gives the replica that is to drive each budget: as many each as can be, and few that
// change hands when a replica comes or goes. Every replica that sees the same others comes to the
// same answer, so nobody has to decide.
func assign(replicas []store.Replica) map[string]string {
	budgets := map[string]bool{}
	for _, r := range replicas {
		for budget := range r.Budgets {
			budgets[budget] = true
		}
	}
	if len(replicas) == 0 {
		return nil
	}
	most := (len(budgets) + len(replicas) - 1) / len(replicas)
	to, load := map[string]string{}, map[string]int{}
	for _, budget := range slices.Sorted(maps.Keys(budgets)) {
		best := -1
		for i, r := range replicas {
			if _, knows := r.Budgets[budget]; knows && (best < 0 || closer(budget, r.ID, replicas[best].ID, load, most)) {
				best = i
			}
		}
		to[budget] = replicas[best].ID
		load[to[budget]]++
	}
	return to
}

// closer tells whether a budget goes to a rather than to b: to one that has room, and of those to
// the one that its hash says.
func closer(budget, a, b string, load map[string]int, most int) bool {
	if roomA, roomB := load[a] < most, load[b] < most; roomA != roomB {
		return roomA
	}
	return weight(budget, a) > weight(budget, b)
}

func weight(budget, replica string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(budget + "\x00" + replica))
	sum := h.Sum64() // mixed: names that differ in their last letter only would else come out alike
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}
