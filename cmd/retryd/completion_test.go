package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shells are those that there are completions for, and how one runs its driver in testdata/shells.
var shells = map[string][]string{
	"bash":       {"bash", "--norc", "testdata/shells/bash"},
	"zsh":        {"zsh", "-f", "testdata/shells/zsh"},
	"fish":       {"fish", "--no-config", "testdata/shells/fish"},
	"powershell": {"pwsh", "-NoProfile", "-File", "testdata/shells/powershell.ps1"},
}

// offers has a real shell complete each line, in a folder with a few files.
func offers(t *testing.T, shell string, lines []string) map[string][]string {
	how := shells[shell]
	program, err := exec.LookPath(how[0])
	if err != nil {
		t.Skipf("its completion is not tried: %s is not installed", how[0])
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for name, text := range map[string]string{"retryd.yaml": "", "ca.pem": "", "fog": "", ".lines": strings.Join(lines, "\n") + "\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	var script, stderr bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"completion", shell}, &script, &stderr), stderr.String())
	file := filepath.Join(t.TempDir(), "completion.ps1") // the suffix is PowerShell's
	require.NoError(t, os.WriteFile(file, script.Bytes(), 0o600))
	driver, err := filepath.Abs(how[len(how)-1])
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), program, append(slices.Clone(how[1:len(how)-1]), driver, file, ".lines")...)
	c.Dir, c.Stderr = dir, &stderr
	c.Env = append(os.Environ(), "HOME="+dir, "TERM=dumb", "LC_ALL=C")
	out, err := c.Output()
	require.NoError(t, err, stderr.String())
	require.Empty(t, stderr.String())
	offered := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		for _, word := range fields[1:] {
			_, value, ok := strings.Cut(word, "=") // some shells offer --format=json, others json
			if !ok || value == "" {
				value = strings.TrimRight(word, "/=")
			}
			if word != "" && !slices.Contains(offered[fields[0]], value) {
				offered[fields[0]] = append(offered[fields[0]], value)
			}
		}
	}
	return offered
}

func TestShellsComplete(t *testing.T) {
	want := map[string][]string{
		"retryd pl":                              {"plan"},
		"retryd -c plan swe":                     {"sweep", "sweeps"},
		"retryd plan --for":                      {"--format"},
		"retryd plan --format ":                  {"table", "json", "csv"},
		"retryd plan -a --format c":              {"csv"},
		"retryd plan --format=j":                 {"json"},
		"retryd once --new":                      {"--new-ledger"},
		"retryd ledger ":                         {"check", "backup"},
		"retryd -c retryd.yaml ledger check --d": {"--deep"},
		"retryd sweep --config r":                {"retryd.yaml"},
		"retryd check r":                         {"retryd.yaml"},
		"retryd check one two r":                 {"retryd.yaml"},
		"retryd plan --ca-file c":                {"ca.pem"},
		"retryd man fo":                          {"folder"},
		"retryd completion z":                    {"zsh"},
		"retryd plan --user f":                   nil,
		"retryd sweep r":                         nil,
	}
	for shell := range shells {
		t.Run(shell, func(t *testing.T) {
			var lines []string
			for line := range want {
				if shell != "powershell" || want[line] != nil && !strings.Contains(line, "=") {
					lines = append(lines, line) // PowerShell offers files where we offer nothing
				}
			}
			offered := offers(t, shell, lines)
			for _, line := range lines {
				require.ElementsMatch(t, want[line], offered[line], "%q", line)
			}
		})
	}
}

func TestShellsCompleteEveryCommandAndFlag(t *testing.T) {
	want := map[string]string{}
	for _, c := range theModel().All() {
		at := strings.TrimSpace("retryd " + c.Words)
		for _, under := range c.Commands {
			want[at+" "+under.Name] = under.Name
		}
		for _, v := range c.Flags {
			for _, name := range v.Long {
				want[at+" --"+name] = "--" + name
			}
			for _, word := range v.Words {
				want[at+" --"+v.Name+" "+word] = word
			}
		}
	}
	require.Greater(t, len(want), 100)
	for _, shell := range []string{"bash", "fish"} { // a zsh at a terminal takes its time
		t.Run(shell, func(t *testing.T) {
			var lines []string
			for line := range want {
				lines = append(lines, line)
			}
			offered := offers(t, shell, lines)
			for line, word := range want {
				require.Contains(t, offered[line], word, "%q", line)
			}
		})
	}
}

func theModel() *command {
	var c cli
	return modelOf(newParser(&c, os.Stdout, os.Stderr).Model.Node)
}
