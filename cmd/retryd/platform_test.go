package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// What scripts do to the platform, and how they look at what retryd makes of it.

func platformOf(ts *testscript.TestScript) *stage { return ts.Value(emulatorKey{}).(*stage) }

// stage is a platform that can be made to misspeak.
type stage struct {
	*emulator.Emulator
	said, saying atomic.Pointer[string] // what its answers hold, and what they hold instead
}

// ServeHTTP answers as the platform does, but for the words that are changed.
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said, saying := s.said.Load(), s.saying.Load()
	if said == nil {
		s.Emulator.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	s.Emulator.ServeHTTP(answer, r)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = io.WriteString(w, strings.ReplaceAll(answer.Body.String(), *said, *saying))
}

// campaign adds a batch task: campaign VAR [software] [age=2h] [status=Stopped] [app=app1] [name=fw-2] DEVICE=Fail;recover=2;message=… …
// $VAR is its id afterwards. A device without anything behind it succeeded.
func campaign(ts *testscript.TestScript, _ bool, args []string) {
	t := emulator.Task{Name: strings.ToLower(args[0]), Type: iotda.FirmwareUpgrade, Created: time.Now()}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "software":
			t.Type = iotda.SoftwareUpgrade
		case "age":
			age, err := time.ParseDuration(value)
			ts.Check(err)
			t.Created = time.Now().Add(-age)
		case "status":
			t.Status = iotda.TaskStatus(value)
		case "app":
			t.App = value
		case "name":
			t.Name = value
		case "undated":
			t.CreateTime = value
		default:
			t.Devices = append(t.Devices, device(ts, name, value))
		}
	}
	id, err := platformOf(ts).AddTask(t)
	ts.Check(err)
	ts.Setenv(args[0], id)
}

// campaigns adds N of a kind: campaigns N ….
func campaigns(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		campaign(ts, neg, append([]string{"_"}, append(args[1:], "lamp-1=Fail")...))
	}
}

func device(ts *testscript.TestScript, id, value string) emulator.Device {
	d := emulator.Device{ID: id, Status: iotda.SubtaskSuccess}
	for i, part := range strings.Split(value, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case i == 0 && part != "":
			d.Status = iotda.SubtaskStatus(part)
		case name == "recover":
			n, err := strconv.Atoi(value)
			ts.Check(err)
			d.Fate.RecoverAt = n
		case name == "message":
			d.Fate.Message = strings.ReplaceAll(value, "ESC", "\x1b")
		case name == "code":
			d.Fate.Code = value
		case name == "refused":
			d.Fate.Refused = true
		case name == "takes":
			takes, err := time.ParseDuration(value)
			ts.Check(err)
			d.Fate.Upgrade = takes
		case part != "":
			ts.Fatalf("campaign: what is %q?", part)
		}
	}
	return d
}

// onPlatform is what happens there: platform stop|remove TASK, console-retry TASK DEVICE…, clock OFFSET,
// token TOKEN ENDS-IN, offline DEVICE, fault OP FAULT [TASK], fault none, misspeak WORDS INSTEAD.
func onPlatform(ts *testscript.TestScript, _ bool, args []string) {
	e := platformOf(ts)
	switch args[0] {
	case "stop":
		e.StopTask(args[1])
	case "remove":
		e.RemoveTask(args[1])
	case "console-retry":
		e.ConsoleRetry(args[1], args[2:]...)
	case "clock":
		offset, err := time.ParseDuration(args[1])
		ts.Check(err)
		e.SetClock(offset)
	case "token":
		ends, err := time.ParseDuration(args[2])
		ts.Check(err)
		e.IssueToken(args[1], time.Now().Add(ends))
	case "offline":
		e.SetOnline(args[1], false)
	case "fault":
		e.SetFault(func(c emulator.Call) emulator.Fault {
			if len(args) > 2 && c.Op == args[1] && (len(args) < 4 || c.TaskID == args[3]) {
				return emulator.Fault(args[2])
			}
			return ""
		})
	case "misspeak":
		e.said.Store(&args[1])
		e.saying.Store(&args[2])
	default:
		ts.Fatalf("platform: what is %q?", args[0])
	}
}

// refusals looks at how many calls the platform refused for their credentials.
func refusals(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, c := range platformOf(ts).Calls() {
		if c.Status == http.StatusUnauthorized {
			n++
		}
	}
	if strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d calls were refused", n)
	}
}

// met collects the verdicts that scripts have met.
var met struct {
	sync.Mutex
	verdicts map[string]bool
	scripts  int // that were begun
}

