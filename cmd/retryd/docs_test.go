package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/iotda"
	"retryd/internal/metrics"
	"retryd/internal/notify"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

func readme(t *testing.T) string {
	data, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(data)
}

// firstColumn gives the names in backquotes that begin the rows of tables.
func firstColumn(text, form string) (names []string) {
	for _, m := range regexp.MustCompile("(?m)^\\| `("+form+")` ").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// registered remembers what is registered.
type registered struct {
	prometheus.Registerer
	series []series
}

type series struct{ name, kind, help, labels string }

var descForm = regexp.MustCompile(`fqName: "([^"]+)", help: "(.*?)", (?:unit: "[^"]*", )?constLabels: {}, variableLabels: {([^}]*)}`)

func (r *registered) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		m := descForm.FindStringSubmatch((<-ch).String())
		s := series{name: m[1], help: m[2], labels: strings.ReplaceAll(m[3], ",", ", ")}
		switch c.(type) {
		case *prometheus.CounterVec:
			s.kind = "counter"
		case *prometheus.HistogramVec:
			s.kind = "histogram"
		default:
			s.kind = "gauge"
		}
		r.series = append(r.series, s)
	}
}

// golden holds a page, or the part of it that is made from the code, to what that makes.
func golden(t *testing.T, file, head, made string) {
	path := "../../" + file
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	before, have, ok := strings.Cut(string(data), head)
	require.True(t, ok, "%s has no %q", file, head)
	if *update && have != made {
		require.NoError(t, os.WriteFile(path, []byte(before+head+made), 0o600))
		return
	}
	require.Equal(t, made, have, "out of date: go test ./cmd/retryd -run Page -update")
}

func TestThePageOfMetricsIsWhatIsExported(t *testing.T) {
	r := &registered{Registerer: prometheus.NewRegistry()}
	m := metrics.New(r, scheduler.Known())
	m.Info("v", "go")
	m.Ledger(time.Time{}, func() (int64, int64) { return 0, 0 })
	slices.SortFunc(r.series, func(a, b series) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	for _, s := range r.series {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.name, s.kind, s.labels, s.help)
	}
	known := scheduler.Known()
	b.WriteString("\n## Values of labels\n\nEach set is closed. Every series whose labels are known beforehand is there with 0 from the start.\n\n| label | of | values |\n|---|---|---|\n")
	for _, row := range []struct {
		label, of string
		values    []string
	}{
		{"result", "retryd_attempts_total", known.Results}, {"outcome", "retryd_attempts_settled_total, retryd_task_retries_total", known.Outcomes},
		{"outcome", "retryd_targets_closed_total", known.Endings}, {"reason", "retryd_targets", known.Reasons}, {"state", "retryd_tasks", known.TaskStates},
		{"result", "retryd_sweeps_total", known.Sweeps}, {"why", "retryd_ticks_skipped_total", known.Skips},
		{"operation", "retryd_api_requests_total, retryd_api_request_duration_seconds", known.Operations}, {"kind", "retryd_platform_surprises_total", known.Surprises},
		{"result", "retryd_notifications_total", notify.Results()},
		{"kind", "retryd_manual_requests_total", known.Asked}, {"result", "retryd_manual_requests_total", known.Answered},
		{"result", "retryd_logins_total", known.Logins},
	} {
		of := "`" + strings.ReplaceAll(row.of, ", ", "`, `") + "`"
		fmt.Fprintf(&b, "| %s | %s | %s |\n", row.label, of, strings.Join(row.values, ", "))
	}
	b.WriteString("\n`rule` is the name of one of your `errors` rules, or of a row of the [table of causes](deciding.md#causes); `class` is that of the rule. `code` is an\nHTTP status, or `error` where no whole reply came. `reason` of `retryd_connection_up` is empty where the connection is up.\n")
	b.WriteString(seriesPage(t))
	b.WriteString(scrapePage)
	golden(t, "docs/metrics.md", "| name | type | labels | meaning |\n|---|---|---|---|\n", b.String())
}

