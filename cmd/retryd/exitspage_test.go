package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestThePageOfExitCodesIsThatOfTheCode(t *testing.T) {
	var b strings.Builder
	for _, e := range exits {
		of := "all commands"
		if e.Of != nil {
			of = "those below"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", e.Code, of, e.Meaning)
		for _, words := range slices.Sorted(maps.Keys(e.Of)) {
			fmt.Fprintf(&b, "| %d | `%s` | %s |\n", e.Code, words, e.Of[words])
		}
	}
	golden(t, "docs/exit-codes.md", "| code | of | means |\n|---|---|---|\n", b.String())
}
