package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// arrows are the imports between the packages that are allowed; cmd may import all.
var arrows = map[string][]string{
	"iotda":        {},
	"metrics":      {},
	"policy":       {"iotda"},
	"iotdaclient":  {"iotda"},
	"emulator":     {"iotda"},
	"buildtest":    {},
	"pgtest":       {},
	"chromiumtest": {},
	"config":       {"policy"},
	"store":        {"policy"},
	"notify":       {"store"},
	"scheduler":    {"iotda", "iotdaclient", "metrics", "policy", "store"},
	"web":          {"config", "iotda", "policy", "scheduler", "store"},
}

// impure is what the package of pure decisions may not use.
var impure = []string{"net/http", "database/sql", "os", "log", "log/slog", "go.uber.org/zap", "math/rand", "math/rand/v2"}

func TestPackagesImportOnlyWhatTheHouseAllows(t *testing.T) {
	root := filepath.Join("..", "..", "internal")
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		relative, err := filepath.Rel(root, filepath.Dir(path))
		require.NoError(t, err)
		pkg := strings.Split(filepath.ToSlash(relative), "/")[0]
		allowed, known := arrows[pkg]
		require.True(t, known, "package %s has no arrows: give it some in this test and in CONTRIBUTING.md", pkg)
		seen[pkg] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if ours, ok := strings.CutPrefix(name, "retryd/internal/"); ok {
				require.Contains(t, allowed, ours, "%s imports %s", path, name)
			}
			if pkg == "policy" {
				require.False(t, slices.Contains(impure, name), "%s imports %s: deciding is pure", path, name)
			}
		}
		return nil
	}))
	require.Len(t, seen, len(arrows), "a package in the arrows is gone")
}
