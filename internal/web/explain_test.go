package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/policy"
	"retryd/internal/store"
	"retryd/internal/web"
)

func (r *reader) explain(device, task string) (e web.Explanation) {
	r.t.Helper()
	q := url.Values{"device": {device}}
	if task != "" {
		q.Set("task", task)
	}
	r.get("/api/v1/explanations?"+q.Encode(), &e)
	return e
}

// verdict explains a device that is in one task.
func (r *reader) verdict(device string) web.Verdict {
	r.t.Helper()
	e := r.explain(device, "")
	require.Len(r.t, e.Tasks, 1)
	return e.Tasks[0]
}

// steps gives the arithmetic, one line a step.
func steps(v web.Verdict) (lines []string) {
	for _, s := range v.Arithmetic {
		lines = append(lines, strings.TrimSuffix(s.What+": "+s.Value+"; "+s.Note, "; "))
	}
	return lines
}

var (
	resting  = store.Pause{Scope: store.PauseTask, ProjectID: project, TaskID: campaign}
	somebody = store.Action{Who: "ann", Source: "terminal", What: "pause", Why: "network works"}
)

func TestAnExplanationSaysInOneSentenceWhyADeviceWaitsAndUntilWhen(t *testing.T) {
	for name, row := range map[string]struct {
		device string
		change func(*testing.T, *reader)
		reason policy.Reason
		says   string
	}{
		"due":       {"d-failed", nil, policy.Due, "is due: the next sweep retries it, at 02:00:17 +08:00"},
		"new":       {"d-new", nil, policy.Due, "is due: the next sweep retries it, at 02:00:17 +08:00"},
		"recovered": {"d-recovered", nil, policy.NotSelected, "has recovered: Success was read after attempt 1"},
		"under way": {"d-open", nil, policy.InFlight, "has an attempt under way, whose outcome is waited for (in this task: attempt 1, since 2026-03-01T17:40:00Z)"},
		"removed":   {"d-gone", nil, policy.NotSelected, "is not in the task any more"},
		"backoff": {"d-failed", func(_ *testing.T, r *reader) { r.try(campaign, "d-failed", policy.Failed) },
			policy.InBackoff, "waits until 03:45 +08:00 (its backoff of 1h38m55s ends 03:38 +08:00)"},
		"backoff, and the window shuts": {"d-failed", func(_ *testing.T, r *reader) {
			r.now = r.now.Add(150 * time.Minute) // 04:30: the window is shut when the backoff ends
			r.try(campaign, "d-failed", policy.Failed)
		}, policy.InBackoff, "waits until 2026-03-03 01:00 +08:00 (its backoff of 1h38m55s ends 06:08 +08:00; the window opens 2026-03-03 01:00 +08:00)"},
		"outside the window": {"d-failed", func(_ *testing.T, r *reader) { r.now = r.now.Add(4 * time.Hour) },
			policy.OutsideWindow, "waits until 2026-03-03 01:00 +08:00 (the window opens 2026-03-03 01:00 +08:00)"},
		"paused": {"d-failed", func(t *testing.T, r *reader) {
			_, err := r.s.PauseNow(t.Context(), somebody, resting)
			require.NoError(t, err)
		}, policy.Paused, "is paused (task, by ann since 2026-03-01T18:00:00Z: network works), until a person resumes it"},
		"paused for a while": {"d-failed", func(t *testing.T, r *reader) {
			_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseAll, Until: r.now.Add(time.Hour)})
			require.NoError(t, err)
		}, policy.Paused, "waits until 03:00 +08:00 (is paused (all, by ann since 2026-03-01T18:00:00Z until 2026-03-01T19:00:00Z: network works))"},
		"under way, and paused": {"d-open", func(t *testing.T, r *reader) {
			_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseAll})
			require.NoError(t, err)
		}, policy.InFlight, "has an attempt under way, whose outcome is waited for (in this task: attempt 1, since 2026-03-01T17:40:00Z)" +
			"; besides, it is paused (all, by ann since 2026-03-01T18:00:00Z: network works)"},
		"recovered, and paused": {"d-recovered", func(t *testing.T, r *reader) {
			_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseAll})
			require.NoError(t, err)
		}, policy.NotSelected, "has recovered: Success was read after attempt 1"},
		"exhausted": {"d-failed", func(_ *testing.T, r *reader) {
			r.try(campaign, "d-failed", policy.Failed)
			r.try(campaign, "d-failed", policy.Failed)
		}, policy.Exhausted, "is given up: 3 of 3 attempts are used; retryd forgive lets it begin anew"},
		"expired": {"d-failed", func(_ *testing.T, r *reader) { r.now = r.now.Add(20 * 24 * time.Hour) },
			policy.Expired, "is given up: more than 336h have passed since its first attempt at 2026-03-01T13:00:00Z; retryd forgive lets it begin anew"},
		"connection down": {"d-failed", func(t *testing.T, r *reader) {
			_, err := r.s.SetConnection(t.Context(), store.ConnectionRow{Identity: r.config.Connections[0].Identity(), Name: "prod", Reason: "clock", Detail: "6m ahead"})
			require.NoError(t, err)
		}, policy.ConnectionDown, "waits until connection prod can be used again (clock: 6m ahead)"},
		"no policy": {"d-failed", func(_ *testing.T, r *reader) { r.configure(strings.ReplaceAll(estate, "fw.*", "other.*")) },
			policy.OtherPolicy, "is in a task that no policy of the configuration selects: nothing is retried"},
		"observed": {"d-failed", func(_ *testing.T, r *reader) {
			r.configure(strings.Replace(estate, "schedule:", "mode: observe\n    schedule:", 1))
		}, policy.Observed, "is due, but policy nightly only observes: nothing is sent"},
		"left out": {"d-failed", func(_ *testing.T, r *reader) {
			r.configure(strings.Replace(estate, "attempts:", "targets: {exclude: [d-f.*]}\n    attempts:", 1))
		}, policy.Excluded, "is left out by policy nightly: it is in targets.exclude"},
	} {
		t.Run(name, func(t *testing.T) {
			r := reading(t)
			r.fill()
			r.lookable()
			if row.change != nil {
				row.change(t, r)
			}
			v := r.verdict(row.device)
			require.Equal(t, row.says, v.Summary)
			require.Equal(t, string(row.reason), v.Reason)
			if v.NextTick != nil {
				require.False(t, v.NextTick.Before(r.now))
				require.Empty(t, r.policy("nightly").Outside(*v.NextTick).Reason, "no retry leaves then")
			}
		})
	}
}

