package verify

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A chart cannot read files outside of its folder: it has copies, and this holds them to their source.
func TestCopiesOfRulesAndDashboardsAreThoseOfPrometheusAndGrafana(t *testing.T) {
	for name, source := range map[string]string{
		"rules.yaml": "deploy/prometheus", "alerts.yaml": "deploy/prometheus",
		"fleet.json": "deploy/grafana", "retryd.json": "deploy/grafana",
	} {
		same(t, read(t, root, source, name), filepath.Join(chart, "files", name))
	}
}

// The schema of the values has retryd's own schema in it, so that `helm lint` and `helm install` refuse what
// `retryd check` would; less what the chart sets itself, and less every secret.
func TestCopiesOfTheSchemaAreRetrydsOwnWithoutSecrets(t *testing.T) {
	path := filepath.Join(chart, "values.schema.json")
	var values, config map[string]any
	require.NoError(t, json.Unmarshal(read(t, path), &values))
	require.NoError(t, json.Unmarshal(read(t, root, "configs/retryd.schema.json"), &config))
	properties := within(config, "properties")
	withoutSecrets(config)
	keep(within(properties, "server"), "external_url")
	keep(within(properties, "store"), "retention")
	defaults := within(properties, "defaults", "properties")
	for key, section := range map[string]string{"connection": "connections", "policy": "policies"} {
		entry := maps.Clone(within(properties, section, "items"))
		delete(entry, "required")
		defaults[key] = entry
	}
	delete(config, "$schema")
	delete(config, "title")
	config["description"] = "retryd.yaml, as in docs/configuration.md, without secrets and without what the chart sets."
	within(values, "properties")["config"] = config
	want, err := json.MarshalIndent(values, "", "  ")
	require.NoError(t, err)
	same(t, append(want, '\n'), path)
	closed(t, values, "values")
}

func within(m map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		m = m[key].(map[string]any)
	}
	return m
}

func keep(section map[string]any, keys ...string) {
	maps.DeleteFunc(within(section, "properties"), func(key string, _ any) bool { return !slices.Contains(keys, key) })
	section["additionalProperties"] = false
}

// withoutSecrets takes out each key that has a twin which names a file instead, but for lists of devices.
func withoutSecrets(node any) {
	switch node := node.(type) {
	case []any:
		for _, n := range node {
			withoutSecrets(n)
		}
	case map[string]any:
		if properties, ok := node["properties"].(map[string]any); ok {
			for key := range properties {
				twin, ok := strings.CutSuffix(key, "_file")
				if ok && twin != "include" && twin != "exclude" {
					delete(properties, twin)
				}
			}
			if _, token := properties["file"]; token {
				delete(properties, "value")
			}
		}
		for _, n := range node {
			withoutSecrets(n)
		}
	}
}

// closed sees that no mapping takes keys that nobody has thought of: it names its keys, or says of what kind
// all its values are.
func closed(t *testing.T, node any, path string) {
	t.Helper()
	switch node := node.(type) {
	case []any:
		for _, n := range node {
			closed(t, n, path)
		}
	case map[string]any:
		if node["type"] == "object" {
			more, isSchema := node["additionalProperties"].(map[string]any)
			require.True(t, node["additionalProperties"] == false || isSchema && more["type"] != nil || path == "values.properties.global", "%s takes any key", path)
		}
		for key, n := range node {
			closed(t, n, path+"."+key)
		}
	}
}
