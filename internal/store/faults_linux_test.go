package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// onDisk runs a test with a folder on a disk of a few MB.
func onDisk(t *testing.T, bytes int) string {
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprint("size=", bytes)); err != nil {
		return ""
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(folder, unix.MNT_DETACH)) })
	return folder
}

// fillUp claims until the ledger takes no more, and gives the error and the devices claimed.
func fillUp(ctx context.Context, s *store.Store) (claims int, err error) {
	for ; claims < 1000; claims++ {
		var candidates []store.Candidate
		for i := range 100 {
			candidates = append(candidates, store.Candidate{DeviceID: fmt.Sprintf("device-%d-%d", claims, i)})
		}
		if _, _, err := s.Claim(ctx, claim(fmt.Sprintf("%x", claims), 5, candidates...)); err != nil {
			return claims, err
		}
	}
	return claims, errors.New("it never filled up")
}

func TestAFullDiskIsSaidKeepsNoHalfAndIsGotOver(t *testing.T) {
	folder := onDisk(t, 4<<20)
	if folder == "" { // only root may mount one: the child's limit on the size of files is as good
		t.Log("no disk can be mounted: see the test of the child")
		return
	}
	var faults int
	o := store.Options{Path: filepath.Join(folder, "retryd.db"), Create: true, Observe: func(_ time.Duration, err error) {
		if err != nil {
			faults++
		}
	}}
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	ballast := filepath.Join(folder, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	claims, err := fillUp(t.Context(), s)
	require.ErrorContains(t, err, "the disk is full: free some space; a daemon that runs then goes on by itself: ")
	require.Positive(t, claims)
	for err = nil; err == nil; { // a page may still find room
		err = s.Writable(t.Context())
	}
	require.ErrorContains(t, err, "the disk is full")
	require.Equal(t, 2, faults)
	totals, err := s.Totals(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.Totals{Attempts: 100 * claims, Targets: 100 * claims, Open: 100 * claims}, totals, "all of a claim, or nothing")
	require.Empty(t, check(t, s))

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, s.Writable(t.Context()), "with the same handle")
	_, _, err = s.Claim(t.Context(), claim("ff", 5, store.Candidate{DeviceID: "d"}))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	o.Create = false
	s, err = store.Open(t.Context(), o)
	require.NoError(t, err)
	totals, err = s.Totals(t.Context())
	require.NoError(t, err)
	require.Equal(t, 100*claims+1, totals.Attempts)
	require.Empty(t, check(t, s))
	require.NoError(t, s.Close())
}

// TestALimitOnTheSizeOfFilesIsLikeADiskThatFails runs itself in another process: the limit is for
// all that a process writes.
func TestALimitOnTheSizeOfFilesIsLikeADiskThatFails(t *testing.T) {
	const variable = "RETRYD_TEST_SMALL_FILES"
	if path := os.Getenv(variable); path != "" {
		os.Exit(onSmallDisk(path))
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), variable+"="+filepath.Join(t.TempDir(), "retryd.db"))
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
}

// onSmallDisk is that process; it gives the exit code.
func onSmallDisk(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(bytes uint64) error {
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY})
	}
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Path: path, Create: true})
	problem := func(format string, args ...any) int {
		fmt.Printf(format+"\n", args...)
		return 1
	}
	if err := errors.Join(err, limit(1<<20)); err != nil {
		return problem("%v", err)
	}
	claims, err := fillUp(ctx, s)
	if err == nil || !strings.Contains(err.Error(), "the ledger's disk cannot be read or written: ") || claims == 0 {
		return problem("after %d claims: %v", claims, err)
	}
	totals, err := s.Totals(ctx)
	if want := 100 * claims; err != nil || totals.Attempts != want || totals.Open != want {
		return problem("after %d claims: %+v, %v", claims, totals, err)
	}
	if err := errors.Join(limit(unix.RLIM_INFINITY), s.Writable(ctx)); err != nil {
		return problem("with the limit gone: %v", err)
	}
	found, err := s.Check(ctx, true)
	if err := errors.Join(err, s.Close()); err != nil || len(found) > 0 {
		return problem("%v %v", found, err)
	}
	return 0
}

func TestAReadOnlyDiskIsSaid(t *testing.T) {
	folder := onDisk(t, 4<<20)
	if folder == "" {
		return
	}
	path := filepath.Join(folder, "retryd.db")
	s := open(t, path)
	attempt(t, s, "d", 0, policy.Rejected)
	require.NoError(t, s.Close())
	require.NoError(t, unix.Mount("", folder, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := store.Open(t.Context(), store.Options{Path: path})
	require.ErrorContains(t, err, "cannot be written: read-only file system; it is mounted read-only: mount a volume there")
	_, err = store.Open(t.Context(), store.Options{Path: filepath.Join(folder, "new.db"), Create: true})
	require.ErrorContains(t, err, "read-only file system")
	joined, err := store.Open(t.Context(), store.Options{Path: path, Join: true})
	require.ErrorContains(t, err, "the ledger's file")
	require.Nil(t, joined)
}

func TestAFileThatMayNotBeWrittenIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db")
	require.NoError(t, open(t, path).Close())
	if os.Getuid() == 0 { // whom rights do not stop
		const immutable = 0x10 // FS_IMMUTABLE_FL
		flags := func(set bool) error {
			f, err := os.Open(path)
			require.NoError(t, err)
			defer f.Close()
			attributes, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
			if err != nil {
				return err
			}
			attributes &^= immutable
			if set {
				attributes |= immutable
			}
			return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, attributes)
		}
		if err := flags(true); err != nil {
			t.Log("no file can be made immutable here: ", err)
			return
		}
		defer func() { require.NoError(t, flags(false)) }()
	} else {
		require.NoError(t, os.Chmod(path, 0o400))
	}
	_, err := store.Open(t.Context(), store.Options{Path: path})
	require.ErrorContains(t, err, "the ledger's file, its folder or the file system is read-only: make it writable for the user that retryd runs as")
}

