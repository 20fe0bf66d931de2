package grafana_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oneName is what two daemons, each a job with a ledger of its own, say of connections that have one name. In the
// north there are two replicas, of which one has just taken over.
const oneName = `
retryd_connection_up{job="north",instance="a",connection="site",reason="network"} 0
retryd_connection_up{job="south",instance="c",connection="site",reason=""} 1
retryd_lease_held{job="north",instance="a",connection="site"} 0
retryd_lease_held{job="north",instance="b",connection="site"} 0
retryd_lease_held{job="south",instance="c",connection="site"} 1
retryd_rate_limit{job="north",instance="a",connection="site"} 2
retryd_rate_limit{job="south",instance="c",connection="site"} 7
retryd_tasks{job="north",instance="a",connection="site",policy="p",state="halted"} 3
retryd_tasks{job="north",instance="b",connection="site",policy="p",state="halted"} 3
retryd_tasks{job="south",instance="c",connection="site",policy="p",state="halted"} 2
retryd_targets{job="north",instance="a",connection="site",policy="p",reason="due"} 30
retryd_targets{job="north",instance="b",connection="site",policy="p",reason="due"} 30
retryd_targets{job="south",instance="c",connection="site",policy="p",reason="due"} 20
retryd_policy_info{job="north",instance="a",connection="site",policy="p",schedule="@hourly"} 1
retryd_policy_info{job="south",instance="c",connection="site",policy="p",schedule="@hourly"} 1
`

// TestJobsAreNotMerged asks promtool what the panels show of them.
func TestJobsAreNotMerged(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("the dashboards' queries are not asked: install Prometheus (Debian: apt-get install prometheus)")
	}
	want := map[string]map[string]string{ // panel -> labels -> value
		"Connections down": {"{}": "1"},
		"Driven by nobody": {"{}": "1"},
		"Rate limit":       {`{job="north",connection="site"}`: "2", `{job="south",connection="site"}`: "7"},
		"Tasks held up":    {`{state="halted"}`: "5"},
		"Tasks":            {`{state="halted"}`: "5"},
		"To be retried":    {"{}": "50"},
		"Verdicts now":     {`{reason="due"}`: "50"},
		"Verdicts":         {`{reason="due"}`: "50"},
		"Policies":         {`{job="north",connection="site",policy="p",schedule="@hourly"}`: "1", `{job="south",connection="site",policy="p",schedule="@hourly"}`: "1"},
	}
	var scene strings.Builder
	scene.WriteString("tests:\n- interval: 1m\n  input_series:\n")
	for _, line := range strings.Split(strings.TrimSpace(oneName), "\n") {
		at := strings.LastIndex(line, " ")
		fmt.Fprintf(&scene, "  - {series: %q, values: %q}\n", line[:at], line[at+1:])
	}
	scene.WriteString("  promql_expr_test:\n")
	all := strings.NewReplacer("$job", "(north|south)", "$instance", "(a|b|c)", "$connection", ".+", "$policy", ".+")
	asked := map[string]bool{}
	for name := range made() {
		for _, p := range read(t, name).Panels {
			if want[p.Title] == nil {
				continue
			}
			asked[p.Title] = true
			fmt.Fprintf(&scene, "  - expr: %q\n    eval_time: 0s\n    exp_samples:\n", all.Replace(p.Targets[0].Expr))
			for labels, value := range want[p.Title] {
				fmt.Fprintf(&scene, "    - {labels: %q, value: %s}\n", labels, value)
			}
		}
	}
	require.Len(t, asked, len(want))
	file := filepath.Join(t.TempDir(), "jobs.yaml")
	require.NoError(t, os.WriteFile(file, []byte(scene.String()), 0o600))
	out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
