package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func TestAnEmptyFileIsNoLedgerUnlessOneMayBeMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db") // as of a copy that failed
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	for _, o := range []store.Options{{Path: path}, {Path: path, ReadOnly: true}, {Path: path, Join: true}} {
		_, err := store.Open(t.Context(), o)
		require.ErrorIs(t, err, store.ErrNoLedger)
		require.ErrorContains(t, err, "put the ledger back that was there")
	}
	s := open(t, path)
	defer s.Close()
	require.True(t, s.Created())
}

func TestNothingIsWrittenIntoALedgerThatWasDeletedOrReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db")
	s := open(t, path)
	defer s.Close()
	attempt(t, s, "d", 0, policy.Rejected)
	require.NoError(t, os.Rename(path, path+".moved"))
	for range 2 {
		_, _, err := s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "d", LastN: 1}))
		require.ErrorContains(t, err, "was deleted, or another file was put in its place")
		require.Error(t, s.Writable(t.Context()))
		require.NoError(t, os.WriteFile(path, nil, 0o600)) // another one
	}
	require.NoError(t, os.Rename(path+".moved", path))
	attempt(t, s, "d", 1, policy.Rejected)
}

func TestWhetherALedgerIsDrivenIsKnownOfAFileOnly(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		driven, known := s.Driven()
		require.Equal(t, !s.Shared(), known, "there leases tell")
		require.Equal(t, known, driven)
	})
}

func TestWhetherALedgerIsDrivenIsKnownByTheLockThatEndsWithTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db")
	s := open(t, path)
	is := func(s *store.Store) bool {
		driven, known := s.Driven()
		require.True(t, known)
		return driven
	}
	require.True(t, is(s))
	joined, err := store.Open(t.Context(), store.Options{Path: path, Join: true})
	require.NoError(t, err)
	defer joined.Close()
	require.True(t, is(joined))
	require.NoError(t, s.Close())
	require.False(t, is(joined))
	for range 20 { // one who looks is in nobody's way
		s, err := store.Open(t.Context(), store.Options{Path: path})
		require.NoError(t, err)
		require.True(t, is(joined))
		require.NoError(t, s.Close())
		require.False(t, is(joined))
	}
	require.NoError(t, os.Remove(path+".lock"))
	_, known := joined.Driven()
	require.False(t, known, "somebody may have the lock on a file that was taken away")
	require.NoFileExists(t, path+".lock", "looking leaves nothing behind")
}
