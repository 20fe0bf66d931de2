package store

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

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
