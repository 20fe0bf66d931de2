package config_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"retryd/internal/config"
)

// full has every section, in the several forms that they can have.
const full = `server: {listen: "127.0.0.1:0", external_url: "https://retryd.example.com/x/"}
log: {level: debug, format: console}
store: {url: "sqlite:/x/y.db", retention: 200d}
defaults: {connection: {region: cn-north-4, labels: {env: "a b"}}, policy: {time_zone: Europe/Berlin}}
budgets: [{name: shared, requests_per_second: 50}]
connections:
  - {name: a, endpoint: "https://a.example.com", project_id: p1, auth: {token: {value: a-token-of-24-hours}}, requests_per_second: 0.5, backoff: {initial: 1s, max: 2m}}
  - {name: b, endpoint: "https://b.example.com", project_id: p2, budget: shared, auth: {iam: {domain: d, user: u, password: "pass: w0rd # x"}}}
  - {name: c, endpoint: "http://127.0.0.1:1", project_id: p3, auth: {aksk: {access_key: "${AK}", secret_key: a-secret-key, security_token: "", signing: basic}}}
  - {name: d, endpoint: "http://[::1]:1", project_id: p4, instance_id: "#", auth: {provider: env}, labels: {}}
policies:
  - name: one
    connections: {env: a b}
    mode: observe
    schedule: "@every 90s"
    windows: [{start: "0 1 * * *", duration: 4h}, {start: "30 2 * * SUN", duration: 36h}]
    tasks: {types: [firmwareUpgrade], statuses: [Fail], names: ["fw-.*", "$${x}"], ids: [ab], apps: [x], app_names: ["null"], max_age: 0s, backlog: true, superseded: retry}
    targets: {statuses: [Fail, Stopped], include: ["a|b"], exclude: ["'"], require_online: true}
    attempts: {max: 7, backoff: {delays: [15m, 1h, 1d12h], jitter: 0}, give_up_after: 3d}
    errors: [{name: offline, message: "(?i)off: line", class: network, max: 3}, {name: no, code: 'X\.1', class: device, action: never, backoff: {initial: 1h}}]
    limits: {targets_per_sweep: off, in_flight: 7, ramp: {initial: 1, factor: 1.5}}
    halt: {on: [device], failure_ratio: 1, scope: policy, cooldown: 1h}
  - {name: two, connections: [b, c], schedule: "0 3 * * *", windows: [], errors: [], limits: off, halt: off}
  - {name: three, connections: all, schedule: "@daily", targets: {mode: all, statuses: [Fail, FailWaitRetry, Stopped]}, limits: {ramp: off, targets_per_sweep: 0}, catch_up: 0s}
blackouts: [{from: 2027-02-05, to: "2027-02-13T00:00:30", time_zone: Asia/Shanghai, why: "Spring: Festival", policies: [one]}]
notify:
  - {name: chat, url: "https://hooks.example.com/services/a-long-webhook", events: [halted], policies: [one, three]}
  - {name: own, url: "http://127.0.0.1:9/another-long-hook", format: json, secret: "a-signing-secret", batch: 0s, timeout: 3s}
`

func addFiles(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "../../configs/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		require.NotEmpty(f, files)
		for _, file := range files {
			if data := must(os.ReadFile(file)); len(data) < 10_000 { // a whole fleet is slow to change
				f.Add(data)
			}
		}
	}
	f.Add([]byte(smallest))
	f.Add([]byte(full))
	f.Add([]byte(defaultsFile))
	f.Add([]byte(strings.ReplaceAll(smallest, "\n", "\r\n")))
	f.Add([]byte("\ufeff" + smallest))
	f.Add([]byte(strings.Replace(smallest, `"${SK}"`, "*a-secret-key", 1)))
	f.Add([]byte(strings.Replace(smallest, `"${SK}"`, "!a-secret-key x", 1)))
	f.Add([]byte(strings.Replace(smallest, `"${SK}"`, "{a-secret-key: 1}", 1)))
	f.Add([]byte(strings.Replace(smallest, `"${SK}"`, "&a-secret-key", 1)))
}