func TestThePageOfDecidingHasTheTableOfCauses(t *testing.T) {
	var b strings.Builder
	for _, row := range iotda.CauseRows() {
		never, match := "", "anything else"
		if row.Never {
			never = "never"
		}
		if row.Matches != "" {
			match = "`" + row.Matches + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", row.Name, row.Class, never, match)
	}
	b.WriteString("\nBeside these, `refused` (platform, never) is a target for which alone the platform refused a whole retry call.\n")
	golden(t, "docs/deciding.md", "| name | class | never | matches |\n|---|---|---|---|\n", b.String())
}

func TestThePageOfDecidingSpeaksOfEveryReasonInOrder(t *testing.T) {
	data, err := os.ReadFile("../../docs/deciding.md")
	require.NoError(t, err)
	tasks, rest, _ := strings.Cut(string(data), "\n## One target\n")
	targets, _, _ := strings.Cut(rest, "\n## When")
	for text, want := range map[string][]policy.Reason{tasks: policy.TaskReasons(), targets: policy.TargetReasons()} {
		var have []policy.Reason
		for _, name := range firstColumn(text, "[a-z_]+") {
			have = append(have, policy.Reason(name))
		}
		have = slices.Compact(have)
		if text == targets { // a device can be paused too
			have = slices.DeleteFunc(have, func(r policy.Reason) bool { return r == policy.Paused })
		}
		require.Equal(t, want, have)
	}
}

func TestTheReadmesConfigurationIsTheSmallestExample(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(readme(t))
	require.NotNil(t, block)
	text := regexp.MustCompile(`(?m)^ {3}`).ReplaceAllString(block[1], "")
	env := func(string) (string, bool) { return "x", true }
	filled := strings.NewReplacer("<endpoint>", "https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com", "<project_id>", "0123456789abcdef0123456789abcdef")
	_, err := config.Parse("f.yaml", []byte(text), env)
	require.ErrorContains(t, err, "project_id is to be filled in", "nobody takes it for one that works")
	quoted, err := config.Parse("f.yaml", []byte(filled.Replace(text)), env)
	require.NoError(t, err)
	data, err := os.ReadFile("../../configs/retryd.yaml")
	require.NoError(t, err)
	example, err := config.Parse("f.yaml", []byte(filled.Replace(string(data))), env)
	require.NoError(t, err)
	require.Equal(t, example.Connections, quoted.Connections)
	require.Len(t, quoted.Policies, 1)
	require.Equal(t, example.Policies[0].Hash, quoted.Policies[0].Hash)
}

var (
	commandInText = regexp.MustCompile("(?m)^ {4}retryd (.*)$|`retryd ([^`]*)`")
	wordForm      = regexp.MustCompile(`"[^"]*"|[^\s"]+`)
)

// TestEveryCommandInTheDocsIsOneThatThereIs parses them: a line of code as it is, what is named in a
// sentence but for what that leaves out.
func TestEveryCommandInTheDocsIsOneThatThereIs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	runbooks, err := filepath.Glob("../../docs/runbooks/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, runbooks)
	for _, page := range append(append(pages, runbooks...), "../../README.md", "../../README.zh-CN.md", "../../CONTRIBUTING.md") {
		if filepath.Base(page) == "commands.md" { // it is made from the commands
			continue
		}
		data, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range commandInText.FindAllStringSubmatch(string(data), -1) {
			text, _, _ := strings.Cut(m[1]+m[2], " #")
			text, _, _ = strings.Cut(text, " > ")
			var words []string
			for _, word := range wordForm.FindAllString(strings.ReplaceAll(text, "$(date +%F)", "today"), -1) {
				words = append(words, strings.Trim(word, `"[]`))
			}
			_, err := newParser(&cli{}, io.Discard, io.Discard).Parse(words)
			if m[1] != "" {
				require.NoError(t, err, "%s: retryd %s", page, text)
			} else if err != nil {
				require.NotRegexp(t, "unknown|unexpected|must be one of", err.Error(), "%s: retryd %s", page, text)
			}
		}
	}
}
