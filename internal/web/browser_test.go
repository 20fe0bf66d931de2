package web_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"retryd/internal/chromiumtest"
)

// chromium is a headless browser.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T) chromium { return chromium{chromiumtest.Start(t)} }

// tab is a tab of the browser, and all that it has complained about.
type tab struct {
	t    *testing.T
	ctx  context.Context
	site *site

	mu    sync.Mutex
	wrong []string // errors of the console, and requests to other hosts
}

func (s *site) tab(t *testing.T, browser chromium, width, height int64, scheme string) *tab {
	ctx, stop := chromedp.NewContext(browser.ctx)
	t.Cleanup(stop)
	b := &tab{t: t, ctx: ctx, site: s}
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	b.do(chromiumtest.Command(network.Enable, network.EnableParams{}), chromiumtest.Command(log.Enable, cdp.Empty{}), chromiumtest.Command(runtime.Enable, cdp.Empty{}),
		chromedp.EmulateViewport(width, height, func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
			p.Mobile = width < 500
		}),
		chromiumtest.Command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
	return b
}

func (b *tab) hear(event any) {
	said := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = fmt.Sprintf("exception: %+v", e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			said = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			said = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.site.url+"/") {
			said = "request: " + e.Request.URL
		}
	case *page.EventJavascriptDialogOpening:
		said = "alert: " + e.Message
	}
	if said != "" {
		b.mu.Lock()
		b.wrong = append(b.wrong, said)
		b.mu.Unlock()
	}
}

// do does one thing after another, within a minute.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.site.url + path))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// run runs a script in the page.
func (b *tab) run(script string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](script))
}

// tells gives what an expression comes to.
func tells[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return value
}

// until waits until an expression is true.
func (b *tab) until(script string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(20*time.Second)))
	require.NoError(b.t, err, script)
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return tells[string](b, `document.querySelector("`+selector+`").innerText`)
}

// quiet looks that nothing was complained about, but for what has these words in it.
func (b *tab) quiet(but ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, slices.DeleteFunc(b.wrong, func(said string) bool {
		return slices.ContainsFunc(but, func(words string) bool { return strings.Contains(said, words) })
	}))
}

// picture writes what is seen into the folder that SCREENSHOTS names, if it names one.
func (b *tab) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.MkdirAll(folder, 0o750))
	require.NoError(b.t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600))
}

// axe is the accessibility check that the tests use.
func axe(t *testing.T) string {
	source, err := os.ReadFile("testdata/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("axe-core is not here: npm ci --prefix internal/web/testdata brings it")
	}
	return string(source)
}

// places are the pages, with something in them.
func places() map[string]string {
	return map[string]string{
		"overview": "/", "policies": "/policies", "connections": "/connections", "tasks": "/tasks", "task": "/tasks/" + project + "/" + campaign,
		"week": "/tasks/" + project + "/5f2bc5a1b2c3d4e5f6a7b800?limit=20", "hostile": "/tasks/" + project + "/" + hostileID, "devices": "/devices",
		"device": "/devices?device=" + url.QueryEscape(hostileDevice), "recovery": "/recovery", "day": "/recovery?days=1", "sweeps": "/sweeps?limit=20",
		"attempts": "/attempts?limit=20", "actions": "/actions", "missing": "/tasks/" + project + "/none",
	}
}

func TestThePageInABrowser(t *testing.T) {
	browser := startChromium(t)
	for _, promise := range []struct {
		name  string
		holds func(*testing.T, chromium)
	}{
		{"every page is accessible in both schemes", everyPageIsAccessible},
		{"a phone scrolls in one direction only", aPhoneScrollsInOneDirection},
		{"an empty ledger is explained", anEmptyLedgerIsExplained},
		{"a pause is shown before it is made", aPauseIsShownBeforeItIsMade},
		{"what is sent once more is done once", aLostAnswerIsAskedForAgain},
		{"a page that is not new says so", whatIsNotNewSaysSo},
		{"an approval is for the policy that was looked at", anApprovalIsForThePolicy},
		{"a change is shown without losing the focus", aChangeIsShown},
		{"a keyboard reaches everything", aKeyboardReachesEverything},
		{"who may not act reads why and meets no button", whoMayNotActReadsWhy},
		{"without a script everything can be read", withoutAScript},
		{"what is printed is the content alone", printedIsTheContent},
		{"what is hostile is text in the dialog too", hostileIsText},
	} {
		t.Run(promise.name, func(t *testing.T) { promise.holds(t, browser) })
	}
}