// FuzzAFileIsReadOrEachProblemHasItsPlaceInItAndNoSecret has what a person would see of any file.
func FuzzAFileIsReadOrEachProblemHasItsPlaceInItAndNoSecret(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("/dev/")) || bytes.Contains(data, []byte("/proc/")) {
			return // files of which the operating system makes what it likes
		}
		begun := time.Now()
		c, err := config.Parse("f.yaml", data, env("AK", "a", "SK", "b"))
		require.Less(t, time.Since(begun), 20*time.Second, "a check is something to wait for")
		var problems config.Problems
		if err != nil {
			require.ErrorAs(t, err, &problems)
			require.NotEmpty(t, problems)
			require.Nil(t, c)
		} else {
			problems = c.Warnings
		}
		for _, p := range problems {
			lines := lineLengths(data)
			if p.File != "f.yaml" { // one that it names
				lines = lineLengths(must(os.ReadFile(p.File)))
			}
			require.True(t, p.Line >= 1 && p.Line <= len(lines) && p.Column >= 1, "%s of %d lines", p, len(lines))
			require.LessOrEqual(t, p.Column, lines[p.Line-1]+1, p.String())
			require.Less(t, len(p.Message), 4000)
			require.NotContains(t, p.Message, "\n")
			for _, secret := range secretsIn(data) {
				require.NotContains(t, p.Message, secret)
			}
		}
		if err == nil {
			isReadAgain(t, c)
		}
	})
}

var lineBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

// lineLengths gives the characters of each line, as YAML counts lines.
func lineLengths(data []byte) []int {
	lines := lineBreak.Split(string(data), -1)
	lengths := make([]int, len(lines))
	for i, line := range lines {
		lengths[i] = utf8.RuneCountInString(line)
	}
	return lengths
}

var secretKey = regexp.MustCompile(`^(access_key|secret_key|security_token|password|value|secret)$`)

// literal finds secrets also where the file is not YAML.
var literal = regexp.MustCompile(`(?m)^[^#\n]*\b(?:access_key|secret_key|security_token|password|secret)\s*:\s*["'*&!]?([A-Za-z0-9+/=_.-]{8,})`)

// secretsIn gives the values of keys for secrets that stand nowhere else in the file.
func secretsIn(data []byte) (secrets []string) {
	var find func(n *yaml.Node)
	find = func(n *yaml.Node) {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && c.Kind == yaml.ScalarNode && secretKey.MatchString(n.Content[i-1].Value) {
				secrets = append(secrets, c.Value)
			}
			find(c)
		}
	}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) == nil {
		find(&doc)
	} else {
		for _, m := range literal.FindAllSubmatch(data, -1) {
			secrets = append(secrets, string(m[1]))
		}
	}
	var alone []string
	for _, s := range secrets {
		if len(s) >= 8 && !strings.Contains(s, "${") && bytes.Count(data, []byte(s)) == 1 {
			alone = append(alone, s)
		}
	}
	return alone
}

var hiddenURL = regexp.MustCompile(`(?m)^( *url: )\[hidden\]`)

var hiddenValue = regexp.MustCompile(`(?m)^( *(?:- )?[a-z_]+: )\[hidden\]( |$)`)

