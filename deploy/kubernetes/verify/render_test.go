// Package verify holds what is in deploy/container and deploy/kubernetes to its word: it renders the chart
// and the kustomizations, reads what comes out as Kubernetes would, and builds and runs the image.
package verify

import (
	"bufio"
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the chart's copies and its schema anew")

const (
	root  = "../../.."
	chart = "../helm/retryd"
)

// object is one that was rendered, read strictly: a key that Kubernetes does not know is an error.
type object struct {
	kind, name string
	text       []byte
	typed      any
}

// kinds are all that is rendered, and no others.
func kinds() map[string]any {
	return map[string]any{
		"StatefulSet": &apps.StatefulSet{}, "Deployment": &apps.Deployment{}, "ConfigMap": &core.ConfigMap{},
		"Service": &core.Service{}, "ServiceAccount": &core.ServiceAccount{}, "Namespace": &core.Namespace{},
		"NetworkPolicy": &networking.NetworkPolicy{}, "PodDisruptionBudget": &policy.PodDisruptionBudget{},
		"ServiceMonitor": &monitoring.ServiceMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{},
	}
}

// render gives what `helm template` would, or its error.
func render(t *testing.T, values string) (map[string]object, error) {
	t.Helper()
	c, err := loader.Load(chart)
	require.NoError(t, err)
	given := map[string]any{}
	for _, part := range strings.Split(values, "\n---\n") { // as several --values: the last one wins
		var one map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(part), &one))
		given = chartutil.CoalesceTables(one, given)
	}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "retryd", Namespace: "fleet", IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	engine := engine.Engine{Strict: true}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var stream strings.Builder
	for name, text := range files {
		if filepath.Ext(name) == ".yaml" {
			stream.WriteString("\n---\n" + text)
		}
	}
	return decode(t, []byte(stream.String())), nil
}

// decode reads a stream of objects.
func decode(t *testing.T, stream []byte) map[string]object {
	t.Helper()
	objects := map[string]object{}
	reader := utilyaml.NewYAMLReader(newReader(stream))
	for {
		text, err := reader.Read()
		if err == io.EOF {
			return objects
		}
		require.NoError(t, err)
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		require.NoError(t, yaml.Unmarshal(text, &head), "%s", text)
		if head.Kind == "" {
			require.Empty(t, strings.Trim(string(text), "-\n "), "something that is no object")
			continue
		}
		typed, known := kinds()[head.Kind]
		require.True(t, known, "kind %s", head.Kind)
		require.NoError(t, yaml.UnmarshalStrict(text, typed), "%s", text)
		key := head.Kind + "/" + head.Metadata.Name
		require.NotContains(t, objects, key)
		objects[key] = object{head.Kind, head.Metadata.Name, text, typed}
	}
}

func get[T any](t *testing.T, objects map[string]object, key string) *T {
	t.Helper()
	require.Contains(t, objects, key)
	typed, ok := objects[key].typed.(*T)
	require.True(t, ok)
	return typed
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return data
}

// same compares a file of the chart with what it has to be, or writes it.
func same(t *testing.T, want []byte, path string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, want, 0o644))
	}
	have := read(t, path)
	require.True(t, bytes.Equal(want, have), "%s is not up to date: go test -run Copies -update", path)
}

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