func TestEverySummaryIsSaidOfTheDevice(t *testing.T) {
	r := reading(t)
	for _, reason := range policy.Reasons() {
		for _, says := range web.Summaries(r.policy("nightly"), reason, r.now) {
			require.Regexp(t, "^(is|has|waits)\\b", says, reason)
		}
	}
}

func TestTheArithmeticOfTheNextAttemptIsShownStepByStep(t *testing.T) {
	r := reading(t)
	r.fill()
	r.try(campaign, "d-failed", policy.Failed)
	v := r.verdict("d-failed")
	require.Equal(t, []string{
		"attempts: 2 of 3; that count",
		"last outcome: 2026-03-02 02:00:00 +08:00; seen then: failed",
		"base: 30m; backoff.initial",
		"grown: 1h30m; × 3^1",
		"jitter: +8m55s; of ±20 %, always the same for this attempt",
		"= backoff: 1h38m55s",
		"not before: 2026-03-02 03:38:55 +08:00",
		"window: open",
		`next tick: 2026-03-02 03:45:17 +08:00; of "*/15 * * * *", with the policy's own delay on this connection`,
		"given up: 2026-03-15 21:00:00 +08:00; give_up_after 336h since its first attempt",
		"so: 2026-03-02 03:45:17 +08:00; limits may put it off further",
	}, steps(v))
	require.Equal(t, 2, v.Attempts)
	require.Equal(t, 3, v.Max)
	require.Equal(t, "device-offline", v.Rule)
}

