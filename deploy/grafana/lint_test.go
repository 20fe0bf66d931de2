package grafana_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules of Grafana's dashboard-linter that say anything about dashboards like these, by its names for them, and
// after them what it does not look at. That queries are valid (target-promql-rule) is proved by asking them.

// units are those in use, from Grafana's list of formats.
var units = map[string]bool{
	"short": true, "none": true, "percentunit": true, "s": true, "bytes": true, "Bps": true, "reqps": true, "dateTimeFromNow": true, "dateTimeAsIso": true,
}

func TestTemplateRules(t *testing.T) {
	for name := range made() {
		d := read(t, name)
		seen := map[string]bool{}
		for i, v := range d.Templating.List {
			seen[v.Name] = true
			if i == 0 { // template-datasource-rule
				require.Equal(t, []string{"datasource", "Data source", "datasource", "prometheus"}, []string{v.Name, v.Label, v.Type, v.Query}, name)
				continue
			}
			// template-job-rule, template-instance-rule
			require.Equal(t, "query", v.Type, "%s: %s", name, v.Name)
			require.Equal(t, strings.ToUpper(v.Name[:1])+v.Name[1:], v.Label, name)
			require.Equal(t, &prometheus, v.Datasource, "%s: %s", name, v.Name)
			require.True(t, v.Multi && v.IncludeAll, "%s: %s: several can be chosen, and all", name, v.Name)
			if v.Name == "job" || v.Name == "instance" {
				require.Empty(t, v.AllValue, "%s: %s: all are those of retryd", name, v.Name)
			} else {
				require.Equal(t, ".+", v.AllValue, "%s: %s", name, v.Name)
			}
			require.Equal(t, 2, v.Refresh, "%s: %s: template-on-time-change-reload-rule", name, v.Name)
			require.Regexp(t, labelValues, v.Query, "%s: template-label-promql-rule", name)
			for _, before := range d.Templating.List[1:i] {
				require.Contains(t, v.Query, before.Name+`=~"$`+before.Name+`"`, "%s: %s is chosen among what the ones before it leave", name, v.Name)
			}
		}
		for _, want := range []string{"job", "instance", "connection", "policy"} {
			require.True(t, seen[want], "%s has no variable %s", name, want)
		}
		require.False(t, d.Editable, "%s: uneditable-dashboard-rule: what is provisioned is changed in its file", name)
	}
}

func TestPanelRules(t *testing.T) {
	for name := range made() {
		titles := map[string]bool{}
		for _, p := range read(t, name).Panels {
			require.NotEmpty(t, p.Title, "%s: panel %d", name, p.ID) // panel-title-description-rule
			if p.Type == "row" {
				continue
			}
			require.False(t, titles[p.Title], "%s has two panels %q", name, p.Title)
			titles[p.Title] = true
			require.NotEmpty(t, p.Description, "%s: %s", name, p.Title)
			require.NotEmpty(t, p.Targets, "%s: %s: panel-no-targets-rule", name, p.Title)
			require.Equal(t, &prometheus, p.Datasource, "%s: %s: panel-datasource-rule", name, p.Title)
			require.True(t, units[p.FieldConfig.Defaults.Unit], "%s: %s: panel-units-rule: %q", name, p.Title, p.FieldConfig.Defaults.Unit)
			for _, o := range p.FieldConfig.Overrides {
				for _, property := range o.Properties {
					unit, isUnit := property["value"].(string)
					require.True(t, property["id"] != "unit" || isUnit && units[unit], "%s: %s: %v", name, p.Title, property)
				}
			}
		}
	}
}

var (
	selector    = regexp.MustCompile(`([a-z_:][a-z0-9_:]*)\{([^{}]*)\}`)
	metricName  = regexp.MustCompile(`\b(?:retryd|go|process)_[a-z0-9_]+\b|\bup\b`)
	rateOver    = regexp.MustCompile(`\bi?rate\(([^][]*)\[([^]]+)\]\)`)
	counterOver = regexp.MustCompile(`\b(?:rate|irate|increase)\($`)
)

func TestTargetRules(t *testing.T) {
	for name := range made() {
		for _, p := range read(t, name).Panels {
			letters := map[string]bool{}
			for _, q := range p.Targets {
				where := name + ": " + p.Title + ": " + q.Expr
				require.Equal(t, prometheus, q.Datasource, where)
				require.False(t, letters[q.RefID], where)
				letters[q.RefID] = true
				require.NotEqual(t, q.Instant, q.Range, where)
				require.True(t, q.LegendFormat != "" || q.Format == "table", "a line has a name: %s", where)
				require.True(t, !strings.Contains(q.Expr, "> 0") || p.FieldConfig.Defaults.NoValue != "", "a query that may find nothing says what that means: %s", where)
				found := selector.FindAllStringSubmatchIndex(q.Expr, -1)
				require.NotEmpty(t, found, where)
				require.Len(t, metricName.FindAllString(q.Expr, -1), len(found), "each metric has a selector: %s", where)
				for _, at := range found {
					metric, matchers := q.Expr[at[2]:at[3]], q.Expr[at[4]:at[5]]
					require.Contains(t, matchers, `job=~"$job"`, "target-job-rule: %s", where)
					require.Contains(t, matchers, `instance=~"$instance"`, "target-instance-rule: %s", where)
					if strings.HasSuffix(metric, "_total") {
						require.Regexp(t, counterOver, q.Expr[:at[0]], "target-counter-agg-rule: %s", where)
					}
				}
				for _, by := range grouping.FindAllStringSubmatch(q.Expr, -1) {
					labels := strings.Split(by[1], ", ")
					require.True(t, !slices.Contains(labels, "connection") || slices.Contains(labels, "job"), "two jobs may have a connection of one name: %s", where)
				}
				require.True(t, !strings.Contains(q.LegendFormat, "{{connection}}") || strings.Contains(q.LegendFormat, "{{job}}"), "two lines have one name: %s", where)
				for _, rate := range rateOver.FindAllStringSubmatch(q.Expr, -1) {
					require.Equal(t, "$__rate_interval", rate[2], "target-rate-interval-rule: %s", where)
				}
			}
		}
	}
}

// TestPanelsHaveTheirPlaces has no panel lie over another, and none stick out.
func TestPanelsHaveTheirPlaces(t *testing.T) {
	for name := range made() {
		d := read(t, name)
		taken, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range d.Panels {
			require.False(t, ids[p.ID], "%s: %s", name, p.Title)
			ids[p.ID] = true
			g := p.GridPos
			require.LessOrEqual(t, g.X+g.W, 24, "%s: %s", name, p.Title)
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					require.Empty(t, taken[[2]int{x, y}], "%s: %s lies over it", name, p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
		require.Equal(t, []any{"utc", 1}, []any{d.Timezone, d.GraphTooltip}, name)
		require.Regexp(t, `^retryd-[a-z]+$`, d.UID, name)
		require.NotEmpty(t, d.Description, name)
	}
}
