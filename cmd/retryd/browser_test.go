package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"retryd/internal/chromiumtest"
	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// browsed is a daemon with a password, and a tab of a browser in which ann looks at it.
type browsed struct {
	*daemon
	e       *emulator.Emulator
	told    *receiver
	address string
	ctx     context.Context

	did []act

	mu    sync.Mutex
	asked int      // requests of the browser
	wrong []string // errors of the console, and requests to other hosts
}

func newBrowsed(t *testing.T) *browsed {
	b := &browsed{e: newEmulator(emulator.Options{Upgrade: 200 * time.Millisecond}), told: &receiver{status: http.StatusOK}, address: freeAddress(t)}
	b.ctx = newTab(t, b.hear)
	platform, receives := httptest.NewServer(b.e), httptest.NewServer(b.told)
	t.Cleanup(platform.Close)
	t.Cleanup(receives.Close)
	folder := t.TempDir()
	replace(t, filepath.Join(folder, "web.yaml"), userAnn(t, annsPassword))
	connection, _, _ := strings.Cut(sample(strings.TrimPrefix(platform.URL, "http://")), "policies:")
	file := filepath.Join(folder, "retryd.yaml")
	replace(t, file, fmt.Sprintf("server: {listen: %q, external_url: \"http://%[1]s\", web_config: web.yaml, admins: [ann]}\n", b.address)+
		connection+strings.Replace(string(must(os.ReadFile("testdata/browser.yaml"))), "RECEIVER", receives.URL, 1))
	b.daemon = startDaemon(t, url.UserPassword("ann", annsPassword).String()+"@"+b.address, "-c", file)
	t.Cleanup(b.stop)
	return b
}

// newTab starts a browser, whose tab tells of what happens in it.
func newTab(t *testing.T, hear func(any)) context.Context {
	ctx := chromiumtest.Start(t)
	require.NoError(t, chromedp.Listen(ctx, hear))
	require.NoError(t, chromedp.Do(ctx, chromiumtest.Command(network.Enable, network.EnableParams{}), chromiumtest.Command(log.Enable, cdp.Empty{}),
		chromiumtest.Command(runtime.Enable, cdp.Empty{})))
	return ctx
}

func (b *browsed) hear(event any) {
	said := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = fmt.Sprintf("exception: %+v", e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		said = "console:"
		for _, arg := range e.Args {
			said += fmt.Sprintf(" %s", arg.Value)
		}
	case *log.EventEntryAdded:
		said = "log: " + e.Entry.Text + " " + e.Entry.URL
	case *network.EventRequestWillBeSent:
		b.mu.Lock()
		b.asked++
		b.mu.Unlock()
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.address {
			said = "request: " + e.Request.URL
		}
	}
	if said != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wrong = append(b.wrong, said)
	}
}

func (b *browsed) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

func (b *browsed) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

func (b *browsed) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// waits until an expression is true.
func (b *browsed) waits(script string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		body, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
		require.NoError(b.t, err, "not yet: %s\n%s", script, body)
	}
}

// reads waits until a part of the page has a text.
func (b *browsed) reads(selector, text string) {
	b.t.Helper()
	b.waits(fmt.Sprintf(`document.querySelector(%q)?.innerText.includes(%q)`, selector, text))
}

// act is what an operator does: presses a button, ticks a box, reads what would happen, gives a reason, confirms,
// and is told what came of it.
type act struct{ button, tick, would, why, told, logged string }

func (b *browsed) acts(a act) {
	b.t.Helper()
	b.click(`button[aria-label="` + a.button + `"]`)
	if a.tick != "" {
		b.waits(`!document.querySelector(".will").innerText.startsWith("Asking")`) // which moves the box
		b.click(`dialog [name=` + a.tick + `]`)
	}
	b.reads("dialog", a.would)
	b.do(chromedp.SendKeys(chromedp.CSS(`[name=why]`), a.why))
	b.click("dialog .do:enabled")
	b.reads(".told", a.told)
	b.did = append(b.did, a)
}

// sent is how many retries of a device the platform has accepted, by its own record.
func (b *browsed) sent(device string) (n int) {
	for _, r := range b.e.Retries() {
		if r.Target == device && r.Accepted {
			n++
		}
	}
	return n
}

var linked = regexp.MustCompile(`"url":"([^"]+)"`)

// links are those of all digests so far.
func (b *browsed) links() map[string]bool {
	b.told.mu.Lock()
	defer b.told.mu.Unlock()
	links := map[string]bool{}
	for _, g := range b.told.got {
		for _, found := range linked.FindAllStringSubmatch(g.body, -1) {
			var link string
			_ = json.Unmarshal([]byte(`"`+found[1]+`"`), &link) // "&" may be escaped
			links[link] = true
		}
	}
	return links
}