// isReadAgain prints a configuration and reads what was printed: it says the same but for secrets.
func isReadAgain(t *testing.T, c *config.Config) {
	text := printed(c)
	again, err := config.Parse("f.yaml", hiddenValue.ReplaceAll(hiddenURL.ReplaceAll([]byte(text), []byte(`${1}https://x`)), []byte(`$1"x"$2`)), noEnv)
	require.NoError(t, err, text)
	require.Equal(t, withoutPlaces(text), withoutPlaces(printed(again)), "what is printed again")
	require.Equal(t, c.Server, again.Server)
	require.Equal(t, c.Log, again.Log)
	require.Equal(t, c.Store, again.Store)
	require.Equal(t, c.Budgets, again.Budgets)
	require.Len(t, again.Connections, len(c.Connections))
	for i, connection := range c.Connections {
		same := again.Connections[i]
		for _, a := range []*config.Auth{&connection.Auth, &same.Auth} {
			a.AccessKey, a.SecretKey, a.SecurityToken, a.Token, a.IAM.Password = "", "", "", "", ""
		}
		connection.Hash, same.Hash = "", "" // of secrets too
		require.Equal(t, connection, same)
	}
	require.Len(t, again.Receivers, len(c.Receivers))
	for i, receiver := range c.Receivers {
		same := again.Receivers[i]
		for _, r := range []*config.Receiver{&receiver, &same} {
			r.URL, r.Secret = "", ""
		}
		require.Equal(t, receiver, same)
	}
	require.Len(t, again.Policies, len(c.Policies))
	for i, p := range c.Policies {
		require.Equal(t, p, again.Policies[i])
	}
}

func printed(c *config.Config) string {
	var b bytes.Buffer
	c.Print(&b)
	return b.String()
}

var place = regexp.MustCompile(`(?m) +# (default|from the endpoint|f\.yaml:\d+)$`)

func withoutPlaces(text string) string { return place.ReplaceAllString(text, "") }

// FuzzWhatIsPrintedIsReadAsTheSame puts any text and number where a file can have one.
func FuzzWhatIsPrintedIsReadAsTheSame(f *testing.F) {
	for i, text := range []string{"a", "", " ", "${x}", "$${x}", "$${x", "${a${b}", "off", "all", "null", "~", "1", "true", "2027-01-01", "a: b", "a #b", "- a", "? a", "[", "\x00", "\n", "\x7f\u0085\u2028\ufeff", "=", "<<", "'\"\\", "电", "1_0", ".inf", "---", "...", "\t", "!!str", "%TAG", "`", "[hidden]"} {
		f.Add(text, int64(i)*int64(time.Hour), 1/float64(i+1), uint16(i), uint32(1)<<i)
	}
	f.Add("x", int64(105850*24*time.Hour), 1e300, uint16(99), uint32(0))
	f.Add("x", int64(1), 5e-324, uint16(99), uint32(math.MaxUint32))
	f.Fuzz(func(t *testing.T, text string, duration int64, number float64, n uint16, with uint32) {
		if !utf8.ValidString(text) || math.IsNaN(number) || math.IsInf(number, 0) || duration < 0 {
			return // nothing that YAML can say, or that a configuration may
		}
		type m = map[string]any
		escaped := strings.ReplaceAll(text, "$", "$$") // "$${" stands for "${"
		if !strings.Contains(text, "${") {
			escaped = text
		}
		rest := time.Duration(duration).String()
		backoff := []m{{}, {"initial": rest}, {"delays": []string{rest, "1m"}}, {"max": rest, "multiplier": number}}
		connection := m{"name": "c", "endpoint": "https://a.example.com", "project_id": "p", "region": escaped + "r", "instance_id": escaped, "labels": m{"l": escaped, "null": "x"}}
		policy := m{
			"name": "p", "schedule": "@daily", "tasks": m{"apps": []string{escaped}, "app_names": []string{escaped, "b"}, "max_age": rest}, "attempts": m{"max": n, "backoff": backoff[n%4]},
			"targets": m{"exclude": []string{regexp.QuoteMeta(escaped)}},
			"errors":  []m{{"name": "e", "message": "x" + regexp.QuoteMeta(escaped), "class": "device", "backoff": backoff[n/4%4]}, {"name": "f", "code": "x", "class": "network", "max": n}},
			"limits":  m{"in_flight": n, "ramp": m{"factor": number}}, "halt": m{"failure_ratio": number, "window": rest},
		}
		file := m{"store": m{"retention": "100000d"}, "connections": []m{connection}, "policies": []m{policy}, "blackouts": []m{{"from": "2027-01-01", "to": "2027-01-02", "why": escaped}}}
		for i, set := range []func(){
			func() { policy["limits"] = "off" }, func() { policy["halt"] = "off" }, func() { policy["errors"] = []m{} }, func() { policy["windows"] = []m{} },
			func() { connection["auth"] = m{"provider": "env"} }, func() { connection["auth"] = m{"token": m{"value": "t" + escaped}} },
			func() {
				connection["auth"] = m{"iam": m{"domain": "d" + escaped, "user": "u" + escaped, "password": "w"}}
			}, func() { delete(policy, "attempts") },
			func() { connection["requests_per_second"] = number }, func() { connection["timeout"] = rest }, func() { connection["backoff"] = m{"jitter": number, "max": rest} },
			func() { connection["budget"], file["budgets"] = "b", []m{{"name": "b", "requests_per_second": number}} }, func() { policy["limits"] = m{"ramp": "off", "in_flight": "off"} },
			func() { policy["connections"] = m{"l": escaped} }, func() { policy["connections"] = []string{"c"} }, func() { file["blackouts"] = []m{} },
			func() {
				policy["time_zone"], policy["windows"] = "Europe/Berlin", []m{{"start": "0 0 * * *", "duration": rest}}
			},
			func() { policy["targets"] = m{"include": []string{}} }, func() { connection["labels"] = m{} }, func() { delete(policy, "tasks") }, func() { policy["tasks"] = m{} },
			func() { file["log"], file["server"] = m{}, m{"listen": "localhost:" + escaped + "1"} }, func() { policy["errors"] = []m{{"name": "e", "code": "x", "class": "device"}} },
			func() { file["store"] = m{"url": "sqlite:" + escaped + "x", "retention": "100000d"} },
		} {
			if with>>i&1 == 1 {
				set()
			}
		}
		data, err := yaml.Marshal(file)
		if err != nil {
			return
		}
		if c, err := config.Parse("f.yaml", data, noEnv); err == nil {
			isReadAgain(t, c)
		}
	})
}

