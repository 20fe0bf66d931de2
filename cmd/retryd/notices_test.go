package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/notify"
	"retryd/internal/store"
)

// TestThePageOfNoticesSpeaksOfEveryEvent: a receiver is told of all of them by default, and each is
// explained.
func TestThePageOfNoticesSpeaksOfEveryEvent(t *testing.T) {
	data, err := os.ReadFile("../../docs/notices.md")
	require.NoError(t, err)
	events, results, _ := strings.Cut(string(data), "\n## Watch it\n")
	events, _, _ = strings.Cut(events, "\n## In Slack\n")
	var have []store.Event
	for _, name := range firstColumn(events, "[a-z_]+") {
		have = append(have, store.Event(name))
	}
	require.Equal(t, store.Events(), have)
	require.Equal(t, notify.Results(), firstColumn(results, "[a-z]+"))

	c, err := config.Parse("f.yaml", []byte(sample("127.0.0.1:1")+"notify: [{name: chat, url: \"https://hooks.example.com/x\"}]\n"), env)
	require.NoError(t, err)
	require.ElementsMatch(t, store.Events(), notices(c).Receivers[0].Events)
}

// TestTheReceiversOfThePageOfNoticesAreTaken: its configuration is one.
func TestTheReceiversOfThePageOfNoticesAreTaken(t *testing.T) {
	data, err := os.ReadFile("../../docs/notices.md")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(data), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	folder := t.TempDir()
	for _, name := range []string{"slack", "tickets-secret"} {
		require.NoError(t, os.WriteFile(folder+"/"+name, []byte("https://hooks.slack.com/services/x"), 0o600))
	}
	c, err := config.Parse("f.yaml", []byte(strings.ReplaceAll(text, "/etc/retryd", folder)+sample("127.0.0.1:1")), env)
	require.NoError(t, err)
	require.Len(t, c.Receivers, 2)
}
