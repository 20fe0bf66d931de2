package web_test

import (
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/scheduler"
	"retryd/internal/web"
)

// live has the API read a platform that is there, in place of connection prod's.
func (r *reader) live() *emulator.Emulator {
	r.t.Helper()
	e := emulator.New(emulator.Options{ProjectID: project, Keys: map[string]string{"a": "b"}})
	front := http.Handler(e)
	if r.front != nil {
		front = r.front(e)
	}
	server := httptest.NewServer(front)
	r.t.Cleanup(server.Close)
	client, err := iotdaclient.New(iotdaclient.Options{
		Name: "prod", Endpoint: server.URL, Region: "cn-north-4", ProjectID: project, Credentials: iotdaclient.Key{AccessKey: "a", SecretKey: "b", Signing: iotdaclient.SigningDerived},
		Budget: iotdaclient.NewBudget(1000, 100), Guards: iotdaclient.NewGuards(), Concurrency: 4, Timeout: 10 * time.Second,
		Backoff: iotdaclient.Backoff{Initial: time.Millisecond, Multiplier: 1, Max: time.Millisecond, MaxElapsed: 5 * time.Millisecond}, UserAgent: "test",
	})
	require.NoError(r.t, err)
	r.o.Scheduler = scheduler.New(scheduler.Options{
		Setup: scheduler.Setup{Policies: r.config.Policies, Connections: []scheduler.Connection{{Client: client, Identity: r.config.Connections[0].Identity(), Hash: "1"}}},
		Store: r.s, Metrics: metrics.New(prometheus.NewRegistry(), scheduler.Known()), Log: zap.NewNop(),
	})
	r.t.Cleanup(r.o.Scheduler.Close)
	r.h = web.New(r.o)
	return e
}

// failing is a device of an emulated task that has failed.
func failing(id string) emulator.Device {
	return emulator.Device{ID: id, Status: iotda.SubtaskFail, Fate: emulator.Fate{Code: "IOTDA.014016", Message: "Waiting for the device online timeout"}}
}

// lookable has the platform know the devices of the campaign.
func (r *reader) lookable() *emulator.Emulator {
	r.t.Helper()
	e := r.live()
	_, err := e.AddTask(emulator.Task{ID: campaign, Name: "fw 2.1", Type: "firmwareUpgrade", Created: r.now.Add(-9 * time.Hour), Devices: []emulator.Device{
		failing("d-failed"), failing("d-up"), failing("d-open"), {ID: "d-recovered", Status: iotda.SubtaskSuccess}, failing("d-new"),
	}})
	require.NoError(r.t, err)
	return e
}
