package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheReadmesSayTheSame holds the Chinese README to the English one: what is no sentence is the same, in the
// same order.
func TestTheReadmesSayTheSame(t *testing.T) {
	data, err := os.ReadFile("../../README.zh-CN.md")
	require.NoError(t, err)
	english := strings.Replace(readme(t), "(README.zh-CN.md)", "", 1) // each names the other
	chinese := strings.Replace(string(data), "(README.md)", "", 1)
	for what, form := range map[string]string{
		"lines of code":      "(?m)^ {4}\\S.*$",
		"blocks of code":     "(?s)```.*?```",
		"commands in a line": "`(?:retryd|make|go|CGO_ENABLED=0 go) [^`\\n]*`",
		"rows of tables":     "(?m)^\\| `[^|]*` \\|",
		"points of lists":    "(?m)^(?:- |\\d\\. )",
		"chapters":           "(?m)^##+ ",
	} {
		found := regexp.MustCompile(form)
		want, have := found.FindAllString(english, -1), found.FindAllString(chinese, -1)
		require.NotEmpty(t, want, what)
		for i := range have {
			have[i] = strings.ReplaceAll(have[i], "、", ", ")
		}
		require.Equal(t, want, have, what)
	}
	// In a sentence the order is the language's own.
	for what, form := range map[string]string{"code in sentences": "`[^`\\n]+`", "links": `\]\([^)]+\)`} {
		found := regexp.MustCompile(form)
		want, have := found.FindAllString(english, -1), found.FindAllString(chinese, -1)
		require.NotEmpty(t, want, what)
		require.ElementsMatch(t, want, have, what)
	}
}
