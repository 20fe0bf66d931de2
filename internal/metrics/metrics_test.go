package metrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
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
		Asked: []string{"sweep", "retry"}, Answered: []string{"done", "expired"}, Logins: []string{"refused"},
	})
	m.AddConnection("keys", 5, false)
	m.AddConnection("prod", 5, true)
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
		`retryd_ledger_errors_total 1`, `retryd_ledger_read_errors_total 0`, `retryd_ledger_damaged 0`,
		`retryd_manual_requests_total{connection="prod",kind="retry",result="expired"} 0`, `retryd_manual_requests_total{connection="keys",kind="sweep",result="done"} 0`,
		`retryd_logins_total{connection="prod",result="refused"} 0`, `retryd_sweep_api_calls_count{connection="prod",policy="upgrades"} 0`,
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
	require.NotContains(t, recorder.Body.String(), `retryd_logins_total{connection="keys"`, "its calls need none")
	require.NotContains(t, recorder.Body.String(), `hash="abc"`, "one configuration is in force")
	require.NotContains(t, recorder.Body.String(), `reason="auth"`, "a connection has one state")
	require.NotContains(t, recorder.Body.String(), "retryd_policy_last_success_timestamp_seconds{", "a time is absent until there is one")
	m.RemovePolicy("prod", "upgrades")
	m.RemoveConnection("prod")
	families, err := reg.Gather()
	require.NoError(t, err)
	kept := 0
	for _, f := range families {
		require.NotContains(t, f.String(), `"prod"`, "what is gone leaves no series")
		kept += strings.Count(f.String(), `"keys"`)
	}
	require.Positive(t, kept, "what is not gone stays")
}

// TestEachHistogramHasBothForms and a bound of its buckets, however far apart what it measures is.
func TestEachHistogramHasBothForms(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := metrics.New(reg, metrics.Known{Operations: []string{"ListBatchTasks"}})
	m.AddConnection("prod", 5, false)
	m.AddPolicy("prod", "upgrades", "@hourly", nil, nil)
	for seconds := 1e-6; seconds < 1e9; seconds *= 1.05 {
		m.LedgerWrites.Observe(seconds)
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	histograms := 0
	for _, f := range families {
		if f.GetType().String() != "HISTOGRAM" {
			continue
		}
		histograms++
		h := f.GetMetric()[0].GetHistogram()
		require.NotEmpty(t, h.GetBucket(), "%s has classic buckets", f.GetName())
		require.Positive(t, h.GetZeroThreshold(), "%s is native too", f.GetName())
		require.NotZero(t, h.GetCreatedTimestamp().GetSeconds())
		if f.GetName() == "retryd_ledger_write_duration_seconds" {
			require.Greater(t, len(h.GetPositiveDelta()), 50)
			require.LessOrEqual(t, len(h.GetPositiveDelta()), 100)
			continue
		}
		require.EqualValues(t, 3, h.GetSchema(), "%s: the largest step that is no more than a tenth", f.GetName())
	}
	require.Equal(t, 6, histograms)
}
