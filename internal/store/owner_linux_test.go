package store_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

const stranger = 65534 // nobody, or whoever has that number

// as runs something as another user of the system, on a thread that ends with it; only root can.
func as(t *testing.T, id int, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others
		for _, call := range []uintptr{syscall.SYS_SETRESGID, syscall.SYS_SETRESUID} {
			if _, _, errno := syscall.RawSyscall(call, ^uintptr(0), uintptr(id), ^uintptr(0)); errno != 0 {
				t.Errorf("become user %d: %s", id, errno)
				return
			}
		}
		do()
	}()
	<-done
}

// forEverybody is a folder that any user can reach.
func forEverybody(t *testing.T) string {
	folder, err := os.MkdirTemp("/tmp", "retryd-owner-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	return folder
}

func TestALedgerThatRootMakesBelongsToWhomTheFolderBelongs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone can give files away")
	}
	folder := forEverybody(t)
	require.NoError(t, os.Chown(folder, stranger, stranger))
	path := filepath.Join(folder, "retryd.db")
	s := open(t, path)
	require.NoError(t, s.Writable(t.Context()))
	require.NoError(t, s.CopyTo(t.Context(), filepath.Join(folder, "copy.db")))
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	require.Subset(t, files, []string{path, path + "-wal", path + "-shm", path + ".lock"})
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.EqualValues(t, stranger, info.Sys().(*syscall.Stat_t).Uid, file)
		require.EqualValues(t, stranger, info.Sys().(*syscall.Stat_t).Gid, file)
	}
	require.NoError(t, s.Close())
	as(t, stranger, func() {
		s, err := store.Open(t.Context(), store.Options{Path: path})
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestALedgerOfAnotherUserIsNamedWithItsOwnerAndWhatToDo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone can be somebody else")
	}
	folder := forEverybody(t)
	path := filepath.Join(folder, "retryd.db")
	require.NoError(t, open(t, path).Close())
	require.NoError(t, os.Chown(folder, stranger, stranger)) // as where the ledger was made by an older retryd
	for _, o := range []store.Options{{Path: path}, {Path: path, Create: true}, {Path: path, Join: true}, {Path: path, ReadOnly: true}} {
		var err error
		as(t, stranger, func() { _, err = store.Open(t.Context(), o) })
		require.ErrorContains(t, err, "ledger "+path+": permission denied; it belongs to user root, and retryd runs here as ")
		require.ErrorContains(t, err, "run it as root (sudo -u root retryd …), or, where the ledger is ")
		require.ErrorContains(t, err, ": sudo chown ")
		require.ErrorContains(t, err, ": "+path+" "+path+".lock")
	}
	require.NoError(t, os.Chown(folder, 0, 0))
	require.NoError(t, os.Chmod(folder, 0o700))
	var err error
	as(t, stranger, func() { _, err = store.Open(t.Context(), store.Options{Path: path}) })
	require.ErrorContains(t, err, "; the folder "+folder+" belongs to user root, and retryd runs here as ")
}

// nameless is a user's number that no list of users has.
const nameless = 1<<31 - 7

func TestAnOwnerWithoutANameIsOneForTheCommandsToo(t *testing.T) {
	require.Equal(t, "root", store.UserName(0))
	require.Equal(t, "sudo -u root", store.AsUser(0, 0))
	require.Equal(t, "2147483641", store.UserName(nameless))
	require.Equal(t, "sudo setpriv --reuid=2147483641 --regid=7 --clear-groups", store.AsUser(nameless, 7))
	if os.Geteuid() != 0 {
		t.Skip("root alone can give files away, and be somebody else")
	}
	path := filepath.Join(forEverybody(t), "retryd.db")
	require.NoError(t, open(t, path).Close())
	require.NoError(t, os.Chown(path, nameless, nameless))
	var err error
	as(t, nameless+1, func() { _, err = store.Open(t.Context(), store.Options{Path: path, Join: true}) })
	require.ErrorContains(t, err, "it belongs to user 2147483641, and retryd runs here as 2147483642: run it as 2147483641 (sudo setpriv --reuid=2147483641 --regid=2147483641 --clear-groups retryd …), "+
		"or, where the ledger is 2147483642's, give it back: sudo chown 2147483642:2147483642 "+path)
}
