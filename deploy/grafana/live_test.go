package grafana_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// quiet are the queries that may rightly have only 0 in the world of this test, by panel and legend, and why.
var quiet = map[string]string{
	"Ledger {{instance}}":                          "nothing damages this ledger",
	"Errors per hour writes":                       "all writes succeed",
	"Errors per hour reads":                        "all reads succeed",
	"Errors per hour fenced":                       "no other replica takes over",
	"Driven by nobody connections":                 "the one replica drives all",
	"Ticks that were not swept, per hour {{why}}":  "the machine may be fast enough to sweep at each tick",
	"Pauses of the garbage collector {{instance}}": "there may have been no collection yet",
}

// question is one query of a dashboard.
type question struct {
	dashboard, panel, legend, expr string
}

// questions are all queries of a dashboard: its panels', and its annotations'.
func questions(d dashboard) []question {
	var all []question
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, question{d.Title, p.Title, q.LegendFormat, q.Expr})
		}
	}
	for _, a := range d.Annotations["list"].([]any) {
		a := a.(map[string]any)
		all = append(all, question{d.Title, a["name"].(string), a["textFormat"].(string), a["expr"].(string)})
	}
	return all
}

var inRange = strings.NewReplacer("$__rate_interval", "15s", "$__range", "2m")

// ask gives the greatest amount that a query has anywhere from the time on, and whether it has any sample
// at all that is a number.
func ask(prometheus, expr string, from time.Time) (greatest float64, found bool, err error) {
	values := url.Values{
		"query": {inRange.Replace(expr)}, "start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)}, "step": {"1"},
	}
	resp, err := http.PostForm(prometheus+"/api/v1/query_range", values)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error    string
		Warnings []string
		Data     struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, false, err
	}
	if answer.Error != "" || len(answer.Warnings) > 0 {
		return 0, false, fmt.Errorf("%s %v", answer.Error, answer.Warnings)
	}
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			if n, err := strconv.ParseFloat(v[1].(string), 64); err == nil && !math.IsNaN(n) {
				greatest, found = max(greatest, math.Abs(n)), true
			}
		}
	}
	return greatest, found, nil
}

// TestEachQueryHasAnAnswer asks every query of a Prometheus that keeps histograms as classic buckets, and of one that
// keeps them as native ones, while a real retryd sweeps a fleet in which all of it happens.
func TestEachQueryHasAnAnswer(t *testing.T) {
	d := start(t)
	began := time.Now()
	servers := map[string]string{"classic": scraper(t, d.address), "native": scraper(t, d.address, "native-histograms")}
	d.does(t, "pause", "--policy", "held", "--for", "1h", "--why", "network works", "--yes")
	for _, server := range servers { // what happens before a counter was read once is not seen as a rise of it
		require.Eventually(t, func() bool {
			n, _, err := ask(server, `retryd_targets_closed_total`, began)
			_, found, err2 := ask(server, `retryd_policy_last_success_timestamp_seconds{policy="asks"}`, began)
			return err == nil && err2 == nil && found && n == 0
		}, 20*time.Second, 100*time.Millisecond)
	}
	campaigns(t, d.platform)
	d.does(t, "sweep", "asks", "--why", "a look")
	d.does(t, "retry", "asks-1", "meter-1", "--why", "it is back", "--yes")
	d.does(t, "reload")
	for kind, server := range servers {
		t.Run(kind, func(t *testing.T) {
			for name := range made() {
				all := expanded(t, server, read(t, name))
				answered(t, server, all, began)
				onlyRetryd(t, server, all)
			}
			// The two do differ: what one of them has, the other has not.
			_, buckets, err := ask(server, `count(retryd_api_request_duration_seconds_bucket)`, began)
			require.NoError(t, err)
			_, whole, err := ask(server, `count(retryd_api_request_duration_seconds)`, began)
			require.NoError(t, err)
			require.Equal(t, [2]bool{kind == "classic", kind == "native"}, [2]bool{buckets, whole}, "classic and native histograms")
		})
	}
}

