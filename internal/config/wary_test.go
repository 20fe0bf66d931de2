package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

// TestEveryWarningIsNamedAtItsPlace is for files that can be used, and folders of them.
func TestEveryWarningIsNamedAtItsPlace(t *testing.T) {
	entries, err := os.ReadDir("testdata/warned")
	require.NoError(t, err)
	seen := 0
	for _, entry := range entries {
		name, text := strings.CutSuffix(entry.Name(), ".txt")
		if text {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/warned", name)
			c, err := config.Load([]string{path}, noEnv)
			require.NoError(t, err)
			got := c.Warnings.Error() + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			require.Equal(t, string(must(os.ReadFile(golden))), got)
			require.NotRegexp(t, goWords, got)
		})
	}
	require.GreaterOrEqual(t, seen, 4)
}
