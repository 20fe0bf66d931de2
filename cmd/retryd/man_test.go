package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheManPageIsRoffThatNobodyComplainsAbout(t *testing.T) {
	page := filepath.Join(t.TempDir(), "retryd.1")
	require.NoError(t, os.WriteFile(page, []byte(manPage(theModel(), "1.2.3", "2025-01-31")), 0o600))
	for _, how := range [][]string{
		{"mandoc", "-T", "lint", "-W", "warning", page},
		{"groff", "-man", "-ww", "-z", page},
		{"man", "--warnings", "-l", page},
	} {
		t.Run(how[0], func(t *testing.T) {
			program, err := exec.LookPath(how[0])
			if err != nil {
				t.Skipf("it does not look at the page: %s is not installed", how[0])
			}
			var said, text bytes.Buffer
			c := exec.CommandContext(t.Context(), program, how[1:]...)
			c.Stdout, c.Stderr = &text, &said
			c.Env = append(os.Environ(), "MANWIDTH=200", "LC_ALL=C.UTF-8")
			require.NoError(t, c.Run(), "%s%s", &text, &said)
			require.Empty(t, said.String())
			if how[0] == "man" {
				shows(t, text.String())
			}
		})
	}
}

// shows looks for everything in the page as a reader sees it.
func shows(t *testing.T, text string) {
	text = regexp.MustCompile(`.\x08`).ReplaceAllString(text, "") // bold is struck twice
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	text = words(text)
	for _, c := range theModel().Leaves() {
		require.Contains(t, text, words(c.Usage()+" "+c.Help))
		for _, v := range append(c.Own(), c.Args...) {
			require.Contains(t, text, words(v.meaning()))
		}
	}
	for _, w := range append(environmentOf(theModel()), files...) {
		require.Contains(t, text, words(w.Name+" "+w.Meaning))
	}
}

func TestTheManPageIsWrittenToAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "share", "man1")
	var stdout, printed, stderr bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"man", dir}, &stdout, &stderr), stderr.String())
	require.Equal(t, filepath.Join(dir, "retryd.1")+" is written.\n", stdout.String())
	require.Equal(t, exitDone, run(t.Context(), []string{"man"}, &printed, &stderr), stderr.String())
	data, err := os.ReadFile(filepath.Join(dir, "retryd.1"))
	require.NoError(t, err)
	require.Equal(t, printed.String(), string(data))
}

func TestTheManualHasEveryVariableThatIsRead(t *testing.T) {
	known := map[string]bool{}
	for _, w := range environmentOf(theModel()) {
		known[w.Name] = true
	}
	reads := regexp.MustCompile(`(?:\benv|Getenv|LookupEnv)\("([^"]+)"\)`)
	found := 0
	everyFile(t, func(path, text string) {
		if strings.Contains(text, "\n\t\"testing\"\n") {
			return // pgtest and chromiumtest: no part of the program
		}
		for _, m := range reads.FindAllStringSubmatch(text, -1) {
			found++
			require.True(t, known[m[1]], "%s reads $%s, which manwords.go does not explain", path, m[1])
		}
	})
	require.Greater(t, found, 3)
}

// everyFile goes through the code without its tests.
func everyFile(t *testing.T, look func(path, text string)) {
	for _, root := range []string{".", "../../internal"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			look(path, string(data))
			return err
		}))
	}
}
