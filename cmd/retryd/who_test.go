package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPersonHasOneNameHoweverTheyAct(t *testing.T) {
	uid := os.Getuid()
	if uid < 0 {
		t.Skip("the system has no numbers for users, and a socket does not tell who calls")
	}
	t.Setenv("USER", "somebody-else") // who says so is not believed
	require.Equal(t, who(), whoCalls{uint32(uid), true}.String())
	require.NotContains(t, who(), "somebody-else")
	const nobodys = 4_000_000_001 // a number that no list of users has
	require.Equal(t, "uid 4000000001@"+hostname(), whoCalls{nobodys, true}.String())
	require.Equal(t, person(strconv.Itoa(nobodys)), whoCalls{nobodys, true}.String())
	require.Equal(t, "somebody on this machine", whoCalls{}.String(), "a system that does not tell")
}
