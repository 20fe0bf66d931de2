package store_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

// In /proc not even root can make a file: what root may do elsewhere depends on where the test runs. The
// images' test has a folder of another user's, a read-only one and a full one.
func TestAFolderThatCannotBeWrittenIsNamedAtTheStart(t *testing.T) {
	_, err := store.Open(t.Context(), store.Options{Path: "/proc/retryd.db", Create: true})
	require.ErrorContains(t, err, "ledger /proc/retryd.db: the folder /proc cannot be written: ")
	require.ErrorContains(t, err, "or set store.url")
	require.NotContains(t, err.Error(), ".retryd-write")
}

func TestTryingTheFolderLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	s := open(t, filepath.Join(folder, "retryd.db"))
	require.NoError(t, s.Close())
	left, err := filepath.Glob(filepath.Join(folder, ".retryd-write*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