// TestAnOperatorInABrowser does with the page of a daemon that runs what operators do.
func TestAnOperatorInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowsed(t)
	add := func(name string, fate emulator.Fate, devices ...string) string {
		task := emulator.Task{Name: name, Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour)}
		for _, id := range devices {
			task.Devices = append(task.Devices, emulator.Device{ID: id, Status: iotda.SubtaskFail, Fate: fate})
		}
		id, err := b.e.AddTask(task)
		require.NoError(t, err)
		return id
	}
	fw := add("fw-1", emulator.Fate{RecoverAt: 2, Message: "Task Conflict"}, "lamp-1", "lamp-2", "lamp-3")
	add("agent-1", emulator.Fate{RecoverAt: 1, Message: "Task Conflict"}, "meter-1")
	bad := add("bad-1", emulator.Fate{Message: "Firmware update failed"}, "valve-1")
	page := "http://" + b.address
	inTask := func(id string) string { return "/tasks/" + demoProject + "/" + id }

	// The links of notices lead to pages.
	want := []string{page + inTask(bad), page + inTask(fw)}
	for _, id := range []string{"lamp-1", "lamp-2", "lamp-3"} {
		want = append(want, page+"/devices?device="+id+"&task="+fw)
	}
	b.until("notices of a halt and of what is given up", func() bool { return len(b.links()) >= len(want) })
	require.ElementsMatch(t, want, slices.Collect(maps.Keys(b.links())))
	for _, link := range want {
		status, text := b.ask(http.MethodGet, strings.TrimPrefix(link, page))
		require.Equal(t, http.StatusOK, status, "%s: %s", link, text)
	}

	b.open(b.url) // with ann's password, which the browser keeps
	b.open(page)
	b.reads("footer", "You act as ann.")
	b.click(`nav a[href="/tasks"]`)
	b.click(`main a[href="` + inTask(fw) + `"]`)
	again := act{button: "Retry device lamp-1 in task " + fw, logged: "retry device lamp-1"}
	b.click(`button[aria-label="` + again.button + `"]`)
	b.reads(".will", "lamp-1: exhausted")
	b.click(`dialog [value=cancel]`)
	again.tick, again.would, again.why, again.told = "past_max", "Targets by verdict: 1 due", "the site has power again", again.button+": done. Targets by verdict: 1 due. Sent: 1 accepted"
	require.Equal(t, 1, b.sent("lamp-1"), "it has only been shown")
	b.acts(again)
	b.reads(`tr[data-key="lamp-1"]`, "recovered")
	require.Equal(t, 2, b.sent("lamp-1"))
	b.open(page + "/attempts?device=lamp-1")
	b.reads("main", "asked for by ann")

	b.open(want[3]) // from a notice
	b.acts(act{button: "Forgive device lamp-2 in task " + fw, would: "1 target: lamp-2", why: "new battery", told: "Done: Forgive device lamp-2", logged: "forgive device lamp-2"})
	b.until("what is forgiven is retried", func() bool { return b.sent("lamp-2") == 2 })

	b.open(page)
	require.Zero(t, b.sent("meter-1"))
	sweep := "Sweep policy yearly now"
	b.acts(act{button: sweep, would: "The policy looks at its tasks now", why: "the campaign is urgent", told: sweep + ": done. Targets by verdict: 1 due. Sent: 1 accepted", logged: "sweep policy yearly"})
	require.Equal(t, 1, b.sent("meter-1"))

	tried, end := b.sent("valve-1"), "Resume: end the halt of task "+bad
	b.acts(act{button: end, would: "1 of 1 retried targets failed again: be sure that the package is good.", why: "a new package", told: "Done: " + end, logged: "resume task " + bad})
	b.until("what was halted is retried", func() bool { return b.sent("valve-1") > tried })

	// "Be called back" ends the sentence whether or not retries are with the platform just now.
	b.acts(act{button: "Pause everything", would: "be called back", why: "network works", told: "Done: Pause everything", logged: "pause all"})
	b.open(page + inTask(fw))
	b.reads(`[aria-labelledby=held]`, ": network works")
	held := act{button: "Retry device lamp-3 in task " + fw, tick: "past_max", logged: "retry device lamp-3"}
	held.would, held.why, held.told = "lamp-3: paused, all, by ann since ", "may it?", held.button+": done. Targets by verdict: 1 paused"
	b.acts(held)
	require.Equal(t, 1, b.sent("lamp-3"))
	b.open(page)
	b.acts(act{button: "Resume: end the pause of everything", would: "Ends the pause that ann made: network works.", why: "works are over", told: "Done: Resume", logged: "resume all"})
	b.open(page + inTask(fw))
	held.would, held.why, held.told = "Targets by verdict: 1 due", "now it may", held.button+": done. Targets by verdict: 1 due. Sent: 1 accepted"
	b.acts(held)
	require.Equal(t, 2, b.sent("lamp-3"))

	b.open(page + "/actions?who=ann")
	rows, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("main tbody tr")].map(row => row.innerText.replace(/\s+/g, " "))`))
	require.NoError(t, err)
	require.Len(t, rows, len(b.did))
	slices.Reverse(rows) // the newest is first
	for i, did := range b.did {
		require.Regexp(t, `ann from 127\.0\.0\.1 `+did.logged+`\b.* `+regexp.QuoteMeta(did.why)+"$", rows[i])
	}
	b.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.NotZero(t, b.asked)
	require.Empty(t, b.wrong)
}
