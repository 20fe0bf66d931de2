//go:build !unix

package store

import (
	"io/fs"
	"os"
)

func access(string, bool) error { return nil }

// OwnerOf gives whose a file is, where the system tells it.
func OwnerOf(fs.FileInfo) (uid, gid int, known bool) { return 0, 0, false }

func handOver(*os.File) error { return nil }
