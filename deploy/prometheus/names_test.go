package prometheus_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exported is what docs/metrics.md, which is made from the code, says of metrics.
type exported struct {
	labels map[string][]string            // by metric
	values map[string]map[string][]string // by metric and label, where they are known
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(retryd_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	valuesRow = regexp.MustCompile("(?m)^\\| (\\w+) \\| (`retryd_[^|]*) \\| ([^|]*) \\|$")
	pieceForm = regexp.MustCompile(`(\w+)\{([^}]*)\}|\b(retryd_\w+)\b`)
	matchForm = regexp.MustCompile(`(\w+)(=~|=|!=|!~)"([^"]*)"`)
)

func export(t *testing.T) exported {
	data, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	x := exported{labels: map[string][]string{"up": nil}, values: map[string]map[string][]string{}}
	for _, m := range metricRow.FindAllStringSubmatch(string(data), -1) {
		x.labels[m[1]] = strings.Split(m[3], ", ")
		if m[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				x.labels[m[1]+part] = append(x.labels[m[1]], "le")
			}
		}
	}
	for _, m := range valuesRow.FindAllStringSubmatch(string(data), -1) {
		for _, name := range strings.Split(strings.ReplaceAll(m[2], "`", ""), ", ") {
			if x.values[name] == nil {
				x.values[name] = map[string][]string{}
			}
			x.values[name][m[1]] = strings.Split(m[3], ", ")
		}
	}
	return x
}

// check holds selectors to what is exported: names, labels, and values where the set is closed.
func (x exported) check(t *testing.T, where, text string) {
	for _, m := range pieceForm.FindAllStringSubmatch(text, -1) {
		name := m[1] + m[3]
		require.Contains(t, x.labels, name, where)
		for _, match := range matchForm.FindAllStringSubmatch(m[2], -1) {
			label, value := match[1], match[3]
			require.Contains(t, append([]string{"job", "instance"}, x.labels[name]...), label, "%s: %s", where, m[0])
			values, closed := x.values[name][label]
			for _, v := range strings.Split(value, "|") {
				require.True(t, !closed || slices.Contains(values, v), "%s: %s: %q is none of %v", where, m[0], v, values)
			}
		}
	}
}

func TestRulesTestsAndRunbooksNameOnlyWhatIsExported(t *testing.T) {
	x := export(t)
	require.Greater(t, len(x.values), 5)
	for _, file := range []string{"rules.yaml", "alerts.yaml"} {
		for _, r := range rules(t, file) {
			x.check(t, r.Record+r.Alert, r.Expr)
		}
	}
	for _, s := range scenes(t) {
		for _, series := range s.InputSeries {
			x.check(t, s.Name, series.Series)
		}
	}
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	require.NoError(t, err)
	for _, page := range pages {
		data, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bretryd_[a-z_]+\b`).FindAllString(string(data), -1) {
			require.Contains(t, x.labels, name, page)
		}
		for _, name := range regexp.MustCompile(`\bRetryd[A-Z]\w+`).FindAllString(string(data), -1) {
			require.FileExists(t, "../../docs/runbooks/"+name+".md", page)
		}
	}
}
