package metrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"retryd/internal/metrics"
)

func TestEverySeriesIsNamedWellAndThereFromTheStart(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := metrics.New(reg, metrics.Known{
		Results: []string{"accepted"}, Outcomes: []string{"recovered"}, Endings: []string{"exhausted"}, Causes: []metrics.Cause{{Rule: "offline", Class: "network"}},
		Reasons: []string{"due", "backoff"}, Operations: []string{"ListBatchTasks"}, Sweeps: []string{"complete"}, Surprises: []string{"marker"},
	})
	m.AddConnection("prod", 5)
	m.AddPolicy("prod", "upgrades", "@hourly", []string{"firmwareUpgrade"}, []metrics.Cause{{Rule: "my-own", Class: "device"}})
	m.Info("v1", "go1.26")
	m.Reloaded(true, "abc", time.Unix(2000, 0))
	m.Reloaded(true, "def", time.Unix(3000, 0))
	m.Reloaded(false, "", time.Time{})
	m.ObserveCall("prod", metrics.Call{Operation: "ListBatchTasks", Code: "200", Duration: time.Second, PerSecond: 2.5, CredentialsEnd: time.Unix(4000, 0)})
	m.Ledger(time.Unix(1000, 0), func() (int64, int64) { return 4096, 8 })
	m.SetTargets("prod", "upgrades", map[string]int{"due": 3})
	m.SetConnection("prod", "auth")
	m.SetConnection("prod", "")
	m.ObserveWrite(time.Second, errors.New("disk full"))
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`retryd_attempts_total{connection="prod",policy="upgrades",result="accepted",task_type="firmwareUpgrade"} 0`,
		`retryd_attempts_settled_total{connection="prod",outcome="recovered",policy="upgrades",task_type="firmwareUpgrade"} 0`,
		`retryd_targets_closed_total{connection="prod",outcome="exhausted",policy="upgrades",task_type="firmwareUpgrade"} 0`,
		`retryd_failures_total{class="network",connection="prod",policy="upgrades",rule="offline"} 0`,
		`retryd_connection_up{connection="prod",reason=""} 1`,
		`retryd_ledger_errors_total 1`,
		`retryd_targets{connection="prod",policy="upgrades",reason="due"} 3`,
		`retryd_targets{connection="prod",policy="upgrades",reason="backoff"} 0`,
		`retryd_failures_total{class="device",connection="prod",policy="upgrades",rule="my-own"} 0`,
		`retryd_config_info{hash="def"} 1`, `retryd_config_last_reload_successful 0`, `retryd_config_last_reload_success_timestamp_seconds 3000`,
		`retryd_rate_limit{connection="prod"} 2.5`, `retryd_credentials_expiry_timestamp_seconds{connection="prod"} 4000`,
		`retryd_sweeps_total{connection="prod",policy="upgrades",result="complete"} 0`,
		`retryd_api_requests_total{code="error",connection="prod",operation="ListBatchTasks"} 0`,
	} {
		require.Contains(t, recorder.Body.String(), want)
	}
	require.NotContains(t, recorder.Body.String(), `hash="abc"`, "one configuration is in force")
	require.NotContains(t, recorder.Body.String(), `reason="auth"`, "a connection has one state")
	require.NotContains(t, recorder.Body.String(), "retryd_policy_last_success_timestamp_seconds{", "a time is absent until there is one")
	m.RemovePolicy("prod", "upgrades")
	m.RemoveConnection("prod")
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		require.NotContains(t, f.String(), `"prod"`, "what is gone leaves no series")
	}
}
