package iotdaclient_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

func addReplies(f *testing.F, more ...string) {
	for _, body := range append(more, noReplies...) {
		f.Add([]byte(body))
	}
}

func FuzzAListOfTasksIsReadAsItIsOrRefused(f *testing.F) {
	addReplies(f, listReply)
	f.Fuzz(func(t *testing.T, body []byte) {
		var tasks []iotda.Task
		_, err := fuzzed(t, aKey(), always(body)).EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(task iotda.Task) error {
			tasks = append(tasks, task)
			return nil
		})
		if err != nil {
			refused(t, err)
			return
		}
		var whole map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &whole), "only JSON is an answer")
		require.Less(t, len(tasks), iotda.MaxPageSize, "a full page has another after it")
		for _, task := range tasks {
			task.NewerThan(iotda.Task{ID: "x", CreateTime: "20260301T081608Z"})
		}
	})
}

func FuzzATaskAndItsSubtasksAreReadOnceEachOrRefused(f *testing.F) {
	addReplies(f, showReply)
	f.Fuzz(func(t *testing.T, body []byte) {
		w, err := fuzzed(t, aKey(), always(body)).Wave(t.Context(), "ab", iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{}, iotdaclient.MaxWavePages)
		if err != nil {
			refused(t, err)
			return
		}
		require.NotEmpty(t, w.Task.Status, "a task without a status could be anything")
		require.True(t, w.End || w.Next < iotda.FirstMarker)
		seen := map[string]bool{}
		for _, s := range w.Subtasks {
			require.False(t, seen[s.Target], "%q is there twice", s.Target)
			seen[s.Target] = true
			iotda.CauseOf(s.Cause())
		}
	})
}

