package grafana_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vocabulary is what docs/metrics.md, which is made from the code, says there is.
type vocabulary struct {
	kind   map[string]string              // metric -> counter, gauge, histogram
	labels map[string][]string            // metric -> its labels
	values map[string]map[string][]string // metric -> label -> all of its values, where they are closed
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(retryd_[a-z_]+)` \\| ([a-z]+) \\| ([a-z_, ]*) \\|")
	valueRow  = regexp.MustCompile("(?m)^\\| ([a-z_]+) \\| (`retryd_.*?) \\| (.+) \\|$")
	inQuotes  = regexp.MustCompile("`([^`]+)`")
)

func words(t *testing.T) vocabulary {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	v := vocabulary{map[string]string{}, map[string][]string{}, map[string]map[string][]string{}}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		v.kind[row[1]] = row[2]
		v.labels[row[1]] = strings.FieldsFunc(row[3], func(r rune) bool { return r == ',' || r == ' ' })
		v.values[row[1]] = map[string][]string{}
	}
	for _, row := range valueRow.FindAllStringSubmatch(string(page), -1) {
		for _, metric := range inQuotes.FindAllStringSubmatch(row[2], -1) {
			require.Contains(t, v.labels[metric[1]], row[1])
			v.values[metric[1]][row[1]] = strings.Split(row[3], ", ")
		}
	}
	require.Greater(t, len(v.kind), 30)
	require.Contains(t, v.values["retryd_tasks"]["state"], "halted")
	return v
}

// others are the metrics of what retryd is made with, and of Prometheus itself.
var others = map[string][]string{
	"up": nil, "go_goroutines": nil, "go_memstats_heap_inuse_bytes": nil, "go_memstats_alloc_bytes_total": nil, "go_gc_duration_seconds_sum": nil,
	"process_cpu_seconds_total": nil, "process_resident_memory_bytes": nil, "process_open_fds": nil, "process_max_fds": nil, "process_start_time_seconds": nil,
}

var (
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|=|!~|!=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	inLegend = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

func TestEachMetricLabelAndValueExists(t *testing.T) {
	v := words(t)
	used := map[string]bool{}
	for name := range made() {
		for _, q := range questions(read(t, name)) {
			where := name + ": " + q.panel + ": " + q.expr
			known := []string{"job", "instance"}
			for _, s := range selector.FindAllStringSubmatch(q.expr, -1) {
				metric, bucket := strings.CutSuffix(s[1], "_bucket")
				labels, theirs := others[metric]
				if !theirs {
					require.Contains(t, v.kind, metric, where)
					require.True(t, !bucket || v.kind[metric] == "histogram", where)
					labels, used[metric] = v.labels[metric], true
				}
				if bucket {
					known = append(known, "le")
				}
				known = append(known, labels...)
				for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
					label, value := m[1], m[3]
					require.Contains(t, append([]string{"job", "instance"}, labels...), label, where)
					if closed := v.values[metric][label]; closed != nil && !strings.HasPrefix(value, "$") {
						for _, one := range strings.Split(value, "|") {
							require.Contains(t, closed, one, where)
						}
					}
				}
			}
			var grouped []string
			for _, g := range grouping.FindAllStringSubmatch(q.expr, -1) {
				for _, label := range strings.Split(g[1], ", ") {
					require.Contains(t, known, label, where)
					grouped = append(grouped, label)
				}
			}
			for _, label := range inLegend.FindAllStringSubmatch(q.legend, -1) {
				require.Contains(t, grouped, label[1], "the legend names what is not there: %s", where)
			}
		}
	}
	// What is measured is shown somewhere.
	var unseen []string
	for metric := range v.kind {
		if !used[metric] {
			unseen = append(unseen, metric)
		}
	}
	slices.Sort(unseen)
	require.Empty(t, unseen, "no panel shows these")
}

// TestColoursAreOfWhatIsThere has an override be for a value that the legend can have.
func TestColoursAreOfWhatIsThere(t *testing.T) {
	v := words(t)
	all := map[string]bool{"200": true, "429": true, "error": true}
	for _, labels := range v.values {
		for _, values := range labels {
			for _, value := range values {
				all[value] = true
			}
		}
	}
	for name := range made() {
		for _, p := range read(t, name).Panels {
			if p.Type == "row" {
				continue
			}
			names := map[string]bool{}
			for _, q := range p.Targets {
				names[q.LegendFormat] = true
			}
			for _, tr := range p.Transformations {
				if renamed, ok := tr["options"].(map[string]any)["renameByName"].(map[string]any); ok {
					for _, to := range renamed {
						names[to.(string)] = true
					}
				}
			}
			for _, o := range p.FieldConfig.Overrides {
				legend := o.Matcher["options"].(string)
				require.True(t, all[legend] || names[legend], "%s: %s: nothing is called %q", name, p.Title, legend)
			}
		}
	}
}
