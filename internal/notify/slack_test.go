package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/notify"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// slack is what Slack reads of a digest.
type slack struct {
	Text   string
	Blocks []struct {
		Type     string
		Text     slackText
		Elements []slackText
	}
}

type slackText struct {
	Type, Text string
	Verbatim   bool
}

// texts gives all of them, and holds the message to what Slack takes.
func (s slack) texts(t *testing.T) (texts []string) {
	require.NotEmpty(t, s.Text)
	require.LessOrEqual(t, len(s.Blocks), 50)
	total := 0
	for _, b := range s.Blocks {
		for _, text := range append(b.Elements, b.Text) {
			require.LessOrEqual(t, len([]rune(text.Text)), 3000)
			total += len(text.Text)
			if text.Text != "" {
				require.Equal(t, slackText{"mrkdwn", text.Text, true}, text)
				texts = append(texts, text.Text)
			}
		}
	}
	require.LessOrEqual(t, total, 10000)
	return append(texts, s.Text)
}

// reads gives the digest that was sent last.
func (s *street) reads(t *testing.T) (m slack, size int) {
	all := s.deliveries()
	body := all[len(all)-1].body
	require.NoError(t, json.Unmarshal(body, &m))
	return m, len(body)
}

var (
	ourLink = regexp.MustCompile(`<https://retryd\.example\.com/(?:[^<>|&\s]|&amp;)*\|open>`)
	entity  = regexp.MustCompile(`&(amp|lt|gt);`)
	inCode  = regexp.MustCompile("`[^`]*`")
)

func TestTextsOfOthersAreNoMarkupInSlack(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.receiver.Format = notify.Slack
	s.known()
	hostile := []string{
		"<!channel>", "<!here|here>", "<@U012AB3CD>", "<https://evil.example/|open>", "a&lt;b", "a & b", "`code` *bold* _it_ ~no~", "```", "`", "@channel #general",
		"https://evil.example", "two\nlines\r\nand three", "> quote", "\u202eright to left", "\x1b[31mred\x07", "\u2028", strings.Repeat("<&>`", 64), strings.Repeat("é", 128), " ", "..",
	}
	for i, name := range hostile {
		c := store.Closings{ProjectID: project, TaskID: fmt.Sprint("t", i), TaskType: "firmwareUpgrade", Policy: "upgrades", Connection: "prod"}
		c.Targets = []store.Closing{{DeviceID: name, Outcome: "permanent", Detail: name, Attempts: 1, Code: name, Text: name, Cause: policy.Cause{Name: "offline", Class: "device"}}}
		require.NoError(t, s.ledger.SeeTasks(context.Background(), project, []store.Task{{ID: c.TaskID, Name: name, Type: c.TaskType, Status: "Fail"}}))
		s.ends(c)
		_, err := s.ledger.SetConnection(context.Background(), store.ConnectionRow{Identity: c.TaskID, Name: "prod", Reason: "auth", Detail: name, Remedy: name})
		require.NoError(t, err)
		require.Equal(t, notify.Sent, s.try())
		m, _ := s.reads(t)
		for _, text := range m.texts(t) {
			bare := ourLink.ReplaceAllString(text, "")
			require.NotContains(t, bare, "<")
			require.NotContains(t, strings.ReplaceAll(bare, "\n> ", ""), ">")
			require.NotContains(t, entity.ReplaceAllString(bare, ""), "&")
			require.NotContains(t, text, "\u202e")
			require.NotContains(t, text, "\x1b")
			require.Zero(t, strings.Count(text, "`")%2)
			for _, word := range []string{"evil", "@channel", "here", "bold", "left", "red", "U012AB3CD"} {
				require.NotContains(t, inCode.ReplaceAllString(bare, ""), word, "it is in code only")
			}
			for line := range strings.Lines(text) {
				require.Regexp(t, "^(\\*?retryd: |• |… |digest )", line)
			}
		}
	}
}

func TestADigestOfTenThousandTargetsIsSmall(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	other := s.receiver
	other.Name, other.Format = "slack", notify.Slack
	require.NoError(t, s.ledger.Subscribe(context.Background(), []string{"chat", "slack"}))
	for i := range 25 {
		c := store.Closings{ProjectID: project, TaskID: fmt.Sprintf("%024d", i), TaskType: "firmwareUpgrade", Policy: "upgrades-of-a-long-name", Connection: "production"}
		for n := range 400 {
			c.Targets = append(c.Targets, store.Closing{
				DeviceID: fmt.Sprintf("5f2bc5a1b2c3d4e5f6a7b8c9_device-%03d-%04d", i, n), Outcome: "exhausted", Detail: "5 of 5 attempts",
				Code: "IOTDA.000000", Text: "Waiting for the device online timeout", Cause: policy.Cause{Name: fmt.Sprint("cause-", n%3), Class: "device"},
			})
		}
		s.ends(c)
		_, err := s.ledger.AwaitApproval(context.Background(), store.Scope{ProjectID: project, TaskID: c.TaskID, Policy: c.Policy, Connection: c.Connection, PolicyHash: "h"}, "not approved")
		require.NoError(t, err)
	}
	require.Equal(t, notify.Sent, s.try())
	var d struct {
		Counts         map[string]int
		Notices, Tasks []any
		Targets        []any
		TaskCount      int `json:"task_count"`
		Causes         []struct {
			Rule, Class string
			Targets     int
		}
	}
	body := s.deliveries()[0].body
	require.NoError(t, json.Unmarshal(body, &d))
	require.Less(t, len(body), 25000)
	require.Equal(t, []int{10000, 25, 25}, []int{d.Counts["exhausted"], d.Counts["awaiting_approval"], d.TaskCount})
	require.Equal(t, []int{20, 20, 20}, []int{len(d.Notices), len(d.Targets), len(d.Tasks)})
	require.Len(t, d.Causes, 3)
	require.Equal(t, "{cause-0 device 3350}", fmt.Sprint(d.Causes[0]))

	s.receiver = other
	require.Equal(t, notify.Sent, s.try())
	m, size := s.reads(t)
	text := strings.Join(m.texts(t), "\n")
	require.Less(t, size, 12000)
	t.Logf("10000 targets of 25 tasks: %d bytes of JSON, %d for Slack", len(body), size)
	require.Contains(t, text, "25 tasks await approval, 10000 targets exhausted")
	require.Contains(t, text, "… and 15 more notices")
	require.Contains(t, text, "*400 targets* given up")
	require.Contains(t, text, "… and 15 more tasks")
	require.Contains(t, text, "last failures: 3350 `cause-0`, 3325 `cause-1`, 3325 `cause-2`")
	require.Contains(t, text, "`5f2bc5a1b2c3d4e5f6a7b8c9_device-000-0000` exhausted in ")
	require.Regexp(t, "… and 99[89][0-9] more targets", text)
}
