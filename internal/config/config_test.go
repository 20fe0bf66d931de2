package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/policy"
)

var update = flag.Bool("update", false, "write what the bad files' messages are now")

func noEnv(string) (string, bool) { return "", false }

func env(pairs ...string) config.Env {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// goWords are what an operator should never have to read.
var goWords = regexp.MustCompile(`\b(config\.|int64|float64|struct|reflect|strconv|!!\w+|interface|nil|unmarshal)`)

func TestEveryProblemOfABadFileIsNamedAtItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 45)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			_, err = config.Parse("f.yaml", data, noEnv)
			var problems config.Problems
			require.ErrorAs(t, err, &problems)
			here, err2 := os.Getwd()
			require.NoError(t, err2)
			text := strings.ReplaceAll(err.Error(), here, "HERE") + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), text)
			require.NotRegexp(t, goWords, text)
			require.NotContains(t, text, "very-secret")
			require.NotContains(t, text, "secret-in-url")
		})
	}
}

const smallest = `connections:
  - name: prod
    endpoint: https://x.st1.iotda-app.cn-north-4.myhuaweicloud.com
    project_id: 0123456789abcdef0123456789abcdef
    auth: {aksk: {access_key: "${AK}", secret_key: "${SK}"}}
policies:
  - name: upgrades
    schedule: "@hourly"
`

func TestDefaultsFillInWhatIsNotSaid(t *testing.T) {
	c, err := config.Parse("/etc/retryd/retryd.yaml", []byte(smallest), env("AK", "ak", "SK", "s$k"))
	require.NoError(t, err)
	require.Empty(t, c.Warnings)
	require.Equal(t, "127.0.0.1:9464", c.Server.Listen)
	require.Equal(t, config.Store{Path: "/etc/retryd/retryd.db", Retention: 90 * 24 * time.Hour}, c.Store)
	connection := c.Connections[0]
	require.Equal(t, "cn-north-4", connection.Region, "the endpoint says it")
	require.Equal(t, "s$k", connection.Auth.SecretKey.Reveal())
	require.Equal(t, "auto", connection.Auth.Signing)
	require.InDelta(t, 5, connection.RequestsPerSecond, 0)
	p := c.Policies[0]
	require.Equal(t, []string{"prod"}, p.Connections)
	require.Equal(t, iotda.RetryableTaskStatuses(), p.Tasks.Statuses)
	require.Equal(t, []iotda.SubtaskStatus{"Fail"}, p.Targets.Statuses)
	require.Equal(t, 5, p.Attempts.Max)
	require.Equal(t, 14*24*time.Hour, p.Attempts.GiveUpAfter)
	require.Equal(t, 30*time.Minute, p.Attempts.Backoff.Initial)
}

func TestTheLedgerIsInSystemdsFolderWhereThereIsOne(t *testing.T) {
	c, err := config.Parse("retryd.yaml", []byte(smallest), env("AK", "a", "SK", "b", "STATE_DIRECTORY", "/var/lib/retryd:/x"))
	require.NoError(t, err)
	require.Equal(t, "/var/lib/retryd/retryd.db", c.Store.Path)
	c, err = config.Parse("retryd.yaml", []byte(smallest+"store: {url: \"sqlite:/data/x.db\"}\n"), env("AK", "a", "SK", "b", "STATE_DIRECTORY", "/var/lib/retryd"))
	require.NoError(t, err)
	require.Equal(t, "/data/x.db", c.Store.Path)
}

func TestVariablesAreValuesAndNeverYAML(t *testing.T) {
	text := strings.Replace(smallest, "upgrades", "n", 1) + "    attempts: {max: \"${MAX}\", give_up_after: \"${DAYS}d\"}\n    tasks: {names: [\"$${x}\"]}\n"
	c, err := config.Parse("f", []byte(text), env("AK", "a: [b", "SK", "c # d", "MAX", "7", "DAYS", "3"))
	require.NoError(t, err)
	require.Equal(t, "a: [b", c.Connections[0].Auth.AccessKey.Reveal())
	require.Equal(t, "c # d", c.Connections[0].Auth.SecretKey.Reveal())
	require.Equal(t, 7, c.Policies[0].Attempts.Max)
	require.Equal(t, 72*time.Hour, c.Policies[0].Attempts.GiveUpAfter)
	require.Contains(t, c.Policies[0].Tasks.Names[0].String(), "${x}")
}

func TestSecretsComeFromFilesAndShowNowhere(t *testing.T) {
	folder, credentials := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ak"), []byte("the-ak\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "sk"), []byte("not this one"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(credentials, "sk"), []byte("the-sk\r\n"), 0o600))
	text := strings.Replace(smallest, `access_key: "${AK}", secret_key: "${SK}"`, "access_key_file: ak, secret_key_file: sk", 1)
	c, err := config.Parse(filepath.Join(folder, "f.yaml"), []byte(text), env("CREDENTIALS_DIRECTORY", credentials))
	require.NoError(t, err)
	secret := c.Connections[0].Auth.SecretKey
	require.Equal(t, "the-sk", secret.Reveal())
	data, err := json.Marshal(c.Connections)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprint(c.Connections), fmt.Sprintf("%+v %#v %q %s %x", c.Connections[0], c.Connections[0], secret, secret, secret), string(data), secret.String()} {
		require.NotContains(t, shown, "the-sk")
		require.NotContains(t, shown, "the-ak")
		require.NotContains(t, shown, fmt.Sprintf("%x", "the-sk"))
	}
}