func FuzzAppsAndDevicesAreReadOrRefused(f *testing.F) {
	addReplies(f,
		`{"applications":[{"app_id":"0ab","app_name":"default","create_time":"20250101T000000Z","default_app":true}]}`,
		`{"devices":[{"device_id":"d2","app_id":"0ab","gateway_id":"d2","node_type":"GATEWAY","fw_version":"1.0","status":"OFFLINE"}],"page":{"count":1,"marker":"5f2bc5a1b2c3d4e5f6a7b8d0"}}`,
		`{"device_id":"d2","status":"ONLINE","connection_status_update_time":"2015-12-12T12:12:122Z"}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		c := fuzzed(t, aKey(), always(body))
		apps, err := c.Apps(t.Context())
		if err != nil {
			refused(t, err)
			require.Nil(t, apps)
		}
		devices, next, _, err := c.Devices(t.Context(), "")
		if err != nil {
			refused(t, err)
		} else if next != "" {
			require.GreaterOrEqual(t, len(devices), iotda.MaxPageSize)
			require.Less(t, next, iotda.FirstMarker)
		}
		if _, _, err = c.Device(t.Context(), "d2"); err != nil {
			refused(t, err)
		}
	})
}

func TestAReplyOfRowsWithoutEndIsRefusedInLittleMemory(t *testing.T) {
	for _, list := range []string{"batchtasks", "task_details", "applications", "devices", "targets"} {
		body := []byte(`{"batchtask":{"status":"Fail"},"` + list + `":[{}` + strings.Repeat(",{}", 1<<20) + "]}")
		c := fuzzed(t, aKey(), always(body))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		switch list {
		case "batchtasks":
			_, err = c.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
		case "task_details":
			_, err = c.Wave(t.Context(), "ab", iotdaclient.Query{}, iotdaclient.From{}, 1)
		case "applications":
			_, err = c.Apps(t.Context())
		case "devices":
			_, _, _, err = c.Devices(t.Context(), "")
		default:
			_, e := c.RetryTask(t.Context(), "ab", []string{"d1"}, nil)
			require.False(t, e.NoEffect())
			err = e
		}
		runtime.ReadMemStats(&after)
		refused(t, err)
		require.ErrorContains(t, err, "more than 1000 rows")
		if list != "targets" { // which is looked through for keys that are there twice, and thrown away
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20*len(body)), list)
		}
	}
}

// fields gives the fields of a JSON object, each with how often it is there: encoding/json takes
// the last of them, in any case of letters.
func fields(data []byte) map[string][]json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	all := map[string][]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		key := strings.ToLower(strings.ToUpper(name.(string)))
		all[key] = append(all[key], value)
	}
	return all
}

func text(values []json.RawMessage) string {
	var s string
	if len(values) != 1 || json.Unmarshal(values[0], &s) != nil {
		return ""
	}
	return s
}

// successes counts what a retry's answer says of a target: its rows, and those of them that say
// success and nothing else.
func successes(body []byte, target string) (rows, successes int) {
	lists := fields(body)["targets"]
	for _, list := range lists {
		var all []json.RawMessage
		if json.Unmarshal(list, &all) != nil {
			continue
		}
		for _, raw := range all {
			row := fields(raw)
			for _, name := range row["target"] {
				if text([]json.RawMessage{name}) == target {
					rows++
				}
			}
			if len(lists) == 1 && text(row["target"]) == target && text(row["status"]) == "success" && text(row["error_code"]) == "" {
				successes++
			}
		}
	}
	return rows, successes
}

func FuzzARetryIsAcceptedOnlyForWhatHasExactlyOneRowThatSaysSuccess(f *testing.F) {
	addReplies(f, retryReply,
		`{"targets":[{"target":"d1","status":"success"},{"target":"d1","status":"success"}]}`,
		`{"targets":[{"target":"d1","status":"success"},{"target":"d1","status":"failure"}]}`,
		`{"targets":[{"target":"d1","status":"success","error_code":"IOTDA.014219"}]}`,
		`{"targets":[{"target":"d1","status":"failure","status":"success"}]}`,
		`{"targets":[{"target":"d3","status":"success"}],"targets":[{"target":"d1"}]}`,
		`{"targets":[{"target":"d1","target":"d2","Status":"success"}],"TARGETS":null}`,
		`{"targets":[{"target":"d1","status":"SUCCESS"},{"target":"d2","status":"`+strings.Repeat("x", 100)+`"},{"target":"d9\u0000","status":"success"},null]}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := 0
		c := fuzzed(t, aKey(), func(*http.Request) *http.Response {
			sent++
			return reply(200, body, false)
		})
		answer, e := c.RetryTask(t.Context(), "ab", []string{"d1", "d2"}, nil)
		require.Equal(t, 1, sent, "it is sent once")
		if e != nil {
			require.False(t, refused(t, e).NoEffect(), "a 200 may have had an effect, whatever it says")
			require.Empty(t, answer.Targets)
			return
		}
		require.Len(t, answer.Targets, 2)
		for target, a := range answer.Targets {
			short(t, a.Code, 64)
			short(t, a.Text, 300)
			rows, ok := successes(body, target)
			switch a.Result {
			case iotdaclient.Accepted:
				require.Equal(t, 1, ok, "%s of %s", target, body)
				require.Equal(t, 1, rows, "%s of %s", target, body)
			case iotdaclient.Rejected:
				require.Equal(t, 1, rows, "%s of %s", target, body)
			default:
				require.Equal(t, iotdaclient.Unknown, a.Result)
			}
		}
		for _, other := range answer.Unasked {
			short(t, other, 128)
		}
	})
}

func FuzzOnlyAWholeRefusalWithACodeOfTheAPIHadNoEffect(f *testing.F) {
	for i, status := range []int{400, 401, 403, 404, 409, 413, 429, 500, 503, 302, 204, 100} {
		f.Add(status, []byte(`{"error_code":"IOTDA.000006","error_msg":"Invalid input data."}`), false, "5", "", false)
		f.Add(status, []byte(`{"error_msg":"echo `+theSecretKey+`","error_code":"APIGW.0301","request_id":"x"}`), i%2 == 0, "soon", "d8", i%3 == 0)
		f.Add(status, []byte(`{"error_msg":"s3cr3t-token\/of\u002bthe\u003d\u003dtest","error_code":"APIG.0308"}`), false, "-9223372036854775807", "", true)
		f.Add(status, []byte("<html>"+theToken+"\x00\xff"), false, "", "\xff\x00", true)
		f.Add(status, []byte(`{"error_code":"IOTDA.1","error_msg":"x"}`+strings.Repeat(" ", 70000)+"<html>"), false, "", "", true)
		f.Add(status, []byte(`{"error_code":12}`), false, "Wed, 25 Nov 2026 02:00:49 GMT", "", true)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, cut bool, retryAfter, requestID string, withToken bool) {
		from, secret := aKey(), theSecretKey
		if withToken {
			from, secret = iotdaclient.Token(theToken), theToken
		}
		platform := func(*http.Request) *http.Response {
			return reply(status, body, cut, "Retry-After", retryAfter, "X-Request-Id", requestID, "Location", "/elsewhere")
		}
		_, e := fuzzed(t, from, platform).RetryTask(t.Context(), "ab", []string{"d1"}, nil)
		if e == nil {
			require.Equal(t, 200, status)
			return
		}
		refused(t, e, secret)
		code := ""
		var words struct {
			Code string `json:"error_code"`
		}
		if json.Unmarshal(body, &words) == nil {
			code = words.Code
		}
		proof := map[int]bool{400: true, 401: true, 403: true, 404: true, 413: true, 429: true}[status] && !cut &&
			(status == 429 || strings.HasPrefix(code, "IOTDA.") || strings.HasPrefix(code, "APIG.") || strings.HasPrefix(code, "APIGW."))
		require.True(t, proof || !e.NoEffect(), "%d %q %v", status, body, cut)
		require.True(t, proof || !e.RefusedBatch())
		require.True(t, !e.Gone() || proof && status == 404)
		require.False(t, e.Held())
		if _, err := fuzzed(t, from, platform).Apps(t.Context()); err != nil {
			refused(t, err, secret)
		}
	})
}

