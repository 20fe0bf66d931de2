package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"retryd/internal/config"
	"retryd/internal/iotdaclient"
	"retryd/internal/metrics"
	"retryd/internal/scheduler"
	"retryd/internal/store"
)

// load finds, reads and checks the configuration, and says which it is.
func (a *app) load() (*config.Config, error) {
	file, err := config.Find(a.config)
	if err != nil {
		return nil, err
	}
	c, err := config.Load(file, env)
	if problems := (config.Problems)(nil); errors.As(err, &problems) {
		return nil, fmt.Errorf("%s has %s:\n%w", file, plural(len(problems), "problem"), err)
	}
	return c, err
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// house is everything that a configuration is run with.
type house struct {
	config   *config.Config
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	log      *zap.Logger
	clients  []*iotdaclient.Client
	store    *store.Store
}

// build makes the parts that call nothing yet. The ledger is opened by the command, which
// knows whether it may be made.
func build(c *config.Config, log *zap.Logger) (*house, error) {
	h := &house{config: c, log: log, registry: prometheus.NewRegistry()}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.metrics = metrics.New(h.registry, scheduler.Known())
	v := readVersion()
	h.metrics.Info(v.Version, v.Go, c.Hash)
	guards := iotdaclient.NewGuards()
	for _, connection := range c.Connections {
		client, err := iotdaclient.New(options(connection, guards, h.metrics))
		if err != nil {
			return nil, err
		}
		h.clients = append(h.clients, client)
		h.metrics.AddConnection(connection.Name, connection.RequestsPerSecond)
	}
	for _, p := range c.Policies {
		types := make([]string, len(p.Tasks.Types))
		for i, t := range p.Tasks.Types {
			types[i] = string(t)
		}
		for _, connection := range p.Connections {
			h.metrics.AddPolicy(connection, p.Name, p.Schedule.Spec, types)
		}
	}
	return h, nil
}

func options(c config.Connection, guards *iotdaclient.Guards, m *metrics.Metrics) iotdaclient.Options {
	return iotdaclient.Options{
		Name: c.Name, Endpoint: c.Endpoint, Region: c.Region, ProjectID: c.ProjectID, InstanceID: c.InstanceID,
		Credentials: iotdaclient.Credentials{
			AccessKey: c.Auth.AccessKey.Reveal(), SecretKey: c.Auth.SecretKey.Reveal(), SecurityToken: c.Auth.SecurityToken.Reveal(),
			Signing: iotdaclient.Signing(c.Auth.Signing), TokenFile: c.Auth.TokenFile, Token: c.Auth.Token.Reveal(),
		},
		Budget: iotdaclient.NewBudget(c.RequestsPerSecond, c.Burst), Guards: guards,
		Concurrency: c.Concurrency, Timeout: c.Timeout, CAFile: c.CAFile, UserAgent: "retryd/" + readVersion().Version,
		Backoff: iotdaclient.Backoff{
			Initial: c.Backoff.Initial, Multiplier: c.Backoff.Multiplier, Max: c.Backoff.Max, MaxElapsed: c.Backoff.MaxElapsed, Jitter: c.Backoff.Jitter,
		},
		Observe: func(x iotdaclient.Exchange) {
			m.Requests.WithLabelValues(c.Name, x.Op, x.Code).Inc()
			m.RequestDuration.WithLabelValues(c.Name, x.Op).Observe(x.Duration.Seconds())
			if x.Throttled {
				m.Throttled.WithLabelValues(c.Name).Inc()
			}
		},
	}
}

// open opens the ledger and exports it.
func (h *house) open(a *app, o store.Options) (err error) {
	o.Observe = h.metrics.ObserveWrite
	if h.store, err = store.Open(a.ctx, o); err != nil {
		return err
	}
	created, err := h.store.CreatedAt(a.ctx)
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	h.metrics.Ledger(created, h.store.Sizes)
	return nil
}

func (h *house) close() {
	if h.store != nil {
		if err := h.store.Close(); err != nil {
			h.log.Error("the ledger could not be closed", zap.Error(err))
		}
	}
	for _, c := range h.clients {
		c.Close()
	}
}

// scheduler makes the scheduler of the house.
func (h *house) scheduler(watch func(scheduler.Event)) *scheduler.Scheduler {
	return scheduler.New(scheduler.Options{
		Policies: h.config.Policies, Clients: h.clients, Store: h.store, Metrics: h.metrics, Log: h.log,
		Retention: h.config.Store.Retention, Watch: watch,
	})
}

// logger writes to w in the form and from the level that the configuration names.
func logger(c config.Log, w io.Writer) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime, encoding.EncodeDuration = "time", zapcore.RFC3339TimeEncoder, zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if c.Format == "console" {
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		level = zapcore.InfoLevel // the configuration was checked
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}
