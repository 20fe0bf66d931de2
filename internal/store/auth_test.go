package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

const within = 5 * time.Minute

func TestCredentialsAreTriedTwiceInATimeAndOthersAreApart(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s, beside := p.open(t), p.beside(t)
		first, until, err := s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.True(t, until.IsZero())
		p.sleep(time.Minute)
		require.NoError(t, s.EndAuth(t.Context(), first, true))
		refused := p.now
		p.sleep(time.Minute)
		second, until, err := beside.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.True(t, until.IsZero())
		_, until, err = s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.Equal(t, refused.Add(within), until, "one that is under way counts as refused")
		other, _, err := s.BeginAuth(t.Context(), "other", within)
		require.NoError(t, err)
		require.NotZero(t, other)
		require.NoError(t, beside.EndAuth(t.Context(), second, false))
		third, until, err := s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.True(t, until.IsZero(), "the second was accepted")
		require.NoError(t, s.EndAuth(t.Context(), third, false))
		require.NoError(t, s.RefusedAuth(t.Context(), "h"))
		_, until, err = s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.Equal(t, refused.Add(within), until)
		p.now = until
		_, until, err = s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.True(t, until.IsZero(), "the first is long enough ago")
	})
}

func TestRefusalsAreTakenOverFromAnotherLedgerAndForgottenInTime(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		from, err := store.Open(t.Context(), store.Options{Clock: p.o.Clock})
		require.NoError(t, err)
		defer from.Close()
		require.NoError(t, from.RefusedAuth(t.Context(), "h"))
		_, _, err = from.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		s := p.open(t)
		require.NoError(t, s.AdoptAuth(t.Context(), from))
		_, until, err := s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.Equal(t, epoch.Add(within), until)
		p.sleep(3 * time.Hour)
		_, _, err = s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		var n int
		require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM auth_failures`).Scan(&n))
		require.Equal(t, 1, n)
		p.sleep(-2 * time.Hour) // the clock is put back
		_, until, err = s.BeginAuth(t.Context(), "h", within)
		require.NoError(t, err)
		require.True(t, until.IsZero())
	})
}
