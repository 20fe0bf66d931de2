package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// TestTargetsOfAnyNumberOfAttemptsAndAnyIDAreClaimedAndAnsweredTogether leaves a third out of each round, so
// that the numbers of a claim's attempts differ.
func TestTargetsOfAnyNumberOfAttemptsAndAnyIDAreClaimedAndAnsweredTogether(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		ids := []string{
			"a", "A", "123", "1e3", "null", "true", "[]", "{}", "", " ", "a\nb", "\u0001", "?", "$1", "%", "@list", `q"uote`, `back\slash`, "o'hare", "<&>",
			"\u00e9\u2028\U0001f600", strings.Repeat("x", 256),
		}
		tried := map[string]int{}
		for round := range 5 {
			var candidates []store.Candidate
			for i, id := range ids {
				if (i+round)%3 > 0 {
					candidates = append(candidates, store.Candidate{DeviceID: id, LastN: tried[id]})
				}
			}
			claimed, dropped, err := s.Claim(t.Context(), claim(task, 9, candidates...))
			require.NoError(t, err)
			require.Empty(t, dropped)
			require.Len(t, claimed, len(candidates))
			answers := []store.Answer{{Claimed: store.Claimed{DeviceID: "a", N: 77}, State: policy.Rejected, AnsweredAt: s.Now()}}
			for i, c := range claimed {
				tried[c.DeviceID]++
				require.Equal(t, tried[c.DeviceID], c.N)
				answers = append(answers, store.Answer{Claimed: c, State: policy.Rejected, AnsweredAt: s.Now(), Code: fmt.Sprint(i % 3)})
			}
			changed, err := s.Answered(t.Context(), project, task, answers)
			require.NoError(t, err)
			require.ElementsMatch(t, answers[1:], changed)
			records, err := s.Records(t.Context(), project, task, ids)
			require.NoError(t, err)
			for _, id := range ids {
				require.Equal(t, tried[id], records[id].N, "%q", id)
				require.Equal(t, tried[id], records[id].Counted, "%q", id)
				require.Empty(t, records[id].OpenTask, "%q", id)
			}
		}
	})
}