// TestDamageThatAReadMeetsIsCountedAndEndsTheTrustInTheLedger has a page in the middle of the table of
// attempts flipped: the ledger opens, takes writes, and cannot be read to its end.
func TestDamageThatAReadMeetsIsCountedAndEndsTheTrustInTheLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db")
	s := open(t, path)
	reject(t, s, task, 2000)
	require.NoError(t, s.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(data[len(data)/2 : len(data)/2+20*4096])
	require.NoError(t, os.WriteFile(path, data, 0o600))
	var failed []error
	s, err = store.Open(t.Context(), store.Options{Path: path, ObserveRead: func(err error) { failed = append(failed, err) }})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Writable(t.Context()), "nothing has met it yet")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Totals(ended)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, failed, "that the reader left is no fault of the ledger")
	_, err = s.GetRequest(t.Context(), 1)
	require.ErrorIs(t, err, store.ErrNoRequest)
	require.Empty(t, failed)

	_, err = s.Records(t.Context(), project, task, deviceIDs(2000))
	require.ErrorContains(t, err, "the ledger's file is damaged: stop retryd, keep the file, ")
	require.True(t, store.Damaged(err))
	require.Len(t, failed, 1)
	require.True(t, store.Damaged(failed[0]))
	_, err = s.Totals(t.Context())
	require.True(t, store.Damaged(err))
	require.Len(t, failed, 2, "one row is a read as well")
	require.ErrorContains(t, s.Writable(t.Context()), "the ledger's file is damaged")
	require.ErrorContains(t, s.Under(store.Lease{Budget: "x"}).Writable(t.Context()), "the ledger's file is damaged", "whoever it is that writes")
}

func TestADamagedFileIsSaidAndNotWritten(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	s := open(t, whole)
	reject(t, s, task, 2000)
	require.NoError(t, s.Close())
	good, err := os.ReadFile(whole)
	require.NoError(t, err)
	for name, harm := range map[string]func([]byte) []byte{
		"garbage":          func([]byte) []byte { return bytes.Repeat([]byte("no ledger "), 1000) },
		"flipped header":   func(b []byte) []byte { b[3] ^= 0xff; return b },
		"flipped schema":   func(b []byte) []byte { clear(b[100:4096]); return b },
		"flipped pages":    func(b []byte) []byte { clear(b[len(b)/2 : len(b)/2+20*4096]); return b },
		"truncated":        func(b []byte) []byte { return b[:len(b)/2] },
		"truncated a bit":  func(b []byte) []byte { return b[:len(b)-4096] },
		"truncated to 100": func(b []byte) []byte { return b[:100] },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "retryd.db")
			harmed := harm(bytes.Clone(good))
			require.NoError(t, os.WriteFile(path, harmed, 0o600))
			reader, err := store.Open(t.Context(), store.Options{Path: path, ReadOnly: true})
			if err == nil {
				var found []store.Finding
				found, err = reader.Check(t.Context(), false)
				require.NoError(t, err)
				require.NotEmpty(t, found)
				require.Equal(t, store.FoundDamage, found[0].Kind)
				require.NoError(t, reader.Close())
			} else {
				require.ErrorContains(t, err, "the ledger's file is damaged: stop retryd, keep the file, ")
			}
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, harmed, after)
			s, err := store.Open(t.Context(), store.Options{Path: path})
			if err == nil { // what it has read so far is whole
				_, err = s.Records(t.Context(), project, task, deviceIDs(2000))
				if err == nil {
					_, _, err = s.Claim(t.Context(), claim(task, 5, claimAgain(2000)...))
				}
				require.NoError(t, s.Close())
			}
			if err != nil {
				require.ErrorContains(t, err, "the ledger's file is damaged")
			}
		})
	}
	empty := filepath.Join(t.TempDir(), "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	_, err = store.Open(t.Context(), store.Options{Path: empty, ReadOnly: true})
	require.ErrorContains(t, err, "has nothing in it")
}

func deviceIDs(n int) (ids []string) {
	for _, c := range numbered(n) {
		ids = append(ids, c.DeviceID)
	}
	return ids
}

func claimAgain(n int) []store.Candidate {
	all := numbered(n)
	for i := range all {
		all[i].LastN = 1
	}
	return all
}

func TestAReaderThatStaysDoesNotKeepTheLogLargeForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retryd.db")
	s := open(t, path)
	defer s.Close()
	reject(t, s, "aa", 100)
	p := &place{o: store.Options{Path: path}}
	reader, err := p.raw(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	var n int
	require.NoError(t, reader.QueryRow(`SELECT count(*) FROM attempts`).Scan(&n))
	for i := 0; ; i++ {
		reject(t, s, fmt.Sprintf("%x", i), 2000)
		if _, wal := s.Sizes(); wal > 24<<20 {
			break
		}
	}
	require.NoError(t, reader.Rollback())
	for range 20 { // the log is copied, begun anew, and cut back
		require.NoError(t, s.Writable(t.Context()))
		store.Copied(s)
	}
	_, wal := s.Sizes()
	require.LessOrEqual(t, wal, int64(16<<20))
}
