package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// TestAnActionSaysWhatCameOfTheRetriesItAskedFor: one that sent nothing looks like no other.
func TestAnActionSaysWhatCameOfTheRetriesItAskedFor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		one := []string{"d"}
		many := []string{"a", "b", "c", "d", "e", "f", "g"}
		for _, c := range []struct {
			devices       []string
			o             store.Outcome
			subject, says string
		}{
			{one, store.Outcome{Targets: map[string]int{"due": 1}, Sent: map[string]int{"accepted": 1}}, "device d in task " + task, "1 accepted"},
			{one, store.Outcome{Targets: map[string]int{"exhausted": 1}, Left: []store.Left{{DeviceID: "d", Reason: "exhausted", Detail: "3 of 3 attempts"}}},
				"device d in task " + task, "nothing sent: 1 exhausted (3 of 3 attempts)"},
			{many, store.Outcome{Targets: map[string]int{"due": 4, "paused": 1, "in_flight": 2}, Sent: map[string]int{"accepted": 3, "rejected": 1}},
				"7 targets in task " + task + ": a, b, c, d, e and 2 more", "3 accepted, 1 rejected (IOTDA.1 low battery), not sent: 2 in_flight, 1 paused"},
			{nil, store.Outcome{Targets: map[string]int{"task_status": 0}}, "all failed targets in task " + task, "nothing sent: task_status"},
			{nil, store.Outcome{}, "all failed targets in task " + task, "nothing sent: the task has no failed target"},
			{nil, store.Outcome{Problems: []string{"nothing was retried: the list cannot be read"}}, "all failed targets in task " + task, "nothing sent: nothing was retried: the list cannot be read"},
		} {
			p.sleep(time.Minute)
			r := ask(t, s, store.Action{Who: "ann", What: "retry"},
				store.Request{Kind: store.RetryRequest, Identity: here, ProjectID: project, TaskID: task, Order: store.Order{Devices: c.devices}})[0]
			require.Empty(t, newestAction(t, s).Outcome, "nothing yet")
			require.Equal(t, r.ID, take(t, s, here).ID)
			if c.o.Sent["rejected"] > 0 {
				order := claim(task, 100, store.Candidate{DeviceID: "b"})
				order.AskedBy = "ann"
				claimed, _, err := s.Claim(t.Context(), order)
				require.NoError(t, err)
				_, err = s.Answered(t.Context(), project, task, []store.Answer{{Claimed: claimed[0], State: policy.Rejected, AnsweredAt: p.now, Code: "IOTDA.1", Text: "low battery"}})
				require.NoError(t, err)
			}
			require.NoError(t, s.EndRequest(t.Context(), r.ID, store.RequestDone, c.o))
			got := newestAction(t, s)
			require.Equal(t, c.subject, got.Subject)
			require.Equal(t, c.says, got.Outcome)
		}
		late := ask(t, s, store.Action{Who: "ann", What: "retry"}, store.Request{Kind: store.RetryRequest, Identity: here, ProjectID: project, TaskID: task})[0]
		p.sleep(time.Hour)
		_, lapsed, err := s.TakeRequest(t.Context(), here)
		require.NoError(t, err)
		require.Len(t, lapsed, 1)
		require.Equal(t, late.ID, lapsed[0].ID)
		require.Contains(t, newestAction(t, s).Outcome, "nothing sent: nobody who drives the connection began it in time")
		gone := ask(t, s, store.Action{Who: "ann", What: "retry"}, store.Request{Kind: store.RetryRequest, Identity: here, ProjectID: project, TaskID: task})[0]
		require.NoError(t, s.CancelRequests(t.Context(), "interrupted before it was begun", gone.ID))
		require.Equal(t, "nothing sent: interrupted before it was begun", newestAction(t, s).Outcome)
	})
}

func newestAction(t *testing.T, s *store.Store) store.ActionRow {
	t.Helper()
	actions, _, err := s.ListActions(t.Context(), store.ActionFilter{}, store.Page{Limit: 1})
	require.NoError(t, err)
	require.Len(t, actions, 1)
	return actions[0]
}

func TestActionsAreFoundByAPersonWithOrWithoutTheMachine(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for _, who := range []string{"root@one", "root@two", "root", "rooter@one", "张伟@one", "%@one"} {
			require.NoError(t, s.Act(t.Context(), store.Action{Who: who, What: "sweep"}))
		}
		for who, found := range map[string]int{"root": 3, "root@two": 1, "张伟": 1, "%": 1, "_": 0, "one": 0, "": 6} {
			actions, _, err := s.ListActions(t.Context(), store.ActionFilter{Who: who}, store.Page{Limit: 9})
			require.NoError(t, err)
			require.Len(t, actions, found, who)
		}
	})
}
