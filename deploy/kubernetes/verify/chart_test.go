package verify

import (
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// least is the least that the chart needs.
const least = `
image: {repository: registry.example.com/retryd, tag: v1}
secrets: {existingSecret: retryd}
config:
  connections:
    - name: prod
      endpoint: https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com
      project_id: 0123456789abcdef0123456789abcdef
      auth: {aksk: {access_key_file: access_key, secret_key_file: secret_key}}
  policies:
    - {name: upgrades, schedule: "*/15 * * * *"}
`

const (
	postgres = "store: {kind: postgresql, postgresql: {existingSecret: retryd-ledger}}\n"
	guarded  = "web: {existingSecret: retryd-web, admins: [ann], probe: {existingSecret: retryd-probe}}\n"
	watched  = "serviceMonitor: {enabled: true}\nprometheusRule: {enabled: true}\ndashboards: {enabled: true}\n"
)

// sets are values that people would have.
func sets() map[string]string {
	return map[string]string{
		"least":    least,
		"postgres": least + postgres + "replicas: 3\npodDisruptionBudget: {enabled: true}\n" + watched,
		"guarded":  least + guarded + watched + "env: {HTTPS_PROXY: \"http://proxy:3128\"}\nfiles: {skip.txt: \"dev-1\\ndev-2\\n\"}\n",
		"tls":      least + "web: {existingSecret: retryd-web}\nobserve: true\n",
		"everything": least + `
nameOverride: r
fullnameOverride: retries
store: {sqlite: {size: 5Gi, storageClass: fast, accessMode: ReadWriteOncePod}}
resources: {requests: {cpu: 0.5}, limits: {memory: null, cpu: "2"}}
podAnnotations: {a/b: c}
podLabels: {team: fleet}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: k, operator: Exists, effect: NoSchedule}]
priorityClassName: high
serviceAccount: {name: other}
service: {port: 8080}
networkPolicy: {fromNamespaces: {kubernetes.io/metadata.name: monitoring}, platform: {ports: [443, 3128]}}
`,
	}
}

func TestTheLeastIsAStatefulSetWithAVolumeThatStays(t *testing.T) {
	o, err := render(t, least)
	require.NoError(t, err)
	require.Len(t, o, 5) // no budget, no monitor: what needs an operator is asked for
	s := get[apps.StatefulSet](t, o, "StatefulSet/retryd")
	require.EqualValues(t, 1, *s.Spec.Replicas)
	require.Equal(t, apps.RetainPersistentVolumeClaimRetentionPolicyType, s.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted)
	require.Equal(t, "state", s.Spec.VolumeClaimTemplates[0].Name)
	require.Equal(t, []string{"run", "--auto-reload"}, s.Spec.Template.Spec.Containers[0].Args)
	config := configuration(t, o, "ConfigMap/retryd")
	require.Equal(t, "0.0.0.0:9464", config["server"].(map[string]any)["listen"])
	require.Equal(t, "sqlite:retryd.db", config["store"].(map[string]any)["url"])
}

func TestPostgreSQLIsADeploymentOfSeveral(t *testing.T) {
	o, err := render(t, sets()["postgres"])
	require.NoError(t, err)
	d := get[apps.Deployment](t, o, "Deployment/retryd")
	require.EqualValues(t, 3, *d.Spec.Replicas)
	require.NotContains(t, o, "StatefulSet/retryd")
	require.Equal(t, "/etc/retryd-ledger/url", configuration(t, o, "ConfigMap/retryd")["store"].(map[string]any)["url_file"])
	require.EqualValues(t, 1, get[policy.PodDisruptionBudget](t, o, "PodDisruptionBudget/retryd").Spec.MaxUnavailable.IntValue())
	egress := get[networking.NetworkPolicy](t, o, "NetworkPolicy/retryd").Spec.Egress
	require.EqualValues(t, 5432, egress[2].Ports[0].Port.IntValue())
}

func TestSecretsAndFoldersAreMountedSoThatChangesArrive(t *testing.T) {
	for name, values := range sets() {
		o, err := render(t, values)
		require.NoError(t, err, name)
		pod := podOf(t, o)
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			require.Empty(t, m.SubPath, name) // the kubelet never renews one
			require.Equal(t, m.Name != "state", m.ReadOnly, "%s %s", name, m.Name)
		}
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil {
				require.EqualValues(t, 0o440, *v.Secret.DefaultMode, "%s: retryd warns of a secret that everybody can read", name)
			}
		}
	}
}