var (
	columns = regexp.MustCompile(` {2,}`)
	moments = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

// verdict looks for a row of the plan that was just printed: verdict WHO REASON DETAIL [NOT-BEFORE]. WHO is a
// device, or a task that has one as a whole, by its id or by the count of its targets in brackets; moments are
// written TIME.
func verdict(ts *testscript.TestScript, neg bool, args []string) {
	have := ts.ReadFile("stdout")
	for line := range strings.Lines(have) {
		cells := columns.Split(strings.TrimSpace(moments.ReplaceAllString(line, "TIME")), -1)
		whole := len(cells) == 8 && cells[2] == args[0] && strings.HasPrefix(cells[3], "(")
		if len(cells) != 8 || cells[3] != args[0] && !whole || cells[4] != args[1] || cells[5] != args[2] || len(args) > 3 && cells[6] != args[3] {
			continue
		}
		if neg {
			ts.Fatalf("there is such a row:\n%s", have)
		}
		met.Lock()
		defer met.Unlock()
		met.verdicts[args[1]+" "+args[2]] = true
		return
	}
	if !neg {
		ts.Fatalf("no row has %q:\n%s", args, have)
	}
}

// checkVerdicts holds what the scripts met against the page that explains it: nothing is met
// that is not explained, and, where all scripts were run, nothing is explained that no script met.
func checkVerdicts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	all := met.scripts == len(scripts)
	data, err := os.ReadFile("../../docs/deciding.md")
	require.NoError(t, err)
	text, _, _ := strings.Cut(string(data), "\n## When")
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([^`]+)` ").FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, rows)
	explained := map[string]bool{}
	for _, row := range rows {
		form := regexp.QuoteMeta(row[1] + " " + row[2])
		for word, pattern := range map[string]string{
			"TIME": "TIME", "TASK": "[0-9a-f]{24}", `\bN\b`: `\d+`, `\bM\b`: `\d+`, "NAME": "[a-z0-9-]+", "WORD": "[A-Za-z_]+", "WHO": `\S+`, "DEVICE": `\S+`, "TEXT": ".+",
		} {
			form = regexp.MustCompile(word).ReplaceAllLiteralString(form, pattern)
		}
		re := regexp.MustCompile("^" + form + "$")
		found := false
		for v := range met.verdicts {
			if re.MatchString(v) {
				found, explained[v] = true, true
			}
		}
		if !found && all {
			t.Errorf("docs/deciding.md explains what no script has met: %s %s", row[1], row[2])
		}
	}
	for v := range met.verdicts {
		if !explained[v] {
			t.Errorf("docs/deciding.md does not explain: %s", v)
		}
	}
}

// metric waits until a line of what the daemon exports matches: metric REGEXP. ! metric waits until none does.
func metric(ts *testscript.TestScript, neg bool, args []string) {
	line, have := regexp.MustCompile("(?m)"+args[0]), ""
	await(ts, "no such metric: "+args[0], func() bool {
		have = exported(ts)
		return have != "" && line.MatchString(have) != neg
	})
}

// exported gives what the daemon exports, empty where it does not answer.
func exported(ts *testscript.TestScript) string { return get(ts, "/metrics") }

func get(ts *testscript.TestScript, path string) string {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+ts.Getenv("LISTEN")+path, nil)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// served writes what the daemon serves into a file: served PATH FILE.
func served(ts *testscript.TestScript, _ bool, args []string) {
	text := get(ts, args[0])
	if text == "" {
		ts.Fatalf("the daemon does not answer")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// signalDaemon sends SIGHUP to what runs in the background.
func signalDaemon(ts *testscript.TestScript, _ bool, args []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(map[string]syscall.Signal{"HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT}[args[0]]))
	}
}

// pauseAWhile lets real time pass: another process is waited for.
func pauseAWhile(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// ledgerMoves puts everything in the ledger back by some time, as if that had passed since.
func ledgerMoves(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	db, err := sql.Open("sqlite", ts.MkAbs("retryd.db"))
	ts.Check(err)
	defer db.Close()
	for table, moments := range map[string][]string{
		"targets":  {"first_at", "seen_at", "closed_at"},
		"attempts": {"claimed_at", "send_by", "answered_at", "fail_seen_at", "settled_at", "tick"},
		"tasks":    {"first_seen", "last_seen", "missing_since", "gone_at"}, "policies": {"first_seen"},
		"ticks": {"tick", "started_at", "finished_at"}, "pauses": {"at", "until"}, "approvals": {"at", "until"}, "halts": {"at", "until"},
		"auth_failures": {"at"},
	} {
		for _, column := range moments {
			_, err := db.ExecContext(context.Background(), fmt.Sprintf("UPDATE %s SET %s = %s - ? WHERE %s > 0", table, column, column, column), d.Microseconds())
			ts.Check(err)
		}
	}
}
