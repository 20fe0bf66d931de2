// Package systemd has the tests of what systemd needs to run retryd.
package systemd

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unit is a unit file: what each key is set to, in order.
type unit map[string][]string

func read(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func readUnit(t *testing.T, path string) unit {
	u := unit{}
	for line := range strings.SplitSeq(read(t, path), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u
}

func (u unit) one(t *testing.T, key string) string {
	require.Len(t, u[key], 1, key)
	return u[key][0]
}

// analyze runs systemd-analyze and gives what it prints.
func analyze(t *testing.T, folder string, args ...string) (string, error) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	if folder != "" {
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+folder+":")
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tooOld is what systemd before 253 says of the unit.
var tooOld = regexp.MustCompile(`(?m)^.*: Failed to parse service type, ignoring: notify-reload\n`)

func TestTheUnitIsExposedToNextToNothing(t *testing.T) {
	out, err := analyze(t, "", "security", "--offline=true", "--threshold=12", "retryd.service")
	require.NoError(t, err, out)
	require.Contains(t, out, "Overall exposure level for retryd.service")

	open := filepath.Join(t.TempDir(), "retryd.service") // the gate can fail
	require.NoError(t, os.WriteFile(open, []byte(strings.ReplaceAll(read(t, "retryd.service"), "\nRestrictNamespaces=yes", "")), 0o600))
	out, err = analyze(t, "", "security", "--offline=true", "--threshold=12", open)
	require.Error(t, err, out)
}

func TestSystemdUnderstandsTheUnit(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		older bool
		want  string
	}{
		"as it is":                   {text: read(t, "retryd.service")},
		"with what older ones need":  {text: read(t, "retryd.service"), older: true},
		"and says where it does not": {text: read(t, "retryd.service") + "[Service]\nProtectEverything=yes\n", want: "'ProtectEverything'"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			here := func(text string) []byte { return []byte(strings.ReplaceAll(text, "/usr/bin/retryd", "/bin/true")) } // that it is there is looked at too
			require.NoError(t, os.WriteFile(filepath.Join(folder, "retryd.service"), here(c.text), 0o600))
			if c.older {
				require.NoError(t, os.Mkdir(filepath.Join(folder, "retryd.service.d"), 0o700))
				require.NoError(t, os.WriteFile(filepath.Join(folder, "retryd.service.d", "older-systemd.conf"), here(read(t, "older-systemd.conf")), 0o600))
			}
			out, err := analyze(t, folder, "verify", "--man=no", filepath.Join(folder, "retryd.service"))
			out = tooOld.ReplaceAllString(out, "")
			if c.want == "" {
				require.NoError(t, err)
				require.Empty(t, out)
			} else {
				require.Contains(t, out, c.want)
			}
		})
	}
}

// constant gives a whole number that the command declares.
func constant(t *testing.T, file, name string) string {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	value := ""
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name == name {
			value = spec.Values[0].(*ast.BasicLit).Value
		}
		return true
	})
	require.NotEmpty(t, value, name)
	return value
}

func TestTheUnitGoesByTheExitCodes(t *testing.T) {
	u := readUnit(t, "retryd.service")
	require.Equal(t, constant(t, "../../cmd/retryd/exits.go", "exitConfiguration"), u.one(t, "RestartPreventExitStatus"),
		"only this: with 2 a crash would be the end, as Go exits with 2 from a panic and at SIGABRT")
	require.Equal(t, "on-failure", u.one(t, "Restart"))
}

func TestTheUnitLeavesTimeForWhatTheDaemonDoes(t *testing.T) {
	u := readUnit(t, "retryd.service")
	require.Equal(t, "notify-reload", u.one(t, "Type"))
	seconds := func(key string) time.Duration {
		d, err := time.ParseDuration(strings.NewReplacer("min", "m").Replace(u.one(t, key)))
		require.NoError(t, err)
		return d
	}
	require.GreaterOrEqual(t, seconds("WatchdogSec"), 2*time.Minute, "what a loop asks of a database that is away takes up to 50 s, twice")
	require.Greater(t, seconds("TimeoutStopSec"), 10*time.Second, "calls in flight get 5 s")
	older := readUnit(t, "older-systemd.conf")
	require.Equal(t, "notify", older.one(t, "Type"))
	socket := regexp.MustCompile(`socket: (\S+)`).FindStringSubmatch(read(t, "retryd.yaml"))
	require.Equal(t, "/usr/bin/retryd reload --url unix:"+socket[1], older.one(t, "ExecReload"), "systemd hands it no credentials, so it asks without the configuration")
}

// TestTheConfigurationIsAtHomeInTheUnit holds the paths of one to those of the other.
func TestTheConfigurationIsAtHomeInTheUnit(t *testing.T) {
	u, text := readUnit(t, "retryd.service"), read(t, "retryd.yaml")
	require.Contains(t, text, "socket: /run/"+u.one(t, "RuntimeDirectory")+"/")
	require.Contains(t, text, "url: sqlite:/var/lib/"+u.one(t, "StateDirectory")+"/")
	secrets := regexp.MustCompile(`_file: (\S+?)[,}]`).FindAllStringSubmatch(text, -1)
	require.Len(t, secrets, 2)
	for _, secret := range secrets {
		require.Contains(t, u["LoadCredential"], secret[1])
		require.Contains(t, text, "/etc/credstore/"+secret[1])
	}
	for _, id := range u["LoadCredential"] {
		require.NotContains(t, id, ":", "a credential with a path has to be there, or the service does not start")
	}
	require.Regexp(t, `(?m)^u `+u.one(t, "User")+` - `, read(t, "retryd.sysusers"))
	require.Equal(t, u.one(t, "User"), u.one(t, "Group"))
	mode, err := strconv.ParseUint(u.one(t, "StateDirectoryMode"), 8, 32)
	require.NoError(t, err)
	require.Zero(t, mode&0o077, "the group is for the socket: the ledger is not its")
}

// run runs a command here and gives what it prints.
func run(t *testing.T, environment []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
