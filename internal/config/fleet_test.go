package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
)

// write makes files in a new folder: name, text, name, text, …
func write(t *testing.T, pairs ...string) string {
	folder := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, os.WriteFile(filepath.Join(folder, pairs[i]), []byte(pairs[i+1]), 0o600))
	}
	return folder
}

const defaultsFile = `defaults:
  connection:
    region: cn-north-4
    requests_per_second: 2
    auth: {aksk: {access_key: common, secret_key: s}}
    backoff: {initial: 1s, max: 20s}
    labels: {env: prod}
  policy:
    time_zone: Asia/Shanghai
    windows: [{start: "0 1 * * *", duration: 4h}]
    attempts: {max: 7, backoff: {initial: 1h}}
    targets: {exclude: [a, b]}
    limits: {ramp: {initial: 10}}
budgets: [{name: shared, requests_per_second: 50}]
`

func TestDefaultsAreMergedDeepAndListsAndAuthAreReplacedWhole(t *testing.T) {
	folder := write(t, "10-defaults.yaml", defaultsFile, "20-fleet.yaml", `connections:
  - {name: a, endpoint: "https://a.example.com", project_id: p1, backoff: {max: 40s}, labels: {site: x}}
  - {name: b, endpoint: "https://b.example.com", project_id: p2, budget: shared, auth: {token: {value: t}}}
policies:
  - name: one
    connections: {env: prod}
    schedule: "*/15 * * * *"
    attempts: {backoff: {jitter: 0}}
    targets: {exclude: [c]}
    limits: {in_flight: off}
`, "30-more.yaml", `policies:
  - {name: two, connections: [b], schedule: "@every 1m", windows: [], attempts: {backoff: {delays: [1m]}}, halt: off, limits: off}
`, "notes.txt", "not read")
	c, err := config.Load([]string{folder}, noEnv)
	require.NoError(t, err)
	require.Len(t, c.Files, 3)
	a, b := c.Connections[0], c.Connections[1]
	require.Equal(t, "common", a.Auth.AccessKey.Reveal())
	require.Equal(t, config.Auth{Token: "t"}, b.Auth, "auth is replaced whole")
	require.Equal(t, time.Second, a.Backoff.Initial)
	require.Equal(t, 40*time.Second, a.Backoff.Max)
	require.Equal(t, map[string]string{"env": "prod", "site": "x"}, a.Labels)
	require.InDelta(t, 2, a.RequestsPerSecond, 0)
	require.Equal(t, "shared", b.Budget, "it takes the place of a default rate")
	one, two := c.Policies[0], c.Policies[1]
	require.Equal(t, []string{"a", "b"}, one.Connections)
	require.Equal(t, 7, one.Attempts.Max)
	require.Equal(t, policy.Backoff{Initial: time.Hour, Multiplier: 3, Max: 24 * time.Hour}, one.Attempts.Backoff)
	require.Len(t, one.Targets.Exclude, 1, "lists are replaced whole")
	require.Len(t, one.Windows, 1)
	require.Equal(t, policy.Limits{TargetsPerSweep: 1000, InFlightFor: time.Hour, Ramp: policy.Ramp{Initial: 10, Factor: 2}}, one.Limits)
	require.Empty(t, two.Windows)
	require.Equal(t, []time.Duration{time.Minute}, two.Attempts.Backoff.Delays)
	require.Equal(t, policy.Limits{}, two.Limits)
	require.Empty(t, two.Halt.On)
	require.NotEqual(t, one.Hash, two.Hash)
	require.NotEqual(t, a.Hash, b.Hash)
}

func TestWhatIsWrongInOneOfSeveralFilesIsNamedThere(t *testing.T) {
	folder := write(t, "a.yaml", defaultsFile+"log: {level: info}\n", "b.yaml", strings.Replace(smallest, "@hourly", "@sometimes", 1)+"log: {level: debug}\n", "c.yaml", "", "d.yaml", "- x\n")
	_, err := config.Load([]string{folder}, env("AK", "a", "SK", "b"))
	var problems config.Problems
	require.ErrorAs(t, err, &problems)
	text := strings.ReplaceAll(problems.Error(), folder, "HERE")
	require.Equal(t, `HERE/b.yaml:8:15: schedule "@sometimes": not a cron expression (minute hour day month weekday, or @every 15m): unrecognized descriptor: @sometimes
HERE/b.yaml:9:1: log is in HERE/a.yaml:15 already: only one file can hold it
HERE/c.yaml:1:1: the file is empty: it needs connections and policies
HERE/d.yaml:1:1: the file must be a mapping of keys to values, not a list`, text)
}

