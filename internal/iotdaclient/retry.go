package iotdaclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"retryd/internal/iotda"
)

// Result is what the platform's answer proves about one target.
type Result string

// The results for one target.
const (
	Accepted Result = "accepted"
	Rejected Result = "rejected" // refused, with a reason
	Unknown  Result = "unknown"  // missing from the answer, named twice, or contradictory
)

// TargetAnswer is the platform's answer for one target.
type TargetAnswer struct {
	Result     Result
	Code, Text string // the platform's words, or why the result is not known
}

// RetryAnswer is the answer to a retry call that came back with 200.
type RetryAnswer struct {
	Targets map[string]TargetAnswer // one for each target that was named
	Unasked []string                // targets in the answer that nobody named
}

// RetryTask asks the platform to re-run these targets of a task, 1 to 100. The caller
// holds a slot from Acquire. It sends one request, once, unless the gate, which may be nil,
// holds it back. An error is an *Error, whose NoEffect tells whether it is proven that nothing
// happened, and whose Held that it was the gate.
func (c *Client) RetryTask(ctx context.Context, taskID string, targets []string, gate Gate) (RetryAnswer, *Error) {
	if n := len(targets); n == 0 || n > iotda.MaxTargetsPerRetry {
		// An empty list might mean "all" to the platform, which is not documented.
		return RetryAnswer{}, c.fail(opRetry, &Error{Class: iotda.ClassRefused, Message: fmt.Sprintf("%d targets: a call takes 1 to %d", n, iotda.MaxTargetsPerRetry)})
	}
	body, err := json.Marshal(map[string][]string{"targets": targets})
	if err != nil {
		return RetryAnswer{}, c.fail(opRetry, &Error{Class: iotda.ClassRefused, err: err})
	}
	var reply retryReply
	if e := c.post(ctx, call{op: opRetry, method: http.MethodPost, path: c.path("/" + taskID + "/retry"), body: string(body), gate: gate}, whole(&reply)); e != nil {
		return RetryAnswer{}, e
	}
	return readAnswer(targets, reply.Targets), nil
}

// RetryAll asks the platform to re-run every sub-task of a task that is Fail,
// FailWaitRetry or Stopped: an empty body means all [doc RetryBatchTask]. What its answer
// names is not documented, so a 200 says that the task was taken, and no more.
func (c *Client) RetryAll(ctx context.Context, taskID string, gate Gate) *Error {
	var reply struct{}
	return c.post(ctx, call{op: opRetry, method: http.MethodPost, path: c.path("/" + taskID + "/retry"), body: "{}", gate: gate}, whole(&reply))
}

type retryReply struct {
	Targets rows[iotda.TargetResult] `json:"targets"`
}

// UnmarshalJSON refuses an answer with a key twice in one object, which says two things at once:
// encoding/json would mix the rows of two lists, and take the last word of a row.
func (r *retryReply) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := keysOnce(d); err != nil {
		return err
	}
	type plain retryReply
	return json.Unmarshal(data, (*plain)(r))
}

func keysOnce(d *json.Decoder) error {
	open, err := d.Token()
	if _, nested := open.(json.Delim); err != nil || !nested {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if open == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(strings.ToUpper(fmt.Sprint(key))) // encoding/json takes them in any case
			if seen[name] {
				return oddError("a key twice in one object")
			}
			seen[name] = true
		}
		if err := keysOnce(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func readAnswer(targets []string, rows []iotda.TargetResult) RetryAnswer {
	a := RetryAnswer{Targets: make(map[string]TargetAnswer, len(targets))}
	for _, t := range targets {
		a.Targets[t] = TargetAnswer{Result: Unknown, Text: "the answer does not name it"}
	}
	named := make(map[string]bool, len(rows))
	for _, row := range rows {
		if _, asked := a.Targets[row.Target]; !asked {
			a.Unasked = append(a.Unasked, iotda.Clip(row.Target, 128))
			continue
		}
		answer := rowAnswer(row)
		if named[row.Target] {
			answer = TargetAnswer{Result: Unknown, Text: "the answer names it more than once"}
		}
		named[row.Target] = true
		a.Targets[row.Target] = answer
	}
	return a
}

func rowAnswer(row iotda.TargetResult) TargetAnswer {
	code, text := iotda.Clip(row.Code, 64), iotda.Clip(row.Message, 300)
	switch {
	case row.Status == iotda.TargetSuccess && code == "":
		return TargetAnswer{Result: Accepted}
	case row.Status == iotda.TargetFailure:
		return TargetAnswer{Result: Rejected, Code: code, Text: text}
	}
	return TargetAnswer{Result: Unknown, Code: code, Text: "the answer says " + iotda.Clip(row.Status, 40)}
}
