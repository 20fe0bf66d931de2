package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/notify"
	"retryd/internal/policy"
	"retryd/internal/store"
)

var update = flag.Bool("update", false, "write the examples of docs/notices.md")

const page = "../../docs/notices.md"

// block holds the one block of code in a language on the page to what is made.
func block(t *testing.T, language, made string) {
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(data), "\n```"+language+"\n")
	require.True(t, ok)
	have, after, ok := strings.Cut("\n"+rest, "\n```\n")
	require.True(t, ok)
	have = strings.TrimPrefix(have, "\n")
	if *update && have != made {
		require.NoError(t, os.WriteFile(page, []byte(before+"\n```"+language+"\n"+made+"\n```\n"+after), 0o600))
		return
	}
	require.Equal(t, made, have, "out of date: go test ./internal/notify -run Page -update")
}

func TestThePageOfNoticesHasTheFunctionThatVerifies(t *testing.T) {
	data, err := os.ReadFile("verify_test.go")
	require.NoError(t, err)
	function := regexp.MustCompile(`(?s)// Verify .*?\n}\n`).FindString(string(data))
	require.NotEmpty(t, function)
	block(t, "go", strings.TrimSpace(function))
}

func TestThePageOfNoticesShowsWhatIsSent(t *testing.T) {
	var chat slack
	var bodies [][]byte
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)))
		h, end := newHouse(t)
		defer end()
		for _, r := range []struct {
			name   string
			format notify.Format
		}{{"fleet", notify.Slack}, {"tickets", notify.JSON}} {
			h.receiver.Name, h.receiver.Format = r.name, r.format
			h.during(func(*notify.Sender) {
				h.aNight()
				time.Sleep(time.Hour)
			})
		}
		for _, d := range h.deliveries() {
			bodies = append(bodies, d.body)
		}
	})
	require.Len(t, bodies, 2)
	require.NoError(t, json.Unmarshal(bodies[0], &chat))
	texts := chat.texts(t)
	block(t, "text", strings.Join(texts[:len(texts)-1], "\n"))

	var spread bytes.Buffer
	require.NoError(t, json.Indent(&spread, bodies[1], "", "  "))
	// An entry of a list has a line to itself.
	text := regexp.MustCompile(`\n {6,}`).ReplaceAllString(spread.String(), " ")
	text = regexp.MustCompile(`\n {4}}`).ReplaceAllString(text, " }")
	block(t, "json", strings.ReplaceAll(text, "    { ", "    {"))
}

// aNight is one in which several things happen.
func (h *house) aNight() {
	ctx := context.Background()
	set := func(c store.ConnectionRow) {
		c.Identity, c.Name = h.receiver.Name, "prod" // another one each time
		_, err := h.ledger.SetConnection(ctx, c)
		require.NoError(h.t, err)
	}
	taskID := "5f2bc5a1b2c3d4e5f6a7b8c9"
	if h.receiver.Format == notify.JSON {
		taskID = "6a1cc8e2b2c3d4e5f6a7b8d0"
	}
	tasks := []store.Task{{ID: taskID, Name: "fw-9", Type: "firmwareUpgrade", Status: "Fail"}}
	require.NoError(h.t, h.ledger.SeeTasks(ctx, project, tasks))
	c := store.Closings{ProjectID: project, TaskID: taskID, TaskType: "firmwareUpgrade", Policy: "upgrades", Connection: "prod"}
	c.Targets = []store.Closing{
		{DeviceID: "lamp-0042", Outcome: "exhausted", Detail: "5 of 5 attempts", Attempts: 5, Text: "Waiting for the device online timeout"},
		{DeviceID: "lamp-0007", Outcome: "permanent", Detail: "unsupported-package", Attempts: 1, Text: "Unsupported package type"},
	}
	for i, target := range c.Targets {
		c.Targets[i].Cause = (&policy.Policy{}).Cause(target.Code, target.Text)
	}
	h.ends(c)
	time.Sleep(time.Minute)
	set(store.ConnectionRow{
		Reason: "auth", Detail: "ListBatchTasks: HTTP 401 APIGW.0301 Incorrect IAM authentication information",
		Remedy: "the credentials were not accepted: check access_key and secret_key",
	})
	time.Sleep(2 * time.Minute)
	set(store.ConnectionRow{})
	_, err := h.ledger.AwaitApproval(ctx, store.Scope{ProjectID: project, TaskID: taskID, Policy: "canary", Connection: "prod", PolicyHash: "h"}, "not approved")
	require.NoError(h.t, err)
}
