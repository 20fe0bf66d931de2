package grafana_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(into), name)
}

// TestProvisioningFitsTheRest holds the files for Grafana to what the page says to do with them, and to the
// example of a Prometheus.
func TestProvisioningFitsTheRest(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)

	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type    string
			AllowUIUpdates        bool `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int  `yaml:"updateIntervalSeconds"`
			Options               struct{ Path string }
		}
	}
	readYAML(t, "provisioning/dashboards/retryd.yaml", &dashboards)
	require.Equal(t, 1, dashboards.APIVersion)
	require.Len(t, dashboards.Providers, 1)
	require.Equal(t, "file", dashboards.Providers[0].Type)
	require.Contains(t, string(page), " -t "+dashboards.Providers[0].Options.Path+" fleet.json retryd.json\n", "where the provider looks is where the page puts them")

	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, Access, URL string
			JSONData                struct {
				HTTPMethod   string `yaml:"httpMethod"`
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	readYAML(t, "provisioning/datasources/prometheus.yaml", &sources)
	require.Equal(t, 1, sources.APIVersion)
	require.Len(t, sources.Datasources, 1)
	require.Equal(t, []string{prometheus.Type, "proxy"}, []string{sources.Datasources[0].Type, sources.Datasources[0].Access})

	example, err := os.ReadFile("../prometheus/prometheus.yaml")
	require.NoError(t, err)
	require.Contains(t, string(example), "\n  scrape_interval: "+sources.Datasources[0].JSONData.TimeInterval+"\n", "rates are taken over four scrapes")
}
