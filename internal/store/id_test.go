package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALedgerKeepsItsIdAndNoOtherHasIt(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		id, err := s.ID(t.Context())
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{16}$`, id)
		require.False(t, seen[id])
		seen[id] = true
		again, err := p.beside(t).ID(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
