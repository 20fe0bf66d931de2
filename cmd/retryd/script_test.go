package main

import (
	"context"
	"flag"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"retryd/internal/emulator"
)

var update = flag.Bool("update", false, "write what the commands print now into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"retryd": main})
}

type emulatorKey struct{}

// TestCommands runs each script with an emulated platform of its own at $ENDPOINT.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			platform := newEmulator(emulator.Options{Upgrade: 500 * time.Millisecond})
			if _, err := platform.AddScene(60, time.Now()); err != nil {
				return err
			}
			server := httptest.NewServer(platform)
			e.Defer(server.Close)
			e.Values[emulatorKey{}] = platform
			e.Setenv("ENDPOINT", strings.TrimPrefix(server.URL, "http://"))
			l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("LISTEN", l.Addr().String())
			e.Setenv("TMPDIR", e.WorkDir+"/tmp")
			if err := os.Mkdir(e.WorkDir+"/tmp", 0o700); err != nil {
				return err
			}
			sample := "server: {listen: \"" + l.Addr().String() + "\"}\n" + sample(strings.TrimPrefix(server.URL, "http://"))
			if err := os.WriteFile(e.WorkDir+"/retryd.yaml", []byte(sample), 0o600); err != nil {
				return err
			}
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await-retries": awaitRetries,
			"promises":      promises,
			"healthy":       healthy,
		},
	})
}

// awaitRetries waits until the platform has been asked to retry.
func awaitRetries(ts *testscript.TestScript, _ bool, _ []string) {
	e := ts.Value(emulatorKey{}).(*emulator.Emulator)
	await(ts, "no retry came", func() bool { return len(e.Retries()) > 0 })
}

// healthy waits until a daemon answers.
func healthy(ts *testscript.TestScript, _ bool, _ []string) {
	await(ts, "no daemon answers", func() bool {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", ts.Getenv("LISTEN"))
		if err == nil {
			ts.Check(c.Close())
		}
		return err == nil
	})
}

func await(ts *testscript.TestScript, otherwise string, done func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			ts.Fatalf("%s", otherwise)
		}
		time.Sleep(20 * time.Millisecond) // another process is waited for
	}
}

// promises holds the platform's record against what may never happen.
func promises(ts *testscript.TestScript, _ bool, _ []string) {
	tries := map[string]int{}
	for _, r := range ts.Value(emulatorKey{}).(*emulator.Emulator).Retries() {
		if r.Accepted {
			tries[r.TaskID+" "+r.Target]++
		}
		if r.Busy != "" {
			ts.Fatalf("%s was retried while it was in motion in task %s", r.Target, r.Busy)
		}
	}
	if len(tries) == 0 {
		ts.Fatalf("nothing was retried")
	}
	for target, n := range tries {
		if n > 3 {
			ts.Fatalf("%s was retried %d times", target, n)
		}
	}
}
