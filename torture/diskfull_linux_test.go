package torture

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheDiskIsFullForAWhile fills the disk under a daemon at work. No retry leaves without its
// attempt, and once there is space again it carries on by itself.
func TestTheDiskIsFullForAWhile(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.Mkdir(folder, 0o700))
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=24m"); err != nil {
		inNamespace(t, err)
		return
	}
	defer func() { require.NoError(t, syscall.Unmount(folder, syscall.MNT_DETACH)) }()

	p := newProof(t, 10, sqliteLedger(folder))
	p.p.calm.Store(true) // nothing else goes wrong
	for range 20 {
		p.w.grow()
	}
	d := p.launch()
	require.NoError(t, d.ready())
	rounds := 1
	if long() {
		rounds = 3
	}
	var off, on time.Duration // until its readiness follows
	for range rounds {
		p.p.await(d, moment{"retry", arrived}, 2, 5*time.Second)
		fill(t, folder)
		off = max(off, p.awaitStatus(d, http.StatusServiceUnavailable))
		time.Sleep(time.Second)
		before := len(p.p.Retries())
		time.Sleep(2 * time.Second)
		if after := len(p.p.Retries()); after != before {
			p.broken("no retry leaves while the ledger takes none", "some did", d)
		}
		p.judge(p.evidence(p.ledger.read), always, d)
		require.NoError(t, os.Remove(filepath.Join(folder, "filler")))
		on = max(on, p.awaitStatus(d, http.StatusOK))
		for range 8 {
			p.w.grow()
		}
		p.p.await(d, moment{"retry", answered}, 1, 10*time.Second)
		if len(p.p.Retries()) == before {
			p.broken("it carries on when there is space again", "nothing is retried", d)
		}
	}
	d.stop(p)
	p.f.lines = append(p.f.lines, fmt.Sprintf("the disk was full                       %d times; not ready after %s at most, ready again after %s", rounds, off.Round(time.Millisecond), on.Round(time.Millisecond)))
	p.rest(2*time.Minute, p.young())
}

// inNamespace runs the test again as root of a namespace of its own, where it may mount.
func inNamespace(t *testing.T, why error) {
	if os.Getenv("RETRYD_IN_NAMESPACE") != "" || !errors.Is(why, syscall.EPERM) {
		t.Fatal(why)
	}
	c := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), "RETRYD_IN_NAMESPACE=1")
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("a disk of its own needs root, or user namespaces: %v", err)
	}
}

// fill leaves no byte on the disk.
func fill(t *testing.T, folder string) {
	f, err := os.Create(filepath.Join(folder, "filler"))
	require.NoError(t, err)
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			size /= 2
		}
	}
}

// awaitStatus waits until it is ready, or is not, and gives how long that took.
func (p *proof) awaitStatus(d *daemon, status int) time.Duration {
	begun := time.Now()
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for time.Since(begun) < time.Minute {
		if resp, err := client.Get("http://" + d.address + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == status {
				return time.Since(begun)
			}
		}
		d.within(50 * time.Millisecond)
	}
	p.broken("readiness tells whether the ledger takes writes", http.StatusText(status)+" did not come", d)
	return time.Since(begun)
}
