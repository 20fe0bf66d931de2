package emulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// place is an instance with a failing task, behind a real server.
type place struct {
	*emulator.Emulator
	t    *testing.T
	url  string
	task string
}

func newPlace(t *testing.T, n int) *place {
	e := emulator.New(emulator.Options{ProjectID: project, Tokens: []string{"token"}, Slow: 200 * time.Millisecond, Apps: []iotda.App{{ID: "a", Name: "b"}}, Upgrade: time.Hour})
	id, err := e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: failing(n)})
	require.NoError(t, err)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return &place{e, t, server.URL + "/v5/iot/" + project, id}
}

// always sets one fault for every call.
func (p *place) always(f emulator.Fault) *place {
	p.SetFault(func(emulator.Call) emulator.Fault { return f })
	return p
}

type got struct {
	status int
	header http.Header
	body   string
	cut    bool          // it did not come whole
	took   time.Duration // to the head
}

func (p *place) ask(method, path, body string) got {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	require.NoError(p.t, err)
	r.Header.Set("X-Auth-Token", "token")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	begun := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		return got{cut: true, took: time.Since(begun)}
	}
	defer resp.Body.Close()
	took := time.Since(begun)
	data, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, string(data), err != nil, took}
}

func (p *place) retry(devices ...string) got {
	return p.ask(http.MethodPost, "/batchtasks/"+p.task+"/retry", string(mustJSON(map[string]any{"targets": devices})))
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// code gives the platform's code of a reply.
func (g got) code() string {
	var words struct {
		Code string `json:"error_code"`
	}
	_ = json.Unmarshal([]byte(g.body), &words)
	return words.Code
}

// rows gives the targets and the statuses of a reply's rows, and its marker.
func (g got) rows(t *testing.T) (rows []string, marker string) {
	var reply struct {
		Targets []iotda.TargetResult `json:"targets"`
		Details []iotda.Subtask      `json:"task_details"`
		Page    iotda.Page           `json:"page"`
	}
	require.NoError(t, json.Unmarshal([]byte(g.body), &reply), g.body)
	for _, r := range reply.Targets {
		rows = append(rows, strings.TrimSpace(r.Target+" "+r.Status+" "+r.Code))
	}
	for _, s := range reply.Details {
		rows = append(rows, s.Target)
	}
	return rows, reply.Page.Marker
}

// TestEachFaultHasItsReplyAndItsEffect is what all other proofs rest upon: what was applied, and
// what whoever asked could know of it.
func TestEachFaultHasItsReplyAndItsEffect(t *testing.T) {
	const whole = http.StatusOK
	type want struct {
		status  int
		code    string
		applied bool
		cut     bool
	}
	special := map[emulator.Fault]want{
		emulator.FaultHTML: {status: 200}, emulator.FaultRedirect: {status: 307}, emulator.FaultThrottled: {status: 429, code: "APIGW.0308"},
		emulator.FaultThrottledHour: {status: 429, code: "APIGW.0308"}, emulator.FaultRefused: {status: 403, code: "IOTDA.014217"}, emulator.FaultGone: {status: 404, code: "IOTDA.014201"}, emulator.FaultSkew: {status: 401, code: "APIGW.0301"},
		emulator.Fault500Applied: {status: 500, code: "IOTDA.000005", applied: true}, emulator.Fault504Applied: {status: 504, code: "APIGW.0605", applied: true},
		emulator.FaultCut: {cut: true}, emulator.FaultCutBody: {status: whole, applied: true, cut: true}, emulator.FaultLostReply: {applied: true, cut: true},
		emulator.FaultLate: {applied: true, cut: true}, emulator.FaultOtherInstance: {status: 404, code: "IOTDA.014201"},
	}
	for _, fault := range emulator.AllFaults() {
		t.Run(string(fault), func(t *testing.T) {
			p := newPlace(t, 2).always(fault)
			w, ok := special[fault]
			if status, form, dash := strings.Cut(string(fault), "-"); !ok && len(status) == 3 {
				fmt.Sscan(status, &w.status)
				if dash && form != "html" {
					w.code = form
				}
			} else if !ok {
				w = want{status: whole, applied: true}
			}
			g := p.retry("d-0000")
			require.Equal(t, w.status, g.status)
			require.Equal(t, w.cut, g.cut)
			require.Equal(t, w.code, g.code())
			s, _ := p.Subtask(p.task, "d-0000")
			require.Equal(t, w.applied, s.Status == iotda.SubtaskWaitting, s.Status)
			require.Equal(t, w.applied, len(p.Retries()) == 1)
			calls := p.Calls()
			require.Len(t, calls, 1)
			if fault.On("RetryBatchTask") {
				require.Equal(t, fault, calls[0].Fault)
			}
			if w.status != whole { // of the others the body says what is wrong
				require.Equal(t, []any{w.status, w.code}, []any{calls[0].Status, calls[0].Code})
			}
		})
	}
}

func TestFaultsAreForTheOperationsTheyFit(t *testing.T) {
	paths := map[string]string{"ListBatchTasks": "/batchtasks?task_type=firmwareUpgrade", "ShowApplications": "/apps", "ListDevices": "/devices", "ShowDevice": "/devices/d-0000"}
	for _, fault := range emulator.AllFaults() {
		p := newPlace(t, 3)
		paths["ShowBatchTask"] = "/batchtasks/" + p.task
		for op, path := range paths {
			if fault.On(op) {
				continue
			}
			good := p.always("").ask(http.MethodGet, path, "")
			bad := p.always(fault).ask(http.MethodGet, path, "")
			require.Equal(t, good.body, bad.body, "%s on %s", fault, op)
			calls := p.Calls()
			require.Empty(t, calls[len(calls)-1].Fault)
		}
	}
}

func TestRepliesAreSpoiltAsTheirFaultSays(t *testing.T) {
	for fault, want := range map[emulator.Fault][]string{
		emulator.FaultContradiction: {"d-0000 success", "d-0000 failure"}, emulator.FaultSuccessCode: {"d-0000 success IOTDA.014220"},
		emulator.FaultDoubleRow: {"d-0000 success", "d-0000 success"}, emulator.FaultMissingRow: nil, emulator.FaultUnknownStatus: {"d-0000 Paused"},
		emulator.FaultExtraRow: {"d-0000 success", "not-asked-for success"},
	} {
		rows, _ := newPlace(t, 2).always(fault).retry("d-0000").rows(t)
		require.Equal(t, want, rows, fault)
	}
	require.Empty(t, newPlace(t, 1).always(emulator.FaultEmpty).retry("d-0000").body)
	require.Contains(t, newPlace(t, 1).always(emulator.FaultWrongTypes).retry("d-0000").body, `"targets":"none"`)
	require.Equal(t, "1", newPlace(t, 1).always(emulator.FaultThrottled).retry("d-0000").header.Get("Retry-After"))
	require.Equal(t, "3600", newPlace(t, 1).always(emulator.FaultThrottledHour).retry("d-0000").header.Get("Retry-After"))

	g := newPlace(t, 1).always(emulator.FaultClock).retry("d-0000")
	date, err := http.ParseTime(g.header.Get("Date"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), date, 10*time.Second)
}

func TestOneBadIDHasAWholeBatchRefused(t *testing.T) {
	e := emulator.New(emulator.Options{ProjectID: project, Tokens: []string{"token"}})
	devices := failing(100)
	devices[41].Fate.Refused = true
	id, err := e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: devices})
	require.NoError(t, err)
	server := httptest.NewServer(e)
	defer server.Close()
	p := &place{e, t, server.URL + "/v5/iot/" + project, id}
	var all []string
	for _, d := range devices {
		all = append(all, d.ID)
	}
	g := p.retry(all...)
	require.Equal(t, 400, g.status)
	require.Equal(t, "IOTDA.000006", g.code())
	require.Empty(t, e.Retries())
	require.Equal(t, 200, p.retry(append(all[:41:41], all[42:]...)...).status)
	require.Len(t, e.Retries(), 99)
}

