// Package prometheus_test holds the rules and alerts to what retryd exports, to their tests and to
// their runbooks, and runs them in a real Prometheus.
package prometheus_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// rule is a recording rule or an alert.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T, file string) (list []rule) {
	var content struct{ Groups []struct{ Rules []rule } }
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, &content))
	for _, g := range content.Groups {
		list = append(list, g.Rules...)
	}
	require.NotEmpty(t, list)
	return list
}

var (
	byForm   = regexp.MustCompile(`by \(([^)]*)\)`)
	nameForm = regexp.MustCompile(`\bretryd[:_][a-zA-Z0-9_:]+|\bup\b`)
	usedForm = regexp.MustCompile(`\$labels\.(\w+)`)
)

func TestEachAlertSaysWhatItIsAboutAndHasARunbook(t *testing.T) {
	index, err := os.ReadFile("../../docs/runbooks/README.md")
	require.NoError(t, err)
	have := []string{"README.md"}
	for _, a := range rules(t, "alerts.yaml") {
		require.Regexp(t, `^Retryd[A-Z]\w+$`, a.Alert)
		if a.Alert != "RetrydAwaitingApproval" { // people may sleep on it
			require.Regexp(t, `^(5|10|15|20)m$`, a.For, a.Alert)
		}
		require.Len(t, a.Labels, 1, a.Alert)
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Alert)
		require.Equal(t, []string{"description", "runbook_url", "summary"}, slices.Sorted(maps.Keys(a.Annotations)), a.Alert)
		require.NotContains(t, a.Annotations["summary"], "{{", "%s: summaries are the same for all, so that they group", a.Alert)
		require.NotContains(t, a.Annotations["description"], "$value", "%s: a value would be another at each evaluation", a.Alert)
		require.Equal(t, "docs/runbooks/"+a.Alert+".md", a.Annotations["runbook_url"])
		var named []string
		for _, m := range usedForm.FindAllStringSubmatch(a.Annotations["description"], -1) {
			named = append(named, m[1])
		}
		for _, label := range []string{"connection", "policy", "instance", "kind", "name"} {
			require.Equal(t, slices.Contains(labelsOf(t, a.Expr), label), slices.Contains(named, label), "%s: the description names %s if the alert has it", a.Alert, label)
		}
		have = append(have, a.Alert+".md")
		require.FileExists(t, "../../docs/runbooks/"+a.Alert+".md")
		require.Contains(t, string(index), "["+a.Alert+"]("+a.Alert+".md) | "+a.Labels["severity"]+" |")
	}
	pages, err := filepath.Glob("../../docs/runbooks/*")
	require.NoError(t, err)
	for i := range pages {
		pages[i] = filepath.Base(pages[i])
	}
	slices.Sort(have)
	require.Equal(t, have, pages, "a runbook for each alert, and an alert for each runbook")
}

// labelsOf gives the labels that the series of an expression have: those of its last aggregation, or
// of the recording rule that it begins with.
func labelsOf(t *testing.T, expr string) []string {
	if m := byForm.FindStringSubmatch(expr); m != nil && !strings.Contains(strings.Split(expr, m[0])[0], "retryd:") {
		return strings.Split(m[1], ", ")
	}
	recorded := nameForm.FindString(expr)
	for _, r := range rules(t, "rules.yaml") {
		if r.Record == recorded {
			return slices.DeleteFunc(strings.Split(byForm.FindStringSubmatch(r.Expr)[1], ", "), func(l string) bool { return l == "le" })
		}
	}
	require.Fail(t, "no labels", expr)
	return nil
}

func TestEachRecordingRuleIsUsedByAnAlert(t *testing.T) {
	used := map[string]bool{}
	for _, a := range rules(t, "alerts.yaml") {
		for name := range metricsOf(t, a.Expr) {
			used[name] = true
		}
	}
	for _, r := range rules(t, "rules.yaml") {
		require.Regexp(t, `^retryd:[a-z_]+:[a-z0-9_]+$`, r.Record)
		for name := range metricsOf(t, r.Expr) {
			used[name] = used[name] || used[r.Record] && name != r.Record
		}
	}
	for _, r := range rules(t, "rules.yaml") {
		require.True(t, used[r.Record], r.Record)
	}
}

// metricsOf gives what an expression names, and what the recording rules in it name.
func metricsOf(t *testing.T, expr string) map[string]bool {
	found := map[string]bool{}
	for _, name := range nameForm.FindAllString(expr, -1) {
		if found[name] {
			continue
		}
		found[name] = true
		for _, r := range rules(t, "rules.yaml") {
			if r.Record == name {
				r.Expr = strings.ReplaceAll(r.Expr, r.Record, "") // those of sweeps carry themselves on
				maps.Copy(found, metricsOf(t, r.Expr))
			}
		}
	}
	return found
}