func TestAnExplanationReadsThePlatformWithOneCallATask(t *testing.T) {
	r := reading(t)
	r.fill()
	e := r.lookable()
	got := r.explain("d-new", "fw 2.1")
	require.True(t, got.Live)
	require.Empty(t, got.NotLive)
	require.Len(t, got.Tasks, 1)
	require.Equal(t, "Fail", got.Tasks[0].Status)
	require.Equal(t, "IOTDA.014016", got.Tasks[0].Code)
	calls := e.Calls()
	require.Len(t, calls, 3, "the task, and the two that are newer and of the same type")
	for _, call := range calls {
		require.Equal(t, "ShowBatchTask", call.Op)
		require.Equal(t, "d-new", call.Query.Get("target"))
	}
	require.Empty(t, e.Retries())
	require.Contains(t, r.refused(http.StatusNotFound, http.MethodGet, "/api/v1/explanations?device=nobody&task="+campaign).Detail, `device "nobody" is not in task `+campaign)
}

func TestAnOlderTaskIsLeftToANewerOneThatHasTheDevice(t *testing.T) {
	r := reading(t)
	r.fill()
	e := r.lookable()
	_, err := e.AddTask(emulator.Task{ID: later, Name: "other", Type: "firmwareUpgrade", Created: r.now, Devices: []emulator.Device{failing("d-failed")}})
	require.NoError(t, err)
	got := r.explain("d-failed", "")
	require.Len(t, got.Tasks, 2)
	require.Equal(t, later, got.Tasks[0].TaskID, "the newest first")
	require.Equal(t, "superseded", got.Tasks[1].Reason)
	require.Equal(t, "is left to a newer task that has the device too (by task "+later+"): an older one could undo it", got.Tasks[1].Summary)
	require.Len(t, r.explain("d-failed", campaign).Tasks, 1, "of the one that is named")
}

func TestWithoutThePlatformAnExplanationIsTheLedgers(t *testing.T) {
	r := reading(t)
	r.fill()
	got := r.explain("d-up", "")
	require.False(t, got.Live)
	require.Equal(t, "no part of this retryd reads the platform", got.NotLive)
	require.Equal(t, r.now.Add(-20*time.Minute), got.AsOf, "when a sweep looked")
	require.Len(t, got.History, 1)
	e := r.lookable()
	_, err := r.s.SetConnection(t.Context(), store.ConnectionRow{Identity: r.config.Connections[0].Identity(), Name: "prod", Reason: "auth", Detail: "HTTP 401", Remedy: "check the key"})
	require.NoError(t, err)
	got = r.explain("d-failed", "")
	require.False(t, got.Live)
	require.Equal(t, `connection "prod" is down (auth): the platform was not asked`, got.NotLive)
	require.Equal(t, "connection_down", got.Tasks[0].Reason)
	require.Empty(t, e.Calls(), "a connection that is down is not asked: it might lock the key")
	require.Contains(t, r.refused(http.StatusNotFound, http.MethodGet, "/api/v1/explanations?device=nobody").Detail, "the ledger does not know device")
}

func TestAnExplanationShowsWhatPeopleDidAboutTheDeviceAndItsTask(t *testing.T) {
	r := reading(t)
	r.fill()
	_, err := r.s.PauseNow(t.Context(), somebody, resting)
	require.NoError(t, err)
	for _, device := range []string{"d-failed", "d-up"} {
		_, err := r.s.PauseNow(t.Context(), somebody, store.Pause{Scope: store.PauseDevice, ProjectID: project, TaskID: campaign, DeviceID: device})
		require.NoError(t, err)
	}
	var subjects []string
	for _, a := range r.explain("d-failed", "").Actions {
		subjects = append(subjects, a.Subject)
	}
	require.Equal(t, []string{"device d-failed in task " + campaign, "task " + campaign}, subjects, "the newest first, and none about another device")
}
