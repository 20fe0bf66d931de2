package grafana_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the dashboards")

// made are the dashboards by their files.
func made() map[string]dashboard {
	return map[string]dashboard{"fleet.json": fleet(), "retryd.json": daemon()}
}

func TestTheDashboardsAreWhatTheirPanelsSay(t *testing.T) {
	for name, d := range made() {
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		require.NoError(t, encoder.Encode(d))
		if *update {
			require.NoError(t, os.WriteFile(name, want.Bytes(), 0o644))
		}
		have, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, want.String(), string(have), "%s is old: go test ./deploy/grafana -run TheirPanels -update", name)
	}
}

// read gives a dashboard as Grafana reads it: all that is checked is checked of the files.
func read(t *testing.T, name string) dashboard {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var d dashboard
	require.NoError(t, decoder.Decode(&d))
	return d
}