// answered waits until each question has an answer above 0, or 0 where that is right.
func answered(t *testing.T, server string, all []question, began time.Time) {
	t.Helper()
	open, zero := unanswered(all), map[string]string{}
	require.Eventually(t, func() bool {
		var left unanswered
		for _, q := range open {
			greatest, found, err := ask(server, q.expr, began)
			why, mayBeZero := quiet[q.panel+" "+q.legend]
			switch {
			case err != nil:
				t.Errorf("%s, %s: %v: %s", q.dashboard, q.panel, err, q.expr)
			case found && greatest > 0:
			case found && mayBeZero:
				zero[q.panel+" "+q.legend] = why
			default:
				left = append(left, q)
			}
		}
		open = left
		return len(open) == 0
	}, max(time.Second, time.Until(began.Add(45*time.Second))), 500*time.Millisecond, "no answer to %v", &open)
	t.Logf("%s: of %d queries %d have an answer above 0, and %d have 0: %v", all[0].dashboard, len(all), len(all)-len(zero), len(zero), zero)
}

// unanswered says which questions are left when it is printed, not when it is made.
type unanswered []question

func (open *unanswered) String() string {
	var b strings.Builder
	for _, q := range *open {
		fmt.Fprintf(&b, "\n%s, %s (%s): %s", q.dashboard, q.panel, q.legend, q.expr)
	}
	return b.String()
}

// TestQuietQueriesExist has the list of them not outlive the panels.
func TestQuietQueriesExist(t *testing.T) {
	there := map[string]bool{}
	for name := range made() {
		for _, q := range questions(read(t, name)) {
			there[q.panel+" "+q.legend] = true
		}
	}
	for name := range quiet {
		require.True(t, there[name], name)
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)

// expanded has each question ask for All of each variable, as Grafana does: allValue, or else the list of what
// can be chosen.
func expanded(t *testing.T, server string, d dashboard) []question {
	t.Helper()
	want := map[string][]string{"job": {"retryd"}, "connection": {"away", "site"}, "policy": {"asks", "elsewhere", "halts", "held", "upgrades", "whole"}}
	var chosen []string
	for _, v := range d.Templating.List[1:] {
		parts := labelValues.FindStringSubmatch(v.Query)
		require.Len(t, parts, 3, v.Query)
		var values []string
		read := url.Values{"match[]": {strings.NewReplacer(chosen...).Replace(parts[1])}}
		require.NoError(t, get(server+"/api/v1/label/"+parts[2]+"/values?"+read.Encode(), &values))
		require.NotEmpty(t, values, v.Query)
		if want[v.Name] != nil {
			require.Equal(t, want[v.Name], values, v.Query)
		}
		all := v.AllValue
		if all == "" {
			for i := range values {
				values[i] = special.ReplaceAllString(values[i], `\\$0`)
			}
			all = "(" + strings.Join(values, "|") + ")"
		}
		chosen = append(chosen, "$"+v.Name, all)
	}
	asked := questions(d)
	for i := range asked {
		asked[i].expr = strings.NewReplacer(chosen...).Replace(asked[i].expr)
	}
	return asked
}

// special is what Grafana escapes in a value that was chosen.
var special = regexp.MustCompile(`[$^*{}\[\]'+?.()|]`)

// get reads the data of an answer of Prometheus.
func get(address string, data any) error {
	resp, err := http.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(&struct{ Data any }{data})
}

// onlyRetryd has no question look at a series of the other job that this Prometheus scrapes.
func onlyRetryd(t *testing.T, server string, all []question) {
	t.Helper()
	jobs := func(selector string) map[string]bool {
		var series []map[string]string
		require.NoError(t, get(server+"/api/v1/series?"+url.Values{"match[]": {selector}}.Encode(), &series))
		found := map[string]bool{}
		for _, s := range series {
			found[s["job"]] = true
		}
		return found
	}
	for _, metric := range []string{"up", "go_goroutines", "process_open_fds"} {
		require.Equal(t, map[string]bool{"retryd": true, "other": true}, jobs(metric), "what both have")
	}
	for _, q := range all {
		for _, s := range selector.FindAllString(q.expr, -1) {
			require.False(t, jobs(s)["other"], "%s, %s: %s", q.dashboard, q.panel, s)
		}
	}
}