func TestPasswordsHaveTheProgramProbeItself(t *testing.T) {
	for name, want := range map[string]string{"least": "HTTP", "tls": "HTTPS", "guarded": ""} {
		o, err := render(t, sets()[name])
		require.NoError(t, err)
		c := podOf(t, o).Spec.Containers[0]
		for _, p := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if want != "" {
				require.EqualValues(t, want, p.HTTPGet.Scheme, name)
				continue
			}
			require.Equal(t, []string{"/usr/bin/retryd", "healthcheck"}, p.Exec.Command[:2])
			require.Contains(t, p.Exec.Command, "/etc/retryd-web/ca.crt")
			require.Contains(t, c.Env, core.EnvVar{Name: "RETRYD_URL", Value: "https://127.0.0.1:9464"})
		}
	}
}

func TestNothingLeavesButForNamesThePlatformAndTheDatabase(t *testing.T) {
	o, err := render(t, least)
	require.NoError(t, err)
	p := get[networking.NetworkPolicy](t, o, "NetworkPolicy/retryd").Spec
	require.Equal(t, []networking.PolicyType{"Ingress", "Egress"}, p.PolicyTypes)
	require.Len(t, p.Egress, 2)
	require.EqualValues(t, 53, p.Egress[0].Ports[0].Port.IntValue())
	require.EqualValues(t, 443, p.Egress[1].Ports[0].Port.IntValue())
	require.Equal(t, []string{"169.254.0.0/16"}, p.Egress[1].To[0].IPBlock.Except)
	require.Empty(t, p.Egress[1].To[1].IPBlock.Except, "an exception has to lie within its range")
	require.Len(t, p.Ingress[0].From, 1)
	require.NotNil(t, p.Ingress[0].From[0].PodSelector, "an empty entry would let everybody in")
}

func TestRulesAndDashboardsArriveWhole(t *testing.T) {
	o, err := render(t, sets()["guarded"])
	require.NoError(t, err)
	for _, name := range []string{"rules", "alerts"} {
		rule := get[monitoring.PrometheusRule](t, o, "PrometheusRule/retryd-"+name)
		var want monitoring.PrometheusRuleSpec
		require.NoError(t, yaml.UnmarshalStrict(read(t, chart, "files", name+".yaml"), &want))
		require.Equal(t, want, rule.Spec)
		require.NotEmpty(t, rule.Spec.Groups)
	}
	dashboards := get[core.ConfigMap](t, o, "ConfigMap/retryd-dashboards")
	for _, name := range []string{"fleet.json", "retryd.json"} {
		require.JSONEq(t, string(read(t, chart, "files", name)), dashboards.Data["retryd-"+name])
	}
	m := get[monitoring.ServiceMonitor](t, o, "ServiceMonitor/retryd").Spec
	require.EqualValues(t, "https", *m.Endpoints[0].Scheme)
	service := get[core.Service](t, o, "Service/retryd")
	require.Subset(t, service.Labels, m.Selector.MatchLabels)
}

