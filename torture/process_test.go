package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/buildtest"
	"retryd/internal/pgtest"
)

var bin struct {
	sync.Once
	folder, file string
	err          error
}

// binary builds the program, once.
func binary(t testing.TB) string {
	bin.Do(func() {
		if bin.folder, bin.err = os.MkdirTemp("", "retryd-torture-"); bin.err != nil {
			return
		}
		bin.file, bin.err = buildtest.Retryd(t.Context(), bin.folder)
	})
	require.NoError(t, bin.err)
	return bin.file
}

func TestMain(m *testing.M) {
	flag.Parse()
	wide := true
	flag.Visit(func(f *flag.Flag) { wide = wide && f.Name != "test.parallel" })
	if wide { // the proofs wait for most of their time
		_ = flag.Set("test.parallel", "8")
	}
	code := m.Run()
	pgtest.Stop()
	if bin.folder != "" {
		_ = os.RemoveAll(bin.folder)
	}
	os.Exit(code)
}

// daemon is `retryd run` as a process.
type daemon struct {
	cmd     *exec.Cmd
	address string
	key     string // access key
	out     *tail
	started time.Time
	ended   chan struct{} // closed when it has
	err     error         // of its end, once that is there
}

func launch(t testing.TB, address, config string) *daemon {
	d := &daemon{cmd: exec.Command(binary(t), "-c", config, "run"), address: address, out: &tail{}, ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	d.started = time.Now()
	require.NoError(t, d.cmd.Start())
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(d.kill)
	return d
}

// kill is kill -9. It returns when the process is no more.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

func (d *daemon) signal(s syscall.Signal) { _ = d.cmd.Process.Signal(s) }

// stopsIn is how long a stop may take: the grace and a little, or any time on a machine that has
// other things to do.
func stopsIn() time.Duration {
	if long() {
		return 10 * time.Second
	}
	return time.Minute
}

// within tells whether it ends within a time.
func (d *daemon) within(wait time.Duration) bool {
	select {
	case <-d.ended:
		return true
	case <-time.After(wait):
		return false
	}
}

// ready waits until it says that it is.
func (d *daemon) ready() error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if d.within(3 * time.Millisecond) {
			return fmt.Errorf("it ended before it was ready: %w", errors.Join(d.err, errors.New(d.out.last(10))))
		}
		resp, err := client.Get("http://" + d.address + "/-/ready")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("it does not become ready:\n" + d.out.last(10))
}

// freeAddress finds a port for one start: while no daemon runs, somebody else may take the last.
func freeAddress(t testing.TB) string {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// tail keeps what a process wrote.
type tail struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes more of it.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// last gives the last n lines.
func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(t.text.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// all gives everything.
func (t *tail) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
