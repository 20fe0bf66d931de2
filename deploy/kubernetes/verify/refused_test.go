package verify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatCannotBeIsRefusedInWords(t *testing.T) {
	const keys = `
config:
  connections:
    - name: prod
      endpoint: https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com
      project_id: 0123456789abcdef0123456789abcdef
      auth: {aksk: {access_key: AKIDEXAMPLE0, secret_key: in-the-open}}
  policies: [{name: upgrades, schedule: "@daily"}]
`
	for name, c := range map[string]struct{ values, says string }{
		"two on SQLite":         {least + "---\nreplicas: 2\n", "replicas is 2, and the ledger is in SQLite, which one retryd alone can use"},
		"budget over one":       {least + "---\npodDisruptionBudget: {enabled: true}\n", "would block every drain of its node"},
		"no database":           {least + "---\nstore: {kind: postgresql}\n", "store.postgresql.existingSecret is needed"},
		"no image":              {least + "---\nimage: {repository: \"\"}\n", "image.repository is needed"},
		"no configuration":      {"image: {repository: r}\n", "config needs connections and policies"},
		"admins and no door":    {least + "---\nweb: {admins: [ann]}\n", "web.admins needs web.existingSecret"},
		"a probe and no door":   {least + "---\nweb: {probe: {existingSecret: p}}\n", "web.probe is for the passwords of web.existingSecret"},
		"a secret in values":    {"image: {repository: r}\n" + keys, "access_key"},
		"a secret in defaults":  {least + "---\nconfig: {defaults: {connection: {auth: {token: {value: t}}}}}\n", "value"},
		"a secret in variables": {least + "---\nenv: {RETRYD_PASSWORD: x}\n", "RETRYD_PASSWORD"},
		"a password of a proxy": {least + "---\nenv: {HTTPS_PROXY: \"http://u:p@proxy\"}\n", "HTTPS_PROXY"},
		"an unknown value":      {least + "---\nreplicaCount: 2\n", "replicaCount"},
		"deep down":             {least + "---\nnetworkPolicy: {platform: {port: 443}}\n", "port"},
		"an unknown key":        {least + "---\nconfig: {polices: []}\n", "polices"},
		"what the chart sets":   {least + "---\nconfig: {server: {listen: \"127.0.0.1:1\"}}\n", "listen"},
		"no such store":         {least + "---\nstore: {kind: mysql}\n", "kind"},
		"a link that is none":   {least + "---\nprometheusRule: {runbooks: docs/runbooks}\n", "runbooks"},
		"a stop in no time":     {least + "---\nterminationGracePeriodSeconds: 5\n", "terminationGracePeriodSeconds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, c.values)
			require.ErrorContains(t, err, c.says)
		})
	}
}
