package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTableHasTheExitCodesThatAreUsed(t *testing.T) {
	used := map[string]bool{}
	everyFile(t, func(path, text string) {
		if path == "exits.go" {
			return
		}
		for _, name := range regexp.MustCompile(`\bexit[A-Z][a-z]+\b`).FindAllString(text, -1) {
			used[name] = true
		}
	})
	names := []string{"exitDone", "exitFailed", "exitUsage", "exitPartial", "exitNothing", "exitConfiguration"}
	require.Len(t, exits, len(names))
	for code, e := range exits {
		require.Equal(t, code, e.Code)
		require.Equal(t, used[names[code]], e.Of == nil || len(e.Of) > 0, "%s: does a command end with it, or none?", names[code])
	}
}

func TestTheTableOfExitCodesKnowsTheCommands(t *testing.T) {
	commands := map[string]bool{}
	for _, c := range theModel().Leaves() {
		commands[c.Words] = true
	}
	for _, e := range exits {
		for words := range e.Of {
			require.True(t, commands[words], "there is no command %q", words)
		}
	}
}
