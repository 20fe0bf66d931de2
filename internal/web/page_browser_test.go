package web_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"retryd/internal/chromiumtest"
	"retryd/internal/emulator"
	"retryd/internal/store"
	"retryd/internal/web"
)

func everyPageIsAccessible(t *testing.T, browser chromium) {
	check := axe(t)
	s := siteFor(t, ann)
	s.week()
	for _, scheme := range []string{"light", "dark"} {
		b := s.tab(t, browser, 1280, 900, scheme)
		for _, name := range slices.Sorted(maps.Keys(places())) {
			b.open(places()[name])
			b.run(check)
			b.picture(name + "-" + scheme)
			require.Empty(t, violations(b), "%s in %s", name, scheme)
		}
		b.open("/policies")
		b.click(`[data-path="/api/v1/pauses"]`)
		b.run(check)
		b.until(`document.querySelector(".will").textContent.includes("retries of 1 target")`)
		b.picture("dialog-" + scheme)
		require.Empty(t, violations(b), "the dialog in %s", scheme)
		b.quiet("404")
	}
}

func violations(b *tab) []string {
	return tells[[]string](b, `axe.run().then(r => r.violations.map(v => v.id + ": " + v.nodes.slice(0, 3).map(n => n.target + " " + n.failureSummary).join("; ")))`)
}

func aPhoneScrollsInOneDirection(t *testing.T, browser chromium) {
	check := axe(t)
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 360, 740, "dark")
	for _, name := range slices.Sorted(maps.Keys(places())) {
		b.open(places()[name])
		b.picture(name + "-phone")
		require.LessOrEqual(t, tells[int](b, `document.documentElement.scrollWidth`), 360, name)
		b.run(check)
		require.Empty(t, violations(b), name)
	}
	b.quiet("404")
}

func anEmptyLedgerIsExplained(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	b := s.tab(t, browser, 1280, 900, "light")
	for path, words := range map[string]string{
		"/": "nothing swept yet", "/tasks": "No task is here", "/recovery": "No attempt has come to an outcome", "/sweeps": "Nothing swept yet",
		"/attempts": "No attempt was made yet", "/actions": "Nobody has done anything yet", "/devices?device=x": "the ledger does not know device",
	} {
		b.open(path)
		require.Contains(t, b.text("main"), words, path)
	}
	b.open("/")
	b.picture("empty-light")
	b.quiet("404")
}

func aPauseIsShownBeforeItIsMade(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/policies?policy=nightly")
	b.click(`button[aria-label="Pause policy nightly"]`)
	b.until(`document.querySelector(".will").textContent.includes("retries of 1 target already; they cannot be called back: d-open in task")`)
	require.True(t, tells[bool](b, `document.querySelector("dialog .do").disabled`), "without a reason nothing is done")
	b.fill(`[name=why]`, "network works")
	b.fill(`[name=until]`, "4")
	b.until(`!document.querySelector("dialog .do").disabled`)
	pauses, err := s.s.Pauses(t.Context())
	require.NoError(t, err)
	require.Len(t, pauses, 1, "it has only been shown")
	b.click("dialog .do")
	b.until(`document.querySelector(".told").textContent === "Done: Pause policy nightly"`)
	b.until(`document.querySelector("main").innerText.includes("network works")`)
	pauses, err = s.s.Pauses(t.Context())
	require.NoError(t, err)
	require.Len(t, pauses, 2)
	require.Equal(t, []any{store.PausePolicy, "nightly", "ann", "network works", s.now.Add(4 * time.Hour)},
		[]any{pauses[1].Scope, pauses[1].Policy, pauses[1].Who, pauses[1].Why, pauses[1].Until.Truncate(time.Hour)})
	actions, _, err := s.s.ListActions(t.Context(), store.ActionFilter{Who: "ann"}, store.Page{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"pause", "network works", "192.0.2.1"}, []string{actions[0].What, actions[0].Why, actions[0].Source})

	b.open("/")
	b.click(`button[aria-label="Resume: end the pause of policy nightly"]`)
	b.fill(`[name=why]`, "done"+kb.Enter)
	b.until(`document.querySelector(".told").textContent === "Done: Resume: end the pause of policy nightly"`)
	pauses, err = s.s.Pauses(t.Context())
	require.NoError(t, err)
	require.Len(t, pauses, 1)
	b.quiet()
}

