package scheduler

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/store"
)

func replicasOf(n, budgets int) []store.Replica {
	replicas := make([]store.Replica, n)
	for i := range replicas {
		replicas[i] = store.Replica{ID: fmt.Sprintf("replica-%d", i), Budgets: map[string][]string{}}
		for b := range budgets {
			replicas[i].Budgets[fmt.Sprintf("account-%d", b)] = nil
		}
	}
	return replicas
}

func TestBudgetsAreSpreadOverTheReplicasAndFewMoveWhenOneGoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n, budgets := rapid.IntRange(1, 6).Draw(rt, "replicas"), rapid.IntRange(0, 60).Draw(rt, "budgets")
		replicas := replicasOf(n, budgets)
		before := assign(replicas)
		require.Len(rt, before, budgets)
		load := map[string]int{}
		for _, id := range before {
			load[id]++
		}
		for id, own := range load {
			require.LessOrEqual(rt, own, (budgets+n-1)/n, id)
		}
		if n == 1 {
			return
		}
		gone := replicas[rapid.IntRange(0, n-1).Draw(rt, "gone")].ID
		var rest []store.Replica
		for _, r := range replicas {
			if r.ID != gone {
				rest = append(rest, r)
			}
		}
		moved := 0
		for budget, id := range assign(rest) {
			require.NotEqual(rt, gone, id)
			if before[budget] != gone && before[budget] != id {
				moved++
			}
		}
		require.LessOrEqual(rt, moved, budgets/2, "those of the others mostly stay where they are")
	})
}

func TestABudgetGoesToAReplicaThatHasItInItsConfiguration(t *testing.T) {
	replicas := replicasOf(3, 2)
	replicas[1].Budgets["new"] = nil // a configuration that is being rolled out
	require.Equal(t, "replica-1", assign(replicas)["new"])
	require.Empty(t, assign(nil))
}