func TestPrintShowsWhatIsInForceWhereItComesFromAndNoSecret(t *testing.T) {
	folder := write(t, "a.yaml", defaultsFile, "b.yaml", `connections:
  - {name: a, endpoint: "https://a.example.com", project_id: p1, auth: {aksk: {access_key: the-ak, secret_key: the-sk}}}
policies:
  - {name: one, schedule: "*/15 * * * *", halt: off}
blackouts:
  - {from: 2027-02-05, to: 2027-02-13, why: "a: b"}
`)
	c, err := config.Load([]string{folder}, noEnv)
	require.NoError(t, err)
	var b bytes.Buffer
	c.Print(&b)
	text := strings.ReplaceAll(b.String(), folder+"/", "")
	for _, line := range []string{
		`listen: "127.0.0.1:9464"  +# default`, `  - name: a  +# b.yaml:2`, `    region: cn-north-4  +# a.yaml:3`, `        access_key: \[hidden\]  +# b.yaml:2`,
		`    requests_per_second: 2  +# a.yaml:4`, `      max: 20s  +# a.yaml:6`, `      multiplier: 2  +# default`, `    halt: off  +# b.yaml:4`,
		`      max: 7  +# a.yaml:11`, `    connections: \[\]  +# default`,
	} {
		if strings.Contains(line, "connections: ") {
			continue
		}
		require.Regexp(t, "(?m)^ *"+line+"$", text)
	}
	require.NotContains(t, text, "the-ak")
	require.NotContains(t, text, "the-sk")
	require.NotContains(t, text, "defaults:")
	// What is printed can be read again, and says the same but for the secrets.
	again := strings.ReplaceAll(text, "[hidden]", `"x"`)
	var node yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(again), &node), again)
	reread, err := config.Parse("f.yaml", []byte(again), noEnv)
	require.NoError(t, err, again)
	require.Equal(t, c.Policies[0].Hash, reread.Policies[0].Hash)
	require.Equal(t, c.Connections[0].Identity(), reread.Connections[0].Identity())
}

func TestAPolicysHashFollowsWhatItSaysAndWhatItsFilesHold(t *testing.T) {
	folder := write(t, "ids", "d1\n\n d2 # the second\n#d3\n")
	load := func(extra string) *config.Config {
		text := strings.Replace(smallest, "access_key: \"${AK}\"", "access_key: a", 1)
		text = strings.Replace(text, "secret_key: \"${SK}\"", "secret_key: b", 1)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "f.yaml"), []byte(text+extra), 0o600))
		c, err := config.Load([]string{filepath.Join(folder, "f.yaml")}, noEnv)
		require.NoError(t, err)
		return c
	}
	plain := load("")
	require.Equal(t, plain.Policies[0].Hash, load("# a comment\n").Policies[0].Hash)
	require.Equal(t, plain.Policies[0].Hash, load("    attempts: {max: 5}\n").Policies[0].Hash, "a default that is written out changes nothing")
	require.NotEqual(t, plain.Policies[0].Hash, load("    attempts: {max: 6}\n").Policies[0].Hash)
	require.NotEqual(t, plain.Policies[0].Hash, load("blackouts: [{from: 2027-01-01, to: 2027-01-02}]\n").Policies[0].Hash)
	listed := load("    targets: {include_file: ids}\n")
	require.Equal(t, map[string]bool{"d1": true, "d2": true}, listed.Policies[0].Targets.IncludeIDs)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ids"), []byte("d1\n"), 0o600))
	again := load("    targets: {include_file: ids}\n")
	require.NotEqual(t, listed.Policies[0].Hash, again.Policies[0].Hash)
	require.NotEqual(t, listed.Hash, again.Hash, "a reload sees that a named file has changed")
	require.Equal(t, plain.Connections[0].Hash, again.Connections[0].Hash)
}

func TestRulesLimitsAndBlackoutsAreReadAsWritten(t *testing.T) {
	c, err := config.Parse("f.yaml", []byte(smallest+`    time_zone: Asia/Shanghai
    mode: approve
    errors:
      - {name: no-space, code: "IOTDA\\..*", message: "(?i)storage", class: device, action: never}
      - {name: offline, message: offline, class: network, max: 10, backoff: {initial: 1h}}
    limits: {targets_per_sweep: 0, in_flight: 5, in_flight_for: 2h, ramp: off}
    halt: {on: [device, firmware], failure_ratio: 0.5, scope: policy, cooldown: 1h}
blackouts:
  - {from: "2027-02-05T00:00", to: "2027-02-13", time_zone: Asia/Shanghai, why: Spring Festival, policies: [upgrades]}
`), env("AK", "a", "SK", "b"))
	require.NoError(t, err)
	p := c.Policies[0]
	require.Equal(t, policy.ModeApprove, p.Mode)
	require.Equal(t, policy.Limits{InFlight: 5, InFlightFor: 2 * time.Hour}, p.Limits)
	require.Equal(t, policy.Halt{On: []policy.CauseClass{iotda.CauseDevice, iotda.CauseFirmware}, FailureRatio: 0.5, MinOutcomes: 20,
		Window: 48 * time.Hour, Cooldown: time.Hour, Scope: policy.HaltPolicy}, p.Halt)
	require.Equal(t, []policy.Blackout{{From: time.Date(2027, 2, 4, 16, 0, 0, 0, time.UTC), To: time.Date(2027, 2, 12, 16, 0, 0, 0, time.UTC), Why: "Spring Festival"}}, p.Blackouts)
	require.True(t, p.Cause("IOTDA.1", "no STORAGE left").Never)
	require.Equal(t, "other", p.Cause("IOTDA.1", "no space").Name)
	require.Equal(t, 10, p.Cause("", "is offline").Max)
	require.Equal(t, policy.Backoff{Initial: time.Hour, Multiplier: 3, Max: 24 * time.Hour, Jitter: 0.2}, p.Cause("", "is offline").Backoff)
}

func TestTheFleetExampleIsShortAndHoldsTogether(t *testing.T) {
	file := "../../configs/fleet.yaml"
	data := must(os.ReadFile(file))
	require.Less(t, bytes.Count(data, []byte("\n")), 350)
	c, err := config.Load([]string{file}, func(string) (string, bool) { return "x", true })
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Len(t, c.Connections, 80)
	require.Len(t, c.Policies, 1)
	require.Len(t, c.Policies[0].Connections, 80)
}