func FuzzADurationIsNeverNegativeAndSaysWhatGoSays(f *testing.F) {
	for _, text := range []string{"30s", "15m", "12h", "14d", "1d12h", "0s", "0", "0d", "", "d", "-1h", "1d-1h", "99999d", "106751d23h47m16.854775807s", "106752d", "106751d24h", "1.5d", "1d1d", "1µs", "9223372036854775807ns", "٣d", "1d ", "+1h", "1d+1h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := config.ParseDuration(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, d, time.Duration(0))
		again, err := config.ParseDuration(d.String())
		require.NoError(t, err)
		require.Equal(t, d, again)
		if days, rest, ok := strings.Cut(text, "d"); ok {
			hours, err := time.ParseDuration(days + "h")
			require.NoError(t, err)
			if rest == "" {
				rest = "0s"
			}
			more, err := time.ParseDuration(rest)
			require.NoError(t, err)
			require.Equal(t, 24*hours+more, d)
			return
		}
		same, err := time.ParseDuration(text)
		require.NoError(t, err)
		require.Equal(t, same, d)
	})
}

func FuzzEachDeviceIDOfAFileIsALineWithoutItsComment(f *testing.F) {
	for _, text := range []string{"d1\n\n d2 # the second\n#d3\n", "", "\ufeffd1\r\nd2\r", "d1", "\x00\n\xff", "d 1\td2", "#", "\u00a0d1\u2028d2"} {
		f.Add([]byte(text))
	}
	file := filepath.Join(f.TempDir(), "ids")
	text := []byte(strings.ReplaceAll(strings.ReplaceAll(smallest, "${AK}", "a"), "${SK}", "b") + "    targets: {include_file: " + file + "}\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(file, data, 0o600))
		c, err := config.Parse("f.yaml", text, noEnv)
		require.NoError(t, err)
		ids := c.Policies[0].Targets.IncludeIDs
		require.NotNil(t, ids, "a file without any is not all")
		require.Equal(t, len(ids) == 0, len(c.Warnings) > 0)
		for id := range ids {
			require.NotEmpty(t, id)
			require.NotContains(t, id, "#")
			require.NotContains(t, id, "\n")
			require.Equal(t, strings.TrimSpace(id), id)
			require.Contains(t, string(data), id)
		}
	})
}
