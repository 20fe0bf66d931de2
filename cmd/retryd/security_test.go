package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPromisesNameTestsThatExist: a claim whose test is gone or renamed is no claim.
func TestPromisesNameTestsThatExist(t *testing.T) {
	var code strings.Builder
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			code.Write(data)
		}
		return err
	}))
	for page, least := range map[string]int{"docs/security.md": 30, "docs/reliability.md": 30} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		require.NoError(t, err)
		tests := regexp.MustCompile("`(Test\\w\\w+)`").FindAllStringSubmatch(string(text), -1)
		require.Greater(t, len(tests), least, page)
		for _, m := range tests {
			require.Contains(t, code.String(), "func "+m[1]+"(t *testing.T)", page)
		}
		for _, m := range regexp.MustCompile("`([a-z-]{2,}\\.txtar)`").FindAllStringSubmatch(string(text), -1) {
			require.FileExists(t, filepath.Join("testdata", "script", m[1]), page)
		}
	}
}
