// Package verify reads the dashboards with Grafana's own types, which are made from its schemas.
package verify

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/stretchr/testify/require"
)

// TestGrafanaKnowsEachFieldAndItsType is strict: a field that Grafana does not know, in the dashboard, a
// panel's options, its fields or its queries, is an error.
func TestGrafanaKnowsEachFieldAndItsType(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for _, name := range []string{"fleet.json", "retryd.json"} {
		data, err := os.ReadFile("../" + name)
		require.NoError(t, err)
		var strict, d dashboard.Dashboard
		var problems cog.BuildErrors // what it returns is never nil, but has nothing in it where all is well
		require.ErrorAs(t, strict.UnmarshalJSONStrict(data), &problems, name)
		require.Empty(t, problems, name)
		require.NoError(t, json.Unmarshal(data, &d), name) // the strict one keeps no panels
		require.NoError(t, d.Validate(), name)
		kinds := map[string]int{}
		for _, p := range d.Panels {
			if p.RowPanel != nil {
				kinds["row"]++
				continue
			}
			kinds[p.Panel.Type]++
			where := name + ": " + *p.Panel.Title
			require.NotEmpty(t, p.Panel.Targets, where)
			for _, q := range p.Panel.Targets {
				require.IsType(t, &prometheus.Dataquery{}, q, where)
			}
			options, custom := shapes(p.Panel.Type)
			require.NotNil(t, options, "%s: a panel of type %s", where, p.Panel.Type)
			require.IsType(t, options, p.Panel.Options, where)
			if custom != nil {
				require.IsType(t, custom, p.Panel.FieldConfig.Defaults.Custom, where)
			}
		}
		t.Logf("%s: %v", name, kinds)
	}
}

// shapes are what the options and fields of a type of panel are read into, where Grafana knows the type.
func shapes(kind string) (options, custom any) {
	switch kind {
	case "stat":
		return &stat.Options{}, nil
	case "bargauge":
		return &bargauge.Options{}, nil
	case "table":
		return &table.Options{}, nil
	case "timeseries":
		return &timeseries.Options{}, &timeseries.FieldConfig{}
	}
	return nil, nil
}
