package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

// TestWhatADaemonTellsOfItsConfigurationDecidesTheSame takes it over JSON, to a machine that has none of
// the files that it names.
func TestWhatADaemonTellsOfItsConfigurationDecidesTheSame(t *testing.T) {
	folder := write(t, "some", "d1\nd2 # the second\n", "none", "# nobody\n")
	text := strings.Replace(full, "exclude: [\"'\"]", "exclude: [\"'\"], include_file: some, exclude_file: none", 1)
	file := filepath.Join(folder, "f.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	c, err := config.Load([]string{file}, env("AK", "the-ak"))
	require.NoError(t, err)
	require.Len(t, c.Policies[0].Targets.IncludeIDs, 2)

	data, err := json.Marshal(c.Running("/x/y.db"))
	require.NoError(t, err)
	for _, secret := range []string{"the-ak", "a-secret-key", "a-token-of-24-hours", "w0rd", "a-long-webhook", "another-long-hook", "a-signing-secret"} {
		require.NotContains(t, string(data), secret)
	}
	require.NoError(t, os.RemoveAll(folder))
	var told config.Running
	require.NoError(t, json.Unmarshal(data, &told))
	require.Equal(t, c.Hash, told.Hash)
	require.Equal(t, config.RunningConnection{Name: "d", Identity: "[::1]:1 # p4"}, told.Connections[3])
	policies, err := told.Decides()
	require.NoError(t, err)
	require.Equal(t, c.Policies, policies)
}

func TestAnAnswerThatIsNoConfigurationIsAnError(t *testing.T) {
	for text, says := range map[string]string{
		"": "not YAML", "a: [": "not YAML", "x": "cannot be read by this version", "connections: []\npolicies: 7\n": "policies must be a list",
		"connections: [{name: a, endpoint: \"https://a\", project_id: p}]\npolicies: [{name: p, schedule: \"@daily\", mode: new}]\n": `mode cannot be "new"`,
		"connections: [{name: a, endpoint: \"https://a\", project_id: p}]\npolicies: [{name: p, schedule: \"@daily\"}]\n":            `says nothing of policy "p"`,
	} {
		_, err := config.Running{Text: text}.Decides()
		require.ErrorContains(t, err, says, text)
	}
}