func TestSlowRepliesAreSlowWhereTheySayAndEndWithTheCaller(t *testing.T) {
	const slow = 200 * time.Millisecond
	good := newPlace(t, 1).retry("d-0000").body
	g := newPlace(t, 1).always(emulator.FaultSlowHeaders).retry("d-0000")
	require.Equal(t, good, g.body)
	require.GreaterOrEqual(t, g.took, slow)

	p, begun := newPlace(t, 1).always(emulator.FaultSlowBody), time.Now()
	g = p.retry("d-0000")
	require.Equal(t, good, g.body)
	require.Less(t, g.took, slow, "the head comes at once")
	require.GreaterOrEqual(t, time.Since(begun), slow*8/10)

	p = newPlace(t, 1).always(emulator.FaultLate)
	done := make(chan got)
	go func() { done <- p.retry("d-0000") }()
	require.Eventually(t, func() bool { return len(p.Calls()) == 1 }, time.Second, time.Millisecond)
	require.Empty(t, p.Retries(), "it is not applied yet")
	require.True(t, (<-done).cut)
	require.Len(t, p.Retries(), 1)
	require.False(t, p.Retries()[0].Replied)
}

func TestAHugeReplyIsWholeAndNotHeld(t *testing.T) {
	p := newPlace(t, 1).always(emulator.FaultHuge)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/batchtasks/"+p.task, nil)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", "token")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	var total, buffer = 0, make([]byte, 1<<16)
	var last string
	for err == nil {
		var n int
		n, err = resp.Body.Read(buffer)
		total, last = total+n, (last + string(buffer[:n]))[max(0, len(last)+n-200):]
	}
	require.ErrorIs(t, err, io.EOF)
	require.Greater(t, total, 40<<20)
	require.Less(t, total, 41<<20)
	require.Contains(t, last, `"page":{"count":1,`, "the true reply follows")
}
