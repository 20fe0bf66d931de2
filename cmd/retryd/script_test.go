package main

import (
	"context"
	"flag"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/pgtest"
)

var update = flag.Bool("update", false, "write what the commands print now into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"retryd": main})
}

// tests ends what they started.
type tests struct{ m *testing.M }

// Run runs them.
func (t tests) Run() int {
	defer pgtest.Stop()
	return t.m.Run()
}

type emulatorKey struct{}

// TestCommands runs each script with an emulated platform of its own at $ENDPOINT.
func TestCommands(t *testing.T) {
	met.verdicts, met.scripts = map[string]bool{}, 0
	t.Cleanup(func() { checkVerdicts(t) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			met.Lock()
			met.scripts++
			met.Unlock()
			platform := &stage{Emulator: newEmulator(emulator.Options{
				Upgrade: 500 * time.Millisecond, Apps: []iotda.App{{ID: "app1", Name: "lamps"}}, Users: []emulator.User{{Domain: demoDomain, Name: demoUser, Password: demoPassword}},
			})}
			if !strings.HasPrefix(filepath.Base(e.WorkDir), "script-verdict-") { // those make their own campaigns
				if _, err := platform.AddScene(60, time.Now()); err != nil {
					return err
				}
			}
			server := httptest.NewServer(platform)
			e.Defer(server.Close)
			e.Values[emulatorKey{}] = platform
			e.Values[receiverKey{}] = newReceiver(e)
			e.Setenv("ENDPOINT", strings.TrimPrefix(server.URL, "http://"))
			l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("LISTEN", l.Addr().String())
			e.Setenv("TMPDIR", e.WorkDir+"/tmp")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			if err := os.Mkdir(e.WorkDir+"/tmp", 0o700); err != nil {
				return err
			}
			e.Setenv("WHO", who())
			e.Setenv("GORACE", "atexit_sleep_ms=10") // each command would take a second to exit otherwise
			whole := "server: {listen: \"" + l.Addr().String() + "\"}\n" + sample(strings.TrimPrefix(server.URL, "http://"))
			connection, _, _ := strings.Cut(whole, "policies:") // for scripts with policies of their own
			for name, text := range map[string]string{"retryd.yaml": whole, "connection.yaml": connection} {
				if err := os.WriteFile(e.WorkDir+"/"+name, []byte(text), 0o600); err != nil {
					return err
				}
			}
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await-retries": awaitRetries,
			"promises":      promises,
			"healthy":       healthy,
			"campaign":      campaign,
			"campaigns":     campaigns,
			"await-call":    awaitCall,
			"platform":      onPlatform,
			"verdict":       verdict,
			"metric":        metric,
			"served":        served,
			"refusals":      refusals,
			"signal":        signalDaemon,
			"pause-a-while": pauseAWhile,
			"ledger-moves":  ledgerMoves,
			"modes":         modes,
			"postgres":      postgres,
			"password":      setPassword,
			"old-ledger":    oldLedger,
			"shipped":       shipped,
			"retries":       countRetries,
			"await-file":    awaitFile,
			"receiver":      receiverAnswers,
			"delivered":     delivered,
		},
	})
}

// shipped copies a file of the project: shipped FILE.
func shipped(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(filepath.Base(args[0])), data, 0o600))
}

// postgres makes a database, and writes a file of configuration that has the ledger in it.
func postgres(ts *testscript.TestScript, _ bool, args []string) {
	address, drop, err := pgtest.Create(context.Background())
	ts.Check(err)
	ts.Defer(func() { ts.Check(drop()) })
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("lease: {ttl: 5s}\nstore: {url: \""+address+"\"}\n"), 0o600))
}

// awaitRetries waits until the platform has been asked to retry.
func awaitRetries(ts *testscript.TestScript, _ bool, _ []string) {
	await(ts, "no retry came", func() bool { return len(platformOf(ts).Retries()) > 0 })
}

// countRetries puts how many retry calls have come into a variable: retries NAME.
func countRetries(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strconv.Itoa(len(platformOf(ts).Retries())))
}

// awaitFile waits until there is such a file: await-file FILE.
func awaitFile(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, "no "+args[0]+" came", func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

// awaitCall waits until the platform is at a call with a fault: await-call FAULT.
func awaitCall(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, "no such call came", func() bool {
		return slices.ContainsFunc(platformOf(ts).Calls(), func(c emulator.Call) bool { return string(c.Fault) == args[0] })
	})
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
	for _, r := range platformOf(ts).Retries() {
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
