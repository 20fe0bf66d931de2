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

// TestThePageOfSecurityNamesTestsThatExist: a claim whose test is gone or renamed is no claim.
func TestThePageOfSecurityNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	var code strings.Builder
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			code.Write(data)
		}
		return err
	}))
	tests := regexp.MustCompile("`(Test\\w\\w+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(tests), 30)
	for _, m := range tests {
		require.Contains(t, code.String(), "func "+m[1]+"(t *testing.T)", "docs/security.md")
	}
	scripts := regexp.MustCompile("`([a-z-]{2,}\\.txtar)`").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, scripts)
	for _, m := range scripts {
		require.FileExists(t, filepath.Join("testdata", "script", m[1]), "docs/security.md")
	}
}
