package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

const fleetOfTwo = `connections:
  - {name: a, endpoint: "https://a.example.com", region: x, project_id: 00000000000000000000000000000001, auth: {token: {file: t}}}
  - {name: b, endpoint: "https://b.example.com", region: x, project_id: 00000000000000000000000000000002, auth: {token: {file: t}}}
policies:
  - {name: one, connections: [a], schedule: "@hourly"}
  - {name: two, connections: [b], schedule: "@daily"}
`

func TestReceiversHaveTheirPoliciesAndTheConnectionsOfThese(t *testing.T) {
	folder := write(t, "t", "token", "hook", " https://hooks.slack.com/services/T0/B0/a-webhook \n", "key", "sign-with-this\n")
	c, err := config.Parse(filepath.Join(folder, "f.yaml"), []byte(fleetOfTwo+`server: {external_url: "https://retryd.example.com/fleet/"}
notify:
  - {name: chat, url_file: hook, policies: [two], events: [halted, connection_down]}
  - {name: pager, url: "http://localhost:9/x", format: json, secret_file: key, batch: 0s, timeout: 3s}
`), noEnv)
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Equal(t, "https://retryd.example.com/fleet", c.Server.ExternalURL)
	require.Equal(t, []config.Receiver{
		{
			Name: "chat", URL: "https://hooks.slack.com/services/T0/B0/a-webhook", Format: "slack", Events: []string{"halted", "connection_down"},
			Policies: []string{"two"}, Connections: []string{"b"}, Batch: 5 * time.Minute, Timeout: 10 * time.Second,
		},
		{
			Name: "pager", URL: "http://localhost:9/x", Format: "json", All: true, Secret: "sign-with-this", Timeout: 3 * time.Second,
			Events: []string{"exhausted", "permanent", "expired", "halted", "connection_down", "connection_up", "awaiting_approval"},
		},
	}, c.Receivers)
	shown := fmt.Sprintf("%+v %#v", c.Receivers, c.Receivers) + printed(c)
	require.NotContains(t, shown, "a-webhook")
	require.NotContains(t, shown, "localhost:9")
	require.NotContains(t, shown, "sign-with-this")
}

func TestReceiversOfSeveralFilesAreJoined(t *testing.T) {
	folder := write(t, "t", "token", "a.yaml", fleetOfTwo+"notify: [{name: a, url: \"https://x\"}]\n", "b.yaml", "notify: [{name: b, url: \"https://x\"}]\n")
	c, err := config.Load([]string{folder}, noEnv)
	require.NoError(t, err)
	require.Len(t, c.Receivers, 2)
}

func TestWhatIsUnwiseAboutAReceiverIsWarnedOf(t *testing.T) {
	folder := write(t, "t", "token", "f.yaml", fleetOfTwo+"notify: [{name: a, format: json, url: \"https://x\"}, {name: b, url: \"https://hooks.slack.com/services/T0/B0/a-webhook\"}]\n")
	file := filepath.Join(folder, "f.yaml")
	require.NoError(t, os.Chmod(file, 0o644))
	c, err := config.Load([]string{file}, noEnv)
	require.NoError(t, err)
	require.Len(t, c.Warnings, 2)
	text := strings.ReplaceAll(c.Warnings.Error(), folder, "HERE")
	require.Contains(t, text, "HERE/f.yaml:7:10: whoever knows the receiver's address can send it what looks like a digest: secret_file has them signed")
	require.Contains(t, text, "everybody on this machine can read the secrets in this file")
	require.NotContains(t, text, "a-webhook")
}
