// Package release_test holds a release to what docs/installing.md says of it.
package release_test

import (
	"crypto/sha256"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Without it the compiler's results for retryd's own packages come from the cache of the first build.
var cold = flag.Bool("cold", false, "compile everything anew for the second build")

// A v2 would need a module named retryd/v2: Go stamps no other.
const tag = "v1.98.7"

// TestTwoBuildsOfOneCommitGiveTheSameBytes builds as a release does, in two clones at other paths.
func TestTwoBuildsOfOneCommitGiveTheSameBytes(t *testing.T) {
	one, other := clone(t, "a"), clone(t, "another/folder")
	cache := ""
	if *cold {
		cache = t.TempDir()
	}
	first, second := build(t, one, ""), build(t, other, cache)
	require.Equal(t, sum(t, first), sum(t, second))

	said := run(t, one, first, "version")
	require.Regexp(t, `^retryd `+tag+` \([0-9a-f]{12}\) go1\.`, said)
	run(t, one, "sh", "deploy/release/stamped.sh", first, tag)
	for _, wrong := range []struct{ program, tag, why string }{
		{first, "v1.98.8", "says that it is " + tag + ", and the tag is v1.98.8"},
		{filepath.Join(one, "go.mod"), tag, "has no version"},
	} {
		out, err := command(t, one, "sh", "deploy/release/stamped.sh", wrong.program, wrong.tag).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), wrong.why)
	}

	run(t, one, "sh", "deploy/release/extras.sh", "bin/release")
	require.Contains(t, read(t, filepath.Join(one, "bin/release/retryd.1")), "retryd "+tag)
	for _, shell := range []string{"retryd.bash", "_retryd", "retryd.fish", "retryd.ps1"} {
		require.Contains(t, read(t, filepath.Join(one, "bin/release/completions", shell)), "healthcheck", shell)
	}
	require.Empty(t, run(t, one, "git", "status", "--porcelain"), "what a release makes would be taken for a change")
}

func TestMakeCrossBuildsWhatAReleaseIsMadeFor(t *testing.T) {
	var platforms []string
	for _, system := range readRecipe(t).GOOS {
		for _, processor := range readRecipe(t).GOARCH {
			platforms = append(platforms, system+"/"+processor)
		}
	}
	_, rest, _ := strings.Cut(read(t, "../../Makefile"), "\nPLATFORMS = ")
	line, _, _ := strings.Cut(rest, "\n")
	require.ElementsMatch(t, platforms, strings.Fields(line))
}

// recipe is how .goreleaser.yaml builds.
type recipe struct {
	Main                string
	Env, Flags, LDFlags []string
	GOOS, GOARCH        []string
}

func readRecipe(t *testing.T) recipe {
	var file struct{ Builds []recipe }
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "../../.goreleaser.yaml")), &file))
	require.Len(t, file.Builds, 1)
	return file.Builds[0]
}

func build(t *testing.T, folder, cache string) (program string) {
	r := readRecipe(t)
	program = filepath.Join(t.TempDir(), "retryd")
	args := append([]string{"build"}, r.Flags...)
	c := command(t, folder, "go", append(args, "-ldflags", strings.Join(r.LDFlags, " "), "-o", program, r.Main)...)
	c.Env = append(c.Env, r.Env...)
	if cache != "" {
		c.Env = append(c.Env, "GOCACHE="+cache)
	}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// clone makes a repository of the sources as they are, tagged, with the same commit every time.
func clone(t *testing.T, name string) (folder string) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git, by which a program knows its version: install git")
	}
	folder = filepath.Join(t.TempDir(), name)
	for _, part := range []string{"go.mod", "go.sum", ".gitignore", "cmd", "internal", "deploy/release"} {
		copyTo(t, filepath.Join("../..", part), filepath.Join(folder, part))
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "x"}, {"tag", tag}} {
		run(t, folder, "git", args...)
	}
	return folder
}

func copyTo(t *testing.T, from, to string) {
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		target := to + strings.TrimPrefix(path, from)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o700))
		return os.WriteFile(target, []byte(read(t, path)), 0o600)
	}))
}

// command has nothing of this machine's settings for Go and git but where modules come from.
func command(t *testing.T, folder, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = folder
	c.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	return c
}

func run(t *testing.T, folder, name string, args ...string) string {
	out, err := command(t, folder, name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

func sum(t *testing.T, file string) [sha256.Size]byte { return sha256.Sum256([]byte(read(t, file))) }

func read(t *testing.T, file string) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}