func aLostAnswerIsAskedForAgain(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/policies?policy=nightly")
	b.click(`button[aria-label="Pause policy nightly"]`)
	b.fill(`[name=until]`, "4")
	b.fill(`[name=why]`, "network works")
	b.until(`!document.querySelector("dialog .do").disabled`)
	b.run(`{
		const sent = window.fetch;
		let lost = false;
		window.fetch = async (url, how) => {
			const answer = await sent(url, how);
			if (lost || how.method !== "POST") return answer;
			lost = true;
			throw new Error("the answer is lost");
		};
	}`)
	b.click("dialog .do")
	b.until(`document.querySelector(".will").textContent === "It was refused: the answer is lost"`)
	b.click("dialog .do")
	b.until(`document.querySelector(".told").textContent === "Done: Pause policy nightly"`)
	actions, _, err := s.s.ListActions(t.Context(), store.ActionFilter{Who: "ann"}, store.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, actions, 1)
	b.quiet()
}

func whatIsNotNewSaysSo(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/")
	well := s.h
	s.h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the ledger is away", http.StatusServiceUnavailable)
	})
	says := `refresh().then(() => document.querySelector(".told").textContent)`
	require.Equal(t, "The server does not show this now (HTTP 503): what is shown is not new.", tells[string](b, says))
	s.h = well
	require.Empty(t, tells[string](b, says))
	b.open("/tasks/" + project + "/none")
	require.Empty(t, tells[string](b, says), "that is what the server shows")
	b.quiet("503", "404")
}

func anApprovalIsForThePolicy(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/tasks/" + project + "/" + guarded)
	b.click(`button[aria-label="Approve task guarded 1"]`)
	b.fill(`[name=targets]`, "5")
	b.until(`document.querySelector(".will").textContent.includes("for at most 5 targets, while policy guarded is as it is now")`)
	b.fill(`[name=why]`, "the canary is good"+kb.Enter)
	b.until(`document.querySelector("main").innerText.includes("the canary is good")`)
	approvals, err := s.s.Approvals(t.Context())
	require.NoError(t, err)
	require.Len(t, approvals, 1)
	require.Equal(t, []any{"ann", s.policy("guarded").Hash, 5}, []any{approvals[0].Who, approvals[0].PolicyHash, approvals[0].Targets})
	require.Zero(t, tells[int](b, `document.querySelectorAll("[aria-label='Approve task guarded 1']").length`), "it is not held any more")

	s.configure(strings.Replace(estate, "@every 1h", "@every 2h", 1))
	b.open("/tasks/" + project + "/" + guarded)
	require.Contains(t, b.text("main"), "approved, but the policy has changed since")
	b.quiet()
}

func aChangeIsShown(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/tasks/" + project + "/" + campaign)
	b.run(`document.querySelector("#progress").closest("section").querySelector("details").open = true`)
	b.do(chromedp.Focus(chromedp.CSS(`button[aria-label^="Pause device d-failed"]`)))
	b.run(`scrollTo(0, 300)`)
	pause := store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: campaign, Who: "carl", Why: "the canary looks bad"}
	_, err := s.s.PauseNow(t.Context(), store.Action{Who: "carl", Source: "terminal", What: "pause", Why: pause.Why}, pause)
	require.NoError(t, err)
	b.run(`document.dispatchEvent(new Event("visibilitychange"))`)
	b.until(`document.querySelector("main").innerText.includes("the canary looks bad")`)
	require.True(t, strings.HasPrefix(tells[string](b, `document.activeElement.getAttribute("aria-label")`), "Pause device d-failed"), "the focus stays")
	require.True(t, tells[bool](b, `document.querySelector("#progress").closest("section").querySelector("details").open`), "what is folded open stays")
	require.NotZero(t, tells[int](b, `Math.round(scrollY)`))
	b.quiet()
}