// The alerts look for jobs with retryd in their name, and take what is of one job together.
func TestEachReleaseIsAJobOfItsOwnWithRetrydInItsName(t *testing.T) {
	o, err := render(t, least+watched+"nameOverride: r\nfullnameOverride: retries\n")
	require.NoError(t, err)
	for _, m := range []*monitoring.ServiceMonitor{
		get[monitoring.ServiceMonitor](t, o, "ServiceMonitor/retries"),
		get[monitoring.ServiceMonitor](t, build(t, example), "ServiceMonitor/retryd"),
	} {
		require.Empty(t, m.Spec.JobLabel)
		require.Len(t, m.Spec.Endpoints, 1)
		require.Len(t, m.Spec.Endpoints[0].RelabelConfigs, 1)
		r := m.Spec.Endpoints[0].RelabelConfigs[0]
		require.Equal(t, "job", r.TargetLabel)
		require.Equal(t, "retryd/$1", *r.Replacement)
		require.Equal(t, "/", *r.Separator)
		require.EqualValues(t, []monitoring.LabelName{"__meta_kubernetes_namespace", "__meta_kubernetes_service_name"}, r.SourceLabels)
	}
}

func TestLinksToRunbooksLeadToWhereTheyAre(t *testing.T) {
	for _, base := range []string{"https://git.example.com/retryd/runbooks", "https://git.example.com/retryd/runbooks/"} {
		o, err := render(t, least+"prometheusRule: {enabled: true, runbooks: \""+base+"\"}\n")
		require.NoError(t, err)
		var links int
		for _, group := range get[monitoring.PrometheusRule](t, o, "PrometheusRule/retryd-alerts").Spec.Groups {
			for _, rule := range group.Rules {
				require.Equal(t, "https://git.example.com/retryd/runbooks/"+rule.Alert+".md", rule.Annotations["runbook_url"])
				links++
			}
		}
		require.NotZero(t, links)
	}
}

func TestFilesArriveAsTheyAre(t *testing.T) {
	files := map[string]string{
		"indented": "  dev-1\ndev-2\n", "123": "a digit\n", "true": "a word\n", "tab": "\tdev-1\r\n\n", "empty": "",
		"quoted": "\"dev-1\" 'dev-2' {{ .Values }} \\ # : é 设备\n", "without": "an end", "blank": "\n\n a\n\n\n",
	}
	values, err := yaml.Marshal(map[string]any{"files": files})
	require.NoError(t, err)
	o, err := render(t, least+string(values))
	require.NoError(t, err)
	data := get[core.ConfigMap](t, o, "ConfigMap/retryd").Data
	require.Len(t, data, len(files)+1)
	require.Subset(t, data, files)
}

func configuration(t *testing.T, o map[string]object, key string) (config map[string]any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(get[core.ConfigMap](t, o, key).Data["retryd.yaml"]), &config))
	return config
}

// podOf gives the pod's template, whatever it is in, and sees that the selectors fit it.
func podOf(t *testing.T, o map[string]object) core.PodTemplateSpec {
	t.Helper()
	for _, one := range o {
		switch w := one.typed.(type) {
		case *apps.StatefulSet:
			require.Subset(t, w.Spec.Template.Labels, w.Spec.Selector.MatchLabels)
			return w.Spec.Template
		case *apps.Deployment:
			require.Subset(t, w.Spec.Template.Labels, w.Spec.Selector.MatchLabels)
			return w.Spec.Template
		}
	}
	t.Fatal("no pod")
	return core.PodTemplateSpec{}
}

func TestAnExceptionLiesWithinItsRange(t *testing.T) {
	o, err := render(t, least+"networkPolicy: {platform: {cidrs: [100.64.0.0/10, 0.0.0.0/0, \"::/0\"], except: [169.254.0.0/16, \"fe80::/10\"]}}\n")
	require.NoError(t, err)
	to := get[networking.NetworkPolicy](t, o, "NetworkPolicy/retryd").Spec.Egress[1].To
	require.Empty(t, to[0].IPBlock.Except)
	require.Equal(t, []string{"169.254.0.0/16"}, to[1].IPBlock.Except)
	require.Equal(t, []string{"fe80::/10"}, to[2].IPBlock.Except)
}