func FuzzALoginGivesATokenThatEndsWithinADayOrAnError(f *testing.F) {
	for _, body := range []string{
		`{"token":{"expires_at":"2026-03-02T09:05:22.701000Z","issued_at":"2026-03-01T09:05:22.701000Z"}}`, `{"token":{"expires_at":"9999-12-31T23:59:59.999999Z"}}`,
		`{"token":{"expires_at":"2026-03-02 09:05:22"}}`, `{"token":null}`, "", "<html>",
		`{"error":{"code":401,"message":"The username or password is wrong: ` + thePassword + `","title":"Unauthorized"}}`,
		`{"error_msg":"s3cr3t-word\/of+the==test","error_code":"APIGW.0301"}`, `{"error_code":"` + strings.Repeat("x", 60) + thePassword + `"}`,
	} {
		for _, status := range []int{201, 200, 401, 403, 429, 500} {
			f.Add(status, []byte(body), false, theToken, "Sun, 01 Mar 2026 09:05:22 GMT", "7")
		}
		f.Add(201, []byte(body), true, "", "Mon, 01 Jan 0001 00:00:00 GMT", "")
		f.Add(201, []byte(body), false, theToken, "Fri, 31 Dec 9999 23:59:59 GMT", "")
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, cut bool, token, date, retryAfter string) {
		l, err := iotdaclient.NewLogin(iotdaclient.LoginOptions{
			Endpoint: "http://127.0.0.1:1", Domain: "acme", User: "robot", Password: thePassword, ProjectID: project, Timeout: time.Minute, Guards: iotdaclient.NewGuards(),
			Transport: replies(func(*http.Request) *http.Response {
				return reply(status, body, cut, "X-Subject-Token", token, "Date", date, "Retry-After", retryAfter)
			}),
		})
		require.NoError(t, err)
		begun := time.Now()
		got, err := l.Credential(t.Context())
		if err != nil {
			e := refused(t, err, thePassword)
			require.Equal(t, "KeystoneCreateUserTokenByPassword", e.Op)
			require.True(t, e.Until().After(begun), "the next login waits")
			return
		}
		require.Equal(t, 201, status)
		require.False(t, cut)
		require.Equal(t, token, got.Token)
		require.NotEmpty(t, token)
		require.True(t, got.Expires.After(begun))
		require.False(t, got.Expires.After(time.Now().Add(24*time.Hour)))
	})
}

func FuzzADeviceIDStaysOneSegmentOfThePath(f *testing.F) {
	for _, id := range []string{"d-0001", "a/b", "..", "../apps", "a?b=c", "a#b", "a%2fb", "电", "a b", "\x00", "\xff", "", "a;b", "{project_id}"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		const folder = "/v5/iot/" + project + "/devices/"
		asked := ""
		c := fuzzed(t, aKey(), func(r *http.Request) *http.Response {
			asked = r.URL.RequestURI()
			return reply(200, []byte(`{"device_id":"d"}`), false)
		})
		if _, _, err := c.Device(t.Context(), id); err != nil {
			refused(t, err)
			require.Empty(t, asked)
			return
		}
		rest, ok := strings.CutPrefix(asked, folder)
		require.True(t, ok, asked)
		require.NotContains(t, rest, "/")
		require.NotContains(t, rest, "?")
	})
}
