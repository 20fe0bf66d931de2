package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnUpgradeKnowsEveryKeyOfTheVersionBefore holds the configuration to what it was when ledgers had schema 3:
// each key is known, with the default that it had. docs/configuration.md is made from the code.
func TestAnUpgradeKnowsEveryKeyOfTheVersionBefore(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	now, section := map[string]bool{}, ""
	for line := range strings.Lines(string(page)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
		}
		if m := keyRow.FindStringSubmatch(line); m != nil {
			now[strings.TrimSpace(section+" "+m[1]+" "+m[2])] = true
		}
	}
	before, err := os.ReadFile("testdata/keys-of-schema-3.txt")
	require.NoError(t, err)
	keys := strings.Split(strings.TrimSpace(string(before)), "\n")
	require.Greater(t, len(keys), 80)
	for _, key := range keys {
		if !now[key] {
			t.Errorf("a key is gone, or its default is another: say so in docs/upgrading.md, and refuse the old one with what to write instead: %s", key)
		}
	}
}

var keyRow = regexp.MustCompile("^\\| `([^`]+)` \\| [^|]* \\| ([^|]*?) \\|")

func TestThePagesNameTheSchemaOfThisVersion(t *testing.T) {
	steps, err := filepath.Glob("../../internal/store/migrations/sqlite/*.sql")
	require.NoError(t, err)
	n := len(steps)
	for page, texts := range map[string][]string{
		"ledger": {fmt.Sprintf("This version has schema %d.", n)},
		"upgrading": {
			fmt.Sprintf("has schema %d, this program reads %d:", n-1, n), fmt.Sprintf("has schema %d, this program knows %d:", n, n-1), fmt.Sprintf("`retryd.db.schema-%d.bak`", n-1),
		},
	} {
		data, err := os.ReadFile("../../docs/" + page + ".md")
		require.NoError(t, err)
		for _, text := range texts {
			require.Contains(t, string(data), text, page)
		}
	}
}
