package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"retryd/internal/emulator"
	"retryd/internal/store"
)

// manager is what systemd is to a service: a socket that it sends datagrams to.
type manager struct {
	t       *testing.T
	address string
	conn    *net.UnixConn
}

func newManager(t *testing.T) *manager {
	folder, err := os.MkdirTemp("", "sd") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	address := filepath.Join(folder, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &manager{t, address, conn}
}

// next gives the next message, within a time.
func (m *manager) next(within time.Duration) (string, error) {
	require.NoError(m.t, m.conn.SetReadDeadline(time.Now().Add(within)))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	return string(b[:n]), err
}

// until gives the first message that has a line, and what came before it.
func (m *manager) until(line string) (message string, before []string) {
	for {
		message, err := m.next(30 * time.Second)
		require.NoError(m.t, err, "no %s after %q", line, before)
		if strings.Contains("\n"+message, "\n"+line) {
			return message, before
		}
		before = append(before, message)
	}
}

// service is the real program as systemd starts it.
type service struct {
	*exec.Cmd
	*manager
	url, file, good string
	out             *lines
	ended           chan error
}

func startService(t *testing.T, environment ...string) *service {
	platform := httptest.NewServer(newEmulator(emulator.Options{}))
	t.Cleanup(platform.Close)
	address := freeAddress(t)
	s := &service{manager: newManager(t), url: "http://" + address, file: filepath.Join(t.TempDir(), "retryd.yaml"), out: &lines{}, ended: make(chan error, 1)}
	s.good = fmt.Sprintf("server: {listen: %q}\n", address) + sample(strings.TrimPrefix(platform.URL, "http://"))
	s.write(s.good)
	s.Cmd = exec.CommandContext(context.Background(), "retryd", "-c", s.file, "run")
	s.Env = append(os.Environ(), append(environment, "NOTIFY_SOCKET="+s.address)...)
	s.Stdout, s.Stderr = s.out, s.out
	require.NoError(t, s.Start())
	go func() { s.ended <- s.Wait() }()
	t.Cleanup(func() { _ = s.Process.Kill() })
	return s
}

func (s *service) write(text string) { require.NoError(s.t, os.WriteFile(s.file, []byte(text), 0o600)) }

func (s *service) signal(sig os.Signal) { require.NoError(s.t, s.Process.Signal(sig)) }

func monotonic(t *testing.T) int64 {
	var ts unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano() / 1000
}

func TestSystemdIsToldWhenItIsReadyReloadsAndStops(t *testing.T) {
	t.Parallel()
	s := startService(t, "WATCHDOG_USEC=2000000")
	message, before := s.until("READY=1")
	require.Equal(t, "READY=1\nSTATUS=drives emulator", message)
	require.Empty(t, before)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/-/ready", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "it is ready when it says so")
	for range 3 {
		_, _ = s.until("WATCHDOG=1")
	}

	for round, c := range []struct{ text, status string }{
		{s.good + "    retires: 3\n", `STATUS=drives emulator; the last reload was refused: .*unknown key "retires"`},
		{s.good + "    # another text\n", "STATUS=drives emulator$"},
		{s.good + "    # and another\n", "^READY=1$"}, // the status is that of before
	} {
		s.write(c.text)
		asked := monotonic(t)
		s.signal(syscall.SIGHUP)
		message, _ := s.until("RELOADING=1")
		at := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(message)
		require.NotNil(t, at, "%d: %q", round, message)
		moment, err := strconv.ParseInt(at[1], 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, moment, asked, "else systemd waits for another")
		require.LessOrEqual(t, moment, monotonic(t))
		message, _ = s.until("READY=1")
		require.Regexp(t, c.status, message)
	}

	s.signal(syscall.SIGTERM)
	message, _ = s.until("STOPPING=1")
	require.Equal(t, "STOPPING=1\nSTATUS=stops: calls in flight get 5 s", message)
	require.NoError(t, <-s.ended, s.out)
}

func TestWithoutAWatchdogNobodyFeedsOne(t *testing.T) {
	t.Parallel()
	s := startService(t)
	_, _ = s.until("READY=1")
	s.signal(syscall.SIGHUP)
	_, before := s.until("READY=1")
	require.Len(t, before, 1)
	s.signal(syscall.SIGTERM)
	_, before = s.until("STOPPING=1")
	require.Empty(t, before)
	require.NoError(t, <-s.ended, s.out)
}

func TestASecondSIGTERMEndsItAtOnce(t *testing.T) {
	t.Parallel()
	s := startService(t)
	_, _ = s.until("READY=1")
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://")) // is waited for
	require.NoError(t, err)
	defer silent.Close()
	s.signal(syscall.SIGTERM)
	_, _ = s.until("STOPPING=1")
	require.Eventually(t, func() bool { // the first is taken in a moment
		_ = s.Process.Signal(syscall.SIGTERM)
		return len(s.ended) > 0
	}, 10*time.Second, time.Millisecond)
	require.Error(t, <-s.ended)
	require.Equal(t, syscall.SIGTERM, s.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

func TestWhatCannotStartIsNeverReadyAndItsCodeSaysWhetherToTryAgain(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"a key that is not there":      {"nothing: 1\n", exitConfiguration},
		"an address that is taken":     {fmt.Sprintf("server: {listen: %q}\n", taken.Addr()) + sample("127.0.0.1:1"), exitFailed},
		"a ledger that cannot be made": {"store: {url: 'sqlite:none/below/it'}\nserver: {listen: '127.0.0.1:0'}\n" + sample("127.0.0.1:1"), exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			m, file := newManager(t), filepath.Join(t.TempDir(), "retryd.yaml")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
			cmd := exec.CommandContext(t.Context(), "retryd", "-c", file, "run")
			cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.address)
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, c.code, cmd.ProcessState.ExitCode(), "%s", out)
			_, err = m.next(time.Millisecond)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// clogged is a pipe whose reader stops to read when it is told to.
type clogged struct{ stop, written, release chan struct{} }

func (c clogged) Write(p []byte) (int, error) {
	select {
	case <-c.stop:
		select {
		case c.written <- struct{}{}:
		default:
		}
		<-c.release
	default:
	}
	return len(p), nil
}

// TestALoopThatIsStuckStopsTheFeeding has a loop of the scheduler hang in writing to the log.
func TestALoopThatIsStuckStopsTheFeeding(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", m.address)
	t.Setenv("WATCHDOG_USEC", "400000")
	logs := clogged{make(chan struct{}), make(chan struct{}, 1), make(chan struct{})}
	c := configOf(t, "")
	c.Log.Level = "error"
	h := build(c, c.Log, logs)
	require.NoError(t, h.open(&app{ctx: t.Context()}, store.Options{Path: filepath.Join(t.TempDir(), "ledger"), Create: true}))
	s, err := h.scheduler(nil)
	require.NoError(t, err)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	v := newSupervisor(h.log, s, h.store.Writable)
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- v.follow(ctx) }()
	_, _ = m.until("READY=1")
	_, _ = m.until("WATCHDOG=1")

	close(logs.stop)
	require.NoError(t, h.store.Close()) // it says so when it is woken
	s.Wake()
	<-logs.written
	message, _ := m.until("STATUS=")
	require.Regexp(t, "^STATUS=the loop that looks for what people ask for is stuck: .*; drives emulator$", message)
	message, err = m.next(2 * time.Second) // in which it would have been fed twenty times
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, message)

	close(logs.release)
	message, _ = m.until("WATCHDOG=1")
	require.Equal(t, "WATCHDOG=1\nSTATUS=drives emulator", message)
	stop()
	for range 2 {
		require.NoError(t, <-ended)
	}
}