func TestWarningsNameWhatIsAllowedButUnwise(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "retryd.yaml")
	text := strings.Replace(smallest, `aksk: {access_key: "${AK}", secret_key: "${SK}"}`, "token: {value: abc}", 1) + "  - name: hidden\n    schedule: \"@daily\"\n    tasks: {names: [x]}\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	require.NoError(t, os.Chmod(file, 0o644))
	c, err := config.Load([]string{file}, noEnv)
	require.NoError(t, err)
	require.Len(t, c.Warnings, 3)
	require.Contains(t, c.Warnings[0].String(), ":5:27: a token ends after 24 hours")
	require.Contains(t, c.Warnings[1].String(), `:9:5: policy "hidden" never gets a task`)
	require.Contains(t, c.Warnings[2].String(), "everybody on this machine can read the secrets")
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	folder := t.TempDir()
	_, err := config.Load([]string{filepath.Join(folder, "none.yaml")}, noEnv)
	require.ErrorContains(t, err, "none.yaml")
	_, err = config.Load([]string{folder}, noEnv)
	require.ErrorContains(t, err, "is a folder without any *.yaml")
	big := filepath.Join(folder, "big.yaml")
	require.NoError(t, os.WriteFile(big, make([]byte, 1<<20+1), 0o600))
	_, err = config.Load([]string{big}, noEnv)
	require.ErrorContains(t, err, "larger than 1 MiB")
	t.Chdir(folder)
	_, err = config.Find(nil)
	require.ErrorContains(t, err, "/etc/retryd/retryd.yaml")
	require.NoError(t, os.WriteFile("retryd.yaml", nil, 0o600))
	file, err := config.Find(nil)
	require.NoError(t, err)
	require.Equal(t, []string{"retryd.yaml"}, file)
}

// TestTheFullExampleShowsEveryKeyWithItsDefault uncomments what stands for a default in the
// example and holds it against the smallest file.
func TestTheFullExampleShowsEveryKeyWithItsDefault(t *testing.T) {
	full, err := config.Parse("f.yaml", must(os.ReadFile("../../configs/full.yaml")), env("HUAWEICLOUD_SDK_AK", "ak", "HUAWEICLOUD_SDK_SK", "sk"))
	require.NoError(t, err)
	require.Empty(t, full.Warnings)
	for _, key := range config.Keys() {
		require.Regexp(t, `(?m)^[ #-]*\b`+key+`:`, string(must(os.ReadFile("../../configs/full.yaml"))), "the full example does not show it")
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("connections:\n")
	for i := range 40 {
		fmt.Fprintf(&text, "  - {name: c%d, endpoint: \"https://c%d.st1.iotda-app.cn-north-4.myhuaweicloud.com\", project_id: p%d, auth: {aksk: {access_key: a, secret_key: s}}}\n", i, i, i)
	}
	text.WriteString("policies:\n")
	for i := range 40 {
		fmt.Fprintf(&text, "  - {name: p%d, connections: [c%d], schedule: \"*/15 * * * *\", tasks: {names: [\"fw-.*\"]}, targets: {exclude: [\"test-.*\"]}}\n", i, i)
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := config.Parse("f.yaml", data, noEnv); err != nil {
			b.Fatal(err)
		}
	}
}

func TestALedgerThatOthersCanReadIsWarnedOf(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), mode))
	}
	warned := func(store string) (texts []string) {
		base, err := os.ReadFile("testdata/bad/store-empty.yaml")
		require.NoError(t, err)
		text, _, _ := strings.Cut(string(base), "store:")
		c, err := config.Parse(filepath.Join(folder, "f.yaml"), []byte(text+"store: {"+store+"}\n"), func(string) (string, bool) { return "", false })
		require.NoError(t, err)
		for _, w := range c.Warnings {
			texts = append(texts, w.Message)
		}
		return texts
	}
	require.Empty(t, warned(`url: "postgres://retryd@127.0.0.1/retryd"`))
	require.Empty(t, warned(`url: "postgres:///retryd?host=/run/postgresql"`))
	require.Empty(t, warned(`url: "postgres://retryd@db.example/retryd?sslmode=verify-full"`))
	for _, mode := range []string{"", "?sslmode=disable", "?sslmode=prefer"} {
		require.Contains(t, strings.Join(warned(`url: "postgres://retryd@db.example/retryd`+mode+`"`), ""), "add sslmode=verify-full")
	}
	write("url", "postgres://retryd:hunter2@127.0.0.1/retryd\n", 0o600)
	require.Empty(t, warned(`url_file: url`))
	require.NoError(t, os.Chmod(filepath.Join(folder, "url"), 0o644))
	texts := strings.Join(warned(`url_file: url`), "")
	require.Contains(t, texts, "chmod 600")
	require.NotContains(t, texts, "hunter2")
}

func TestObservingIsWhatIsInForceAndShown(t *testing.T) {
	file := filepath.Join("..", "..", "configs", "fleet.yaml")
	as, err := config.Load([]string{file}, func(string) (string, bool) { return "x", true })
	require.NoError(t, err)
	c, err := config.Observing([]string{file}, func(string) (string, bool) { return "x", true })
	require.NoError(t, err)
	require.NotEmpty(t, c.Policies)
	changed := 0
	for i, p := range c.Policies {
		require.Equal(t, policy.ModeObserve, p.Mode)
		if as.Policies[i].Mode != p.Mode {
			require.NotEqual(t, as.Policies[i].Hash, p.Hash, "an approval of the one is none of the other")
			changed++
		}
	}
	require.Positive(t, changed)
	var text strings.Builder
	c.Print(&text)
	require.NotContains(t, text.String(), "mode: auto")
}
