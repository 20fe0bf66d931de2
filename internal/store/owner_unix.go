//go:build unix

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// access tells whether we may read a file, and write it.
func access(file string, write bool) error {
	mode := uint32(unix.R_OK)
	if write {
		mode |= unix.W_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, file, mode, unix.AT_EACCESS)
}

// OwnerOf gives whose a file is, where the system tells it.
func OwnerOf(info fs.FileInfo) (uid, gid int, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}

// handOver gives a file that root has just made to whom its folder belongs: the service, which is another user,
// could not open it otherwise. What SQLite lays beside the ledger it gives to the ledger's owner by itself.
func handOver(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	uid, gid, known := OwnerOf(info)
	if !known || uid == 0 {
		return nil
	}
	return f.Chown(uid, gid)
}
