package iotdaclient_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotdaclient"
)

// The secrets of fuzzed calls, with letters that JSON may spell in several ways.
const (
	theSecretKey = "s3cr3t-key/of+the==test"
	theToken     = "s3cr3t-token/of+the==test"
	thePassword  = "s3cr3t-word/of+the==test"
)

// replies is a platform that answers each request with what it is told to.
type replies func(*http.Request) *http.Response

// RoundTrip answers, on a connection that was had.
func (f replies) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	return f(r), nil
}

// reply is one answer. Where it is cut, the connection breaks after the body.
func reply(status int, body []byte, cut bool, headers ...string) *http.Response {
	var rest io.Reader = bytes.NewReader(body)
	if cut {
		rest = io.MultiReader(rest, broken{})
	}
	header := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(rest)}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// always answers each request with 200 and the body.
func always(body []byte) replies {
	return func(*http.Request) *http.Response { return reply(200, body, false) }
}

// fuzzed makes a client that tries each call once.
func fuzzed(t *testing.T, from iotdaclient.Source, platform replies) *iotdaclient.Client {
	c, err := iotdaclient.New(iotdaclient.Options{
		Name: "prod", Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project, Credentials: from,
		Budget: iotdaclient.NewBudget(1e6, 1e6), Guards: iotdaclient.NewGuards(), Concurrency: 4, Timeout: time.Minute,
		Backoff: iotdaclient.Backoff{Initial: time.Nanosecond, Multiplier: 1, Max: time.Nanosecond, MaxElapsed: time.Nanosecond}, Transport: platform,
	})
	require.NoError(t, err)
	return c
}

func aKey() iotdaclient.Source {
	return iotdaclient.Key{AccessKey: "key", SecretKey: theSecretKey, Signing: iotdaclient.SigningAuto}
}

func short(t *testing.T, text string, n int, secrets ...string) {
	require.LessOrEqual(t, len(text), n)
	require.True(t, utf8.ValidString(text), "%q", text)
	require.NotContains(t, text, "\x00")
	for _, s := range secrets {
		require.NotContains(t, text, s)
	}
}

// quotes are a reply's own words, and numbers.
var quotes = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// refused holds what an error says against what any error may say.
func refused(t *testing.T, err error, secrets ...string) *iotdaclient.Error {
	e := iotdaclient.AsError(err)
	require.NotNil(t, e, "%v", err)
	require.NotEmpty(t, e.Class)
	short(t, e.Code, 64, secrets...)
	short(t, e.Message, 500, secrets...)
	short(t, e.RequestID, 64)
	short(t, e.Error(), 1500, secrets...)
	require.NotRegexp(t, `\b(iotda\.|struct|int64|unmarshal)`, quotes.ReplaceAllString(e.Error(), ""), "an operator reads it")
	require.GreaterOrEqual(t, e.RetryAfter, time.Duration(0))
	require.LessOrEqual(t, e.RetryAfter, time.Minute)
	return e
}

const (
	listReply  = `{"batchtasks":[{"task_id":"5f2bc5a1b2c3d4e5f6a7b8c9","task_name":"fw_v2","task_type":"firmwareUpgrade","targets":["d1","d2"],"status":"PartialSuccess","task_progress":{"total":2,"success":1,"fail":1},"create_time":"20260301T081608Z"}],"page":{"count":1,"marker":"5f2bc5a1b2c3d4e5f6a7b8c9"}}`
	showReply  = `{"batchtask":{"task_id":"5f2bc5a1b2c3d4e5f6a7b8c9","status":"PartialSuccess","task_progress":{"total":2,"success":1,"fail":1}},"task_details":[{"target":"d2","status":"Fail","output":"","error":{"error_code":"IOTDA.0xxxxx","error_msg":"Waiting for the device online timeout"}}],"page":{"count":1,"marker":"5f2bc5a1b2c3d4e5f6a7b8d0"}}`
	retryReply = `{"targets":[{"target":"d1","status":"failure","error_code":"IOTDA.014219","error_msg":"Invalid input. The target is not in the task"},{"target":"d2","status":"success"}]}`
)

// noReplies are bodies that no call should take for an answer.
var noReplies = []string{
	"", "null", "[]", "{}", "0", `""`, "<html><h1>Bad gateway</h1></html>", `{"batchtasks":null}`, `{"batchtasks":{}}`, `{"batchtasks":[null]}`, `{"batchtasks":[{"task_id":1}]}`, `{"batchtask":{}}`,
	`{"batchtask":{"status":"Fail"},"task_details":null}`, `{"targets":[{"target":"d1","status":"success"}`, "{\"targets\":\xff}", strings.Repeat("[", 20000), "\ufeff{}",
	`{"error_code":"IOTDA.000006","error_msg":"Invalid input data."}`, `{"devices":[{"device_id":"d2","status":"OFFLINE"}],"page":{"count":9223372036854775808}}`,
}
