package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

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

// load finds, reads and checks the configuration.
func (a *app) load() (*config.Config, error) {
	files, err := config.Find(a.config)
	if err != nil {
		return nil, err
	}
	read := config.Load
	if a.observe {
		read = config.Observing
	}
	c, err := read(files, env)
	return c, inFiles(files, err)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// house is everything that a configuration is run with. What is learnt of the platform (rates,
// refused credentials, logins) is kept in it from one configuration to the next.
type house struct {
	config   *config.Config
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	level    zap.AtomicLevel
	log      *zap.Logger
	guards   *iotdaclient.Guards
	budgets  map[string]*iotdaclient.Budget // by name; those of one connection by its identity
	sources  map[sourceKey]iotdaclient.Source
	demo     bool
	observe  bool          // nothing is sent
	replica  store.Replica // this process, to others with the same ledger
	store    *store.Store
	refusals *store.Store // of credentials, where there is no ledger

	around func(http.RoundTripper) http.RoundTripper       // the way to the platform; nil = as it is
	heard  func(connection string, x iotdaclient.Exchange) // of each call; nil = nobody
}

// sourceKey is what makes two connections share a login, and its token.
type sourceKey struct {
	auth      config.Auth
	projectID string // tokens are for one project
	ca        string
}

// build makes the parts that call nothing yet. The ledger is opened by the command, which
// knows whether it may be made.
func build(c *config.Config, logs config.Log, w io.Writer) *house {
	h := &house{
		config: c, level: zap.NewAtomicLevelAt(level(logs.Level)), registry: prometheus.NewRegistry(), guards: iotdaclient.NewGuards(),
		budgets: map[string]*iotdaclient.Budget{}, sources: map[sourceKey]iotdaclient.Source{}, replica: replica(),
	}
	h.log = logger(logs.Format, h.level, w)
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.metrics = metrics.New(h.registry, scheduler.Known())
	v := readVersion()
	h.metrics.Info(v.Version, v.Go)
	return h
}

// setup makes what the scheduler runs of a configuration. Nothing that runs is changed by it;
// rates puts the rates of shared budgets in force.
func (h *house) setup(c *config.Config) (s scheduler.Setup, rates func(), err error) {
	s = scheduler.Setup{Policies: c.Policies, Retention: c.Store.Retention, Hash: c.Hash}
	wanted := map[*iotdaclient.Budget]config.Budget{}
	for _, connection := range c.Connections {
		rate := c.BudgetOf(connection)
		if h.budgets[rate.Name] == nil {
			h.budgets[rate.Name] = iotdaclient.NewBudget(rate.RequestsPerSecond, rate.Burst)
		}
		wanted[h.budgets[rate.Name]] = rate
		client, err := h.client(connection, h.budgets[rate.Name])
		if err != nil {
			closeAll(s)
			return scheduler.Setup{}, nil, err
		}
		s.Connections = append(s.Connections, scheduler.Connection{Client: client, Identity: connection.Identity(), Budget: rate.Name, Hash: connection.Hash})
	}
	return s, func() {
		for budget, rate := range wanted {
			budget.Set(rate.RequestsPerSecond, rate.Burst)
		}
	}, nil
}

func closeAll(s scheduler.Setup) {
	for _, made := range s.Connections {
		made.Client.Close()
	}
}

func (h *house) client(c config.Connection, budget *iotdaclient.Budget) (*iotdaclient.Client, error) {
	source, err := h.source(c)
	if err != nil {
		return nil, fmt.Errorf("connection %q: %w", c.Name, err)
	}
	return iotdaclient.New(iotdaclient.Options{
		Name: c.Name, Endpoint: c.Endpoint, Region: c.Region, ProjectID: c.ProjectID, InstanceID: c.InstanceID,
		Credentials: source, Budget: budget, Guards: h.guards,
		Concurrency: c.Concurrency, Timeout: c.Timeout, CAFile: c.CAFile, UserAgent: userAgent(),
		Backoff: iotdaclient.Backoff{
			Initial: c.Backoff.Initial, Multiplier: c.Backoff.Multiplier, Max: c.Backoff.Max, MaxElapsed: c.Backoff.MaxElapsed, Jitter: c.Backoff.Jitter,
		},
		Around: h.around,
		LoggedIn: func(result iotdaclient.LoginResult) {
			h.metrics.Logins.WithLabelValues(c.Name, string(result)).Inc()
		},
		Observe: func(x iotdaclient.Exchange) {
			if h.heard != nil {
				h.heard(c.Name, x)
			}
			h.metrics.ObserveCall(c.Name, metrics.Call{
				Operation: x.Op, Code: x.Code, Duration: x.Duration, Throttled: x.Throttled, PerSecond: budget.PerSecond(), CredentialsEnd: x.Expires,
			})
		},
	})
}

// source gives who calls. Connections that say the same share one, over reloads too.
func (h *house) source(c config.Connection) (iotdaclient.Source, error) {
	key := sourceKey{auth: c.Auth}
	if c.Auth.IAM.User != "" {
		key.projectID, key.ca = c.ProjectID, c.CAFile+c.CASum
	}
	if h.sources[key] != nil {
		return h.sources[key], nil
	}
	s, err := h.newSource(c)
	if err == nil {
		h.sources[key] = s
	}
	return s, err
}

func (h *house) newSource(c config.Connection) (iotdaclient.Source, error) {
	switch a := c.Auth; {
	case a.AccessKey != "":
		return iotdaclient.Key{
			AccessKey: a.AccessKey.Reveal(), SecretKey: a.SecretKey.Reveal(), SecurityToken: a.SecurityToken.Reveal(), Signing: iotdaclient.Signing(a.Signing),
		}, nil
	case a.Token != "":
		return iotdaclient.Token(a.Token.Reveal()), nil
	case a.TokenFile != "":
		return iotdaclient.TokenFile(a.TokenFile), nil
	case a.IAM.User != "":
		return iotdaclient.NewLogin(iotdaclient.LoginOptions{
			Endpoint: a.IAM.Endpoint, Domain: a.IAM.Domain, User: a.IAM.User, Password: a.IAM.Password.Reveal(), ProjectID: c.ProjectID,
			Timeout: c.Timeout, CAFile: c.CAFile, UserAgent: userAgent(), Guards: h.guards,
		})
	default:
		return iotdaclient.NewProvider(a.Provider, iotdaclient.Signing(a.Signing))
	}
}

func userAgent() string { return "retryd/" + readVersion().Version }

// ledger gives the options for opening the ledger that the configuration names.
func (h *house) ledger(o store.Options) store.Options {
	o.Path, o.URL = h.config.Store.Path, h.config.Store.URL.Reveal()
	return o
}

// observeWrite counts one write of the ledger. One that a gate or another replica's lease has
// refused is none that went wrong.
func (h *house) observeWrite(d time.Duration, err error) {
	switch {
	case errors.Is(err, store.ErrFenced):
		h.metrics.LedgerFenced.Inc()
		err = nil
	case errors.As(err, new(*store.GateError)):
		err = nil
	}
	h.metrics.ObserveWrite(d, err)
	h.noteDamage(err)
}

// observeRead counts one read of the ledger that failed.
func (h *house) observeRead(err error) {
	h.metrics.LedgerReadErrors.Inc()
	h.noteDamage(err)
}

func (h *house) noteDamage(err error) {
	if store.Damaged(err) {
		h.metrics.LedgerDamaged.Set(1)
	}
}

// open opens the ledger and exports it.
func (h *house) open(a *app, o store.Options) (err error) {
	o.Observe, o.ObserveRead = h.observeWrite, h.observeRead
	if h.store, err = store.Open(a.ctx, o); err != nil {
		return err
	}
	created, err := h.store.CreatedAt(a.ctx)
	if err != nil {
		return errors.Join(err, h.store.Close())
	}
	h.metrics.Ledger(created, h.store.Sizes)
	if h.store.Created() && o.Path+o.URL != "" {
		if !h.demo {
			h.log.Warn("the ledger is new: attempts made before are not known, and every failed target starts at its first attempt", zap.String("ledger", h.store.Where()))
		}
		err := errors.Join(h.adoptRefusals(a), h.store.Announce(a.ctx, store.Action{Who: who(), Source: "retryd", What: "create ledger", Subject: h.store.Where()}))
		if err != nil {
			return errors.Join(err, h.store.Close())
		}
	}
	if !o.ReadOnly && o.Path+o.URL != "" {
		h.guards.Keep(h.store)
	}
	return nil
}

func (h *house) close() {
	for _, source := range h.sources {
		if login, ok := source.(*iotdaclient.Login); ok {
			login.Close()
		}
	}
	for _, s := range []*store.Store{h.store, h.refusals} {
		if s == nil {
			continue
		}
		if err := s.Close(); err != nil {
			h.log.Error("the ledger could not be closed", zap.Error(err))
		}
	}
}

// scheduler makes the scheduler of the house. Who calls it closes it.
func (h *house) scheduler(watch func(scheduler.Event)) (*scheduler.Scheduler, error) {
	setup, _, err := h.setup(h.config)
	if err != nil {
		return nil, err
	}
	return h.schedule(setup, watch), nil
}

// schedule does the same with a setup that is there.
func (h *house) schedule(setup scheduler.Setup, watch func(scheduler.Event)) *scheduler.Scheduler {
	return scheduler.New(scheduler.Options{
		Setup: setup, Store: h.store, Metrics: h.metrics, Log: h.log, Watch: watch, Replica: h.replica, LeaseTTL: h.config.Lease.TTL, Observe: h.observe,
	})
}

// replica describes this process to others with the same ledger.
func replica() store.Replica {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return store.Replica{ID: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6]), Host: host, Version: readVersion().Version}
}

// logger writes to w in one of the two forms.
func logger(format string, level zapcore.LevelEnabler, w io.Writer) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime, encoding.EncodeDuration = "time", zapcore.RFC3339TimeEncoder, zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if format == "console" {
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

func level(name string) zapcore.Level {
	l, err := zapcore.ParseLevel(name)
	if err != nil {
		return zapcore.InfoLevel // the configuration was checked
	}
	return l
}
