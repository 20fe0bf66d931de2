package verify

import (
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	base    = "../kustomize/base"
	example = "../kustomize/overlays/example"
)

// build gives what `kubectl kustomize` would.
func build(t *testing.T, folder string) map[string]object {
	t.Helper()
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	require.NoError(t, err)
	text, err := m.AsYaml()
	require.NoError(t, err)
	return decode(t, text)
}

func TestTheOverlayChangesWhatIsItsOwn(t *testing.T) {
	o := build(t, example)
	s := get[apps.StatefulSet](t, o, "StatefulSet/retryd")
	require.Equal(t, "registry.example.com/retryd:v1", s.Spec.Template.Spec.Containers[0].Image)
	require.Equal(t, "5Gi", s.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String())
	require.Equal(t, "retryd", s.Namespace)
	require.Contains(t, get[core.ConfigMap](t, o, "ConfigMap/retryd").Data["retryd.yaml"], "fleet-cn-north-4")
	require.Len(t, get[networking.NetworkPolicy](t, o, "NetworkPolicy/retryd").Spec.Ingress[0].From, 2)
	require.Equal(t, "restricted", get[core.Namespace](t, o, "Namespace/retryd").Labels["pod-security.kubernetes.io/enforce"])
	m := get[monitoring.ServiceMonitor](t, o, "ServiceMonitor/retryd")
	require.Subset(t, get[core.Service](t, o, "Service/retryd").Labels, m.Spec.Selector.MatchLabels)
}

// The base and the chart are written apart: what runs has to be the same.
func TestTheBaseRunsWhatTheChartRuns(t *testing.T) {
	o, err := render(t, least)
	require.NoError(t, err)
	ofChart, ofBase := podOf(t, o).Spec, podOf(t, build(t, base)).Spec
	require.Equal(t, "retryd", ofBase.Containers[0].Image)
	ofBase.Containers[0].Image = ofChart.Containers[0].Image
	ofBase.Containers[0].ImagePullPolicy = ofChart.Containers[0].ImagePullPolicy
	for _, probe := range []*core.Probe{ofBase.Containers[0].LivenessProbe, ofBase.Containers[0].ReadinessProbe, ofBase.Containers[0].StartupProbe} {
		probe.HTTPGet.Scheme = "HTTP" // the default, which the chart writes out
	}
	require.Equal(t, ofChart, ofBase)
	policy := get[networking.NetworkPolicy](t, build(t, base), "NetworkPolicy/retryd").Spec
	charted := get[networking.NetworkPolicy](t, o, "NetworkPolicy/retryd").Spec
	require.Equal(t, charted.Egress, policy.Egress)
	require.Equal(t, charted.Ingress, policy.Ingress)
	// Each is of its own pods. The chart's have the name of the release too.
	require.Equal(t, get[apps.StatefulSet](t, o, "StatefulSet/retryd").Spec.Selector, &charted.PodSelector)
	require.Equal(t, get[apps.StatefulSet](t, build(t, base), "StatefulSet/retryd").Spec.Selector, &policy.PodSelector)
	require.NotEmpty(t, policy.PodSelector.MatchLabels, "it would isolate every pod of the namespace")
	require.Subset(t, charted.PodSelector.MatchLabels, policy.PodSelector.MatchLabels)
}

// An example that could be applied as it is would call whoever has that address.
func TestTheKustomizationsAddressesAreToBeFilledIn(t *testing.T) {
	for _, folder := range []string{base, example} {
		text := get[core.ConfigMap](t, build(t, folder), "ConfigMap/retryd").Data["retryd.yaml"]
		require.Contains(t, text, "\n    endpoint: <endpoint>\n", folder)
		require.Contains(t, text, "\n    project_id: <project_id>\n", folder)
		require.NotContains(t, text, "myhuaweicloud.com", folder)
	}
}
