package prometheus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// scene is one test of promtool's.
type scene struct {
	Name        string
	InputSeries []struct{ Series, Values string } `yaml:"input_series"`
	Alerts      []struct {
		Name string           `yaml:"alertname"`
		Exp  []map[string]any `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

func scenes(t *testing.T) (list []scene) {
	files, err := filepath.Glob("*_test.yaml")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var content struct{ Tests []scene }
		require.NoError(t, yaml.Unmarshal(data, &content))
		list = append(list, content.Tests...)
	}
	return list
}

// TestEachAlertIsSeenToFireAndToKeepQuiet wants both sides of each. A scene without the metric that
// the alert looks at would be quiet whatever the alert says, so each of a quiet scene has to be there.
func TestEachAlertIsSeenToFireAndToKeepQuiet(t *testing.T) {
	fires, quiet := map[string]int{}, map[string]int{}
	exprs := map[string]string{}
	for _, a := range rules(t, "alerts.yaml") {
		exprs[a.Alert] = a.Expr
	}
	for _, s := range scenes(t) {
		for _, a := range s.Alerts {
			require.True(t, strings.HasPrefix(s.Name, a.Name+": "), s.Name)
			require.Contains(t, exprs, a.Name)
			if len(a.Exp) > 0 {
				fires[a.Name]++
				continue
			}
			quiet[a.Name]++
			given := map[string]bool{}
			for _, series := range s.InputSeries {
				name, _, _ := strings.Cut(series.Series, "{")
				given[strings.TrimSuffix(name, "_bucket")] = true
			}
			for name := range metricsOf(t, exprs[a.Name]) {
				if !strings.Contains(name, ":") {
					require.Contains(t, given, strings.TrimSuffix(name, "_bucket"), s.Name)
				}
			}
		}
	}
	for name := range exprs {
		require.NotZero(t, fires[name], "%s: no test in which it fires", name)
		require.NotZero(t, quiet[name], "%s: no test in which it keeps quiet", name)
	}
}
