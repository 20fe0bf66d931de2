package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"retryd/internal/store"
)

// screen is a terminal with a command on it, which a person types at.
type screen struct {
	t      *testing.T
	keys   *os.File // the person's end
	c      *exec.Cmd
	ended  chan struct{}
	code   int
	mu     sync.Mutex
	showed bytes.Buffer
	asked  int // how much of it had been shown when an answer was typed
}

// atTerminal starts the real command on a terminal of its own, in a folder.
func atTerminal(t *testing.T, folder string, args ...string) *screen {
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: mount devpts (%s)", err)
	}
	raw, err := keys.SyscallConn()
	require.NoError(t, err)
	var n uint32
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			n, failed = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN)
		}
	}))
	require.NoError(t, failed)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	s := &screen{t: t, keys: keys, ended: make(chan struct{})}
	s.c = &exec.Cmd{
		Path: self, Args: append([]string{"retryd"}, args...), Dir: folder, Env: append(os.Environ(), "XDG_CACHE_HOME="+folder), // its name tells what it is to be
		Stdin: tty, Stdout: tty, Stderr: tty, SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	}
	require.NoError(t, s.c.Start())
	require.NoError(t, tty.Close())
	go s.watch()
	t.Cleanup(func() {
		_ = s.c.Process.Kill() // where it has not ended
		<-s.ended
		_ = keys.Close()
	})
	return s
}

// watch reads what is shown until the command has ended.
func (s *screen) watch() {
	defer close(s.ended)
	part := make([]byte, 4096)
	for {
		n, err := s.keys.Read(part)
		s.mu.Lock()
		s.showed.Write(part[:n])
		s.mu.Unlock()
		if err != nil { // the terminal has nobody on it
			_ = s.c.Wait() // its code says it
			s.code = s.c.ProcessState.ExitCode()
			return
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(s.showed.String(), "\r\n", "\n")
}

// answers waits for what is new to end with a question, and types.
func (s *screen) answers(question, keys string) {
	s.t.Helper()
	asked := func() bool { return strings.HasSuffix(s.text()[s.asked:], question) }
	require.Eventually(s.t, asked, 20*time.Second, 5*time.Millisecond, "it was not asked %q", question)
	s.asked = len(s.text())
	_, err := s.keys.WriteString(keys)
	require.NoError(s.t, err)
}

// ends waits for the command's end, and gives its exit code and all that was shown.
func (s *screen) ends() (code int, showed string) {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "it goes on", s.text())
	}
	return s.code, s.text()
}

// Keys that mean something to a terminal.
const (
	ctrlC = "\x03"
	ctrlD = "\x04"
)

func TestWhoeverIsAskedCanLeave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys  string
		code  int
		says  string
		holds bool // the pause is still there
	}{
		"^D at the question": {ctrlD, exitFailed, "Go on? [y/N] \nretryd: nothing is done\n", true},
		"^C at the question": {ctrlC, exitFailed, "retryd: nothing is done\n", true},
		"no":                 {"n\n", exitFailed, "retryd: nothing is done\n", true},
		"an empty line":      {"\n", exitFailed, "retryd: nothing is done\n", true},
		"yes":                {"y\n", exitDone, "resumed: all (1 pause ended)\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "retryd.yaml")
			require.NoError(t, os.WriteFile(file, []byte("server: {listen: \"127.0.0.1:1\"}\n"+sample("127.0.0.1:1")), 0o600)) // nobody is there
			ledger, err := store.Open(t.Context(), store.Options{Path: filepath.Join(filepath.Dir(file), "retryd.db"), Create: true})
			require.NoError(t, err)
			require.NoError(t, ledger.Close())
			var out, said bytes.Buffer
			require.Equal(t, exitDone, run(t.Context(), []string{"-c", file, "pause", "--all", "--why", "storm"}, &out, &said), &said)
			s := atTerminal(t, filepath.Dir(file), "resume", "--all", "--why", "it is over")
			s.answers("Go on? [y/N] ", c.keys)
			code, showed := s.ends()
			require.Equal(t, c.code, code, showed)
			require.True(t, strings.HasSuffix(showed, c.says), showed)
			out.Reset()
			require.Equal(t, exitDone, run(t.Context(), []string{"-c", file, "status"}, &out, &said), &said)
			require.Equal(t, c.holds, strings.Contains(out.String(), "Everything is paused"), out.String())
		})
	}
}

func TestInitAsksAtATerminalUntilAnAnswerCanBe(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := atTerminal(t, folder, "init")
	const address, project = "Overview [leave it empty to fill it in later]: ", "My Credentials [leave it empty to fill it in later]: "
	s.answers(address, "http:///x\n")
	s.answers(address, "9bc34d7e5a.st1.iotda-app.cn-east-3.myhuaweicloud.com\n")
	s.answers(project, "no id!\n")
	s.answers("not \"no id!\"\nProject id, 32 hex digits in "+project, "lamps\n")
	s.answers("is it the project's name? If it is meant so, say it once more.\nProject id, 32 hex digits in "+project, "0123456789abcdef0123456789abcdef\n")
	s.answers("[prod]: ", "no name!\n")
	s.answers("[prod]: ", "lab\n")
	code, showed := s.ends()
	require.Equal(t, exitDone, code, showed)
	require.Contains(t, showed, "endpoint must be scheme://host")
	require.Contains(t, showed, "name must be up to 64 letters")
	var out, said bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"check", filepath.Join(folder, "retryd.yaml")}, &out, &said), &said)
	require.Empty(t, said.String())
}

func TestInitTakesWhatIsMeantAtTheSecondTime(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := atTerminal(t, folder, "init", "--endpoint", "9bc34d7e5a.st1.iotda-app.cn-east-3.myhuaweicloud.com", "--name", "lab")
	s.answers("]: ", "lamps\n")
	s.answers("say it once more.\nProject id, 32 hex digits in My Credentials [leave it empty to fill it in later]: ", "lamps\n")
	code, showed := s.ends()
	require.Equal(t, exitDone, code, showed)
	text, err := os.ReadFile(filepath.Join(folder, "retryd.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(text), "project_id: lamps\n")
}

func TestInitCanBeLeft(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := atTerminal(t, folder, "init")
	s.answers("]: ", ctrlC)
	code, showed := s.ends()
	require.Equal(t, exitFailed, code, showed)
	require.Contains(t, showed, "retryd: interrupted: nothing is written")
	require.NoFileExists(t, filepath.Join(folder, "retryd.yaml"))

	s = atTerminal(t, folder, "init") // who says no more leaves the rest to be filled in
	s.answers("]: ", ctrlD)
	code, showed = s.ends()
	require.Equal(t, exitDone, code, showed)
	require.Contains(t, showed, "Fill in endpoint and project_id, where it has <…>. Then:")
	require.FileExists(t, filepath.Join(folder, "retryd.yaml"))
}