func aKeyboardReachesEverything(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/")
	all := tells[int](b, `[...document.querySelectorAll("a[href], button, input, select, summary")].filter(e => e.checkVisibility() && !e.closest("dialog")).length`)
	b.run(`window.met = new Set(); window.bare = []; addEventListener("focusin", e => { met.add(e.target); const s = getComputedStyle(e.target); if (s.outlineStyle === "none") bare.push(e.target.outerHTML) })`)
	for range all {
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	require.Equal(t, all, tells[int](b, `met.size`))
	require.Empty(t, tells[[]string](b, `bare`), "the focus is seen")

	b.do(chromedp.Focus(chromedp.CSS(`button[aria-label="Pause everything"]`)), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("dialog").open`)
	require.Equal(t, "why", tells[string](b, `document.activeElement.name`))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("dialog").open`)
	require.Equal(t, "Pause everything", tells[string](b, `document.activeElement.getAttribute("aria-label")`), "the focus is back")
	b.quiet()
}

func whoMayNotActReadsWhy(t *testing.T, browser chromium) {
	s := siteFor(t, web.Caller{Name: "eve", From: "192.0.2.66", Refused: "eve is not in server.admins"})
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	for _, path := range places() {
		b.open(path)
		require.Equal(t, 1, strings.Count(b.text("body"), "eve is not in server.admins"), path)
		require.Zero(t, tells[int](b, `document.querySelectorAll("[data-act], dialog").length`), path)
	}
	b.quiet("404")
}

func withoutAScript(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 1280, 900, "light")
	b.do(chromiumtest.Command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.open("/tasks/" + project + "/" + campaign)
	html, err := chromedp.Run(b.ctx, chromedp.OuterHTML(chromedp.CSS("html")))
	require.NoError(t, err)
	for _, words := range []string{"d-failed", "Waiting for the device online timeout", "The same as a table"} {
		require.Contains(t, html, words)
	}
	b.picture("no-script")
	b.quiet()
}

func printedIsTheContent(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	b := s.tab(t, browser, 800, 1100, "dark")
	b.do(chromiumtest.Command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}))
	b.open("/")
	b.picture("print")
	require.Equal(t, "rgb(255, 255, 255)", tells[string](b, `getComputedStyle(document.body).backgroundColor`))
	require.Equal(t, "rgb(255, 255, 255)", tells[string](b, `getComputedStyle(document.querySelector(".attention")).backgroundColor`))
	require.Zero(t, tells[int](b, `[...document.querySelectorAll("nav, .find, button")].filter(e => e.checkVisibility()).length`))
	b.quiet()
}

func hostileIsText(t *testing.T, browser chromium) {
	s := siteFor(t, ann)
	s.week()
	e := s.live()
	_, err := e.AddTask(emulator.Task{ID: hostileID, Name: hostileTask, Type: "firmwareUpgrade", Created: s.now, Devices: []emulator.Device{failing(hostileDevice)}})
	require.NoError(t, err)
	b := s.tab(t, browser, 1280, 900, "light")
	b.open("/tasks/" + project + "/" + hostileID)
	require.Equal(t, hostileTask, tells[string](b, `document.querySelector("h1").textContent`))
	require.Contains(t, b.text("main"), hostileText)
	b.run(`[...document.querySelectorAll("[data-act]")].find(e => e.getAttribute("aria-label").startsWith("Retry device")).click()`)
	b.until(`document.querySelector("dialog").open`)
	require.Contains(t, tells[string](b, `document.querySelector("#ask-title").textContent`), hostileDevice)
	b.until(`!document.querySelector(".will").textContent.startsWith("Asking")`)
	b.picture("hostile-dialog")
	b.open("/devices?device=" + url.QueryEscape(hostileDevice))
	require.Equal(t, hostileDevice, tells[string](b, `document.querySelector("h1").textContent`))
	require.Contains(t, b.text("main"), hostileWhy)
	b.open("/find?q=" + url.QueryEscape(hostileTask))
	require.Equal(t, "/tasks/"+project+"/"+hostileID, tells[string](b, `location.pathname`))
	require.Zero(t, tells[int](b, `document.querySelectorAll("main script, main img, main b").length`))
	b.quiet()
}
