package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// ErrNoFolder is in the chain of the error for a ledger whose folder is not there.
var ErrNoFolder = errors.New("its folder does not exist")

// tryFolder writes a file in the ledger's folder and takes it away again. The files that are there may be
// writable where the folder is not, as on a volume that came with another owner: SQLite would then
// fail later, at the first thing it wants to lay beside the ledger, and say little.
func tryFolder(folder string) error {
	f, err := os.CreateTemp(folder, ".retryd-write-*")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("the folder %s cannot be written: %w; %s", folder, cause(err), remedy(folder, err))
}

// cause gives the system's own words, without the name of a file that nobody knows.
func cause(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

func remedy(folder string, err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "it is mounted read-only: mount a volume there that can be written, or set store.url"
	case errors.Is(err, syscall.ENOSPC):
		return "its disk is full: make room"
	case errors.Is(err, os.ErrPermission) && runtime.GOOS != "windows":
		return fmt.Sprintf("retryd runs as uid %d and gid %d: give it that folder (chown %[1]d:%[2]d %[3]s), or another one (store.url)", os.Getuid(), os.Getgid(), folder)
	}
	return "make it one that can be, or set store.url"
}

// mayOpen looks whether we may open the ledger's file and those beside it. SQLite would say of each of them that it
// cannot be opened, or is read-only, and not which or whose. They are not opened for that: to close one again would
// take from this process the locks that it may have on it already [fcntl(2)].
func mayOpen(path string, write bool) error {
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if err := access(file, write); errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%s: %w%s", file, err, whose(path, file))
		}
	}
	return nil
}

// whose says whom a file belongs to that we may not open, and what to do.
func whose(path, file string) string {
	info, err := os.Stat(file)
	what := "it"
	if err != nil { // its folder lets nobody else in
		what = "the folder " + filepath.Dir(file)
		info, err = os.Stat(filepath.Dir(file))
	}
	if err != nil {
		return ""
	}
	uid, gid, known := OwnerOf(info)
	if !known {
		return ""
	}
	owner, own := UserName(uid), UserName(os.Geteuid())
	if uid == os.Geteuid() {
		return fmt.Sprintf("; %s belongs to user %s, as which retryd runs, with mode %04o: chmod u+rw %s", what, owner, info.Mode().Perm(), file)
	}
	text := fmt.Sprintf("; %s belongs to user %s, and retryd runs here as %s: run it as %[2]s (%[4]s retryd …)", what, owner, own, AsUser(uid, gid))
	if what != "it" {
		return text
	}
	var all []string
	for _, name := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if _, err := os.Stat(name); err == nil {
			all = append(all, name)
		}
	}
	return fmt.Sprintf("%s, or, where the ledger is %[2]s's, give it back: sudo chown %s %s", text, own, toChown(os.Geteuid(), os.Getegid()), strings.Join(all, " "))
}

// makeLock makes the file of the lock, which is to be the owner's of the folder.
func makeLock(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(handOver(f), f.Close())
}
