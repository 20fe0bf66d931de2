package store_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
)

func TestUnresolvedTargetsAreReadInPartsThatLeaveNoneOut(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for i := range 10 {
			device := fmt.Sprintf("d%d", i)
			attempt(t, s, device, 0, policy.Accepted)
			if i != 4 { // still open
				settle(t, s, device, policy.Failed)
			}
		}
		var all []string
		for after := ""; ; {
			found, err := s.Unresolved(t.Context(), project, task, after, 4)
			require.NoError(t, err)
			require.LessOrEqual(t, len(found), 4)
			if len(found) == 0 {
				break
			}
			for _, u := range found {
				all = append(all, u.DeviceID)
			}
			after = all[len(all)-1]
		}
		require.Equal(t, []string{"d0", "d1", "d2", "d3", "d5", "d6", "d7", "d8", "d9"}, all)
	})
}
