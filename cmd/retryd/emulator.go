package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"retryd/internal/emulator"
)

const (
	demoKey     = "EXAMPLEACCESSKEY"
	demoSecret  = "example-secret-key-of-the-emulator"
	demoProject = "0123456789abcdef0123456789abcdef"
	demoRegion  = "cn-north-4"

	demoToken    = "example-token-of-the-emulator"
	demoDomain   = "example-account"
	demoUser     = "example-user"
	demoPassword = "example-password-of-the-emulator"
)

func newEmulator(o emulator.Options) *emulator.Emulator {
	o.Region, o.Keys, o.Signing = demoRegion, map[string]string{demoKey: demoSecret}, "derived"
	if o.ProjectID == "" {
		o.ProjectID = demoProject
	}
	return emulator.New(o)
}

type emulatorCmd struct {
	Listen  string        `default:"127.0.0.1:9465" help:"Address to serve on."`
	Project string        `default:"0123456789abcdef0123456789abcdef" help:"Id of the project: a second emulator beside the first needs another."`
	Devices int           `default:"60" help:"Devices of each of the two campaigns; a third of them fail at first."`
	Upgrade time.Duration `default:"5s" help:"How long a re-run takes."`
	Latency time.Duration `default:"20ms" help:"How long a call takes."`
}

// Run serves the emulator.
func (c emulatorCmd) Run(a *app) error {
	if c.Devices < 10 || c.Devices > 30000 {
		return failure{exitUsage, fmt.Errorf("--devices must be between 10 and 30000")}
	}
	listener, err := listen(a.ctx, c.Listen)
	if err != nil {
		return unlistened("--listen", c.Listen, err)
	}
	e := newEmulator(emulator.Options{
		ProjectID: c.Project, Latency: c.Latency, Upgrade: c.Upgrade,
		Tokens: []string{demoToken}, Users: []emulator.User{{Domain: demoDomain, Name: demoUser, Password: demoPassword}},
	})
	scene, err := e.AddScene(c.Devices, time.Now())
	if err != nil {
		return err
	}
	printf(a.stdout, "%s", c.configuration(listener.Addr().String(), scene))
	err = serve(a.ctx, listener, e, func(ctx context.Context) error { <-ctx.Done(); return nil })
	accepted := 0
	for _, r := range e.Retries() {
		if r.Accepted {
			accepted++
		}
	}
	printf(a.stdout, "\n# The emulator answered %s and re-ran %s.\n", plural(len(e.Calls()), "call"), plural(accepted, "sub-task"))
	return err
}

// emulatorText is a configuration for the emulator, as a person would begin with one: slow enough to watch.
//
//go:embed emulator.yaml
var emulatorText string

func (c emulatorCmd) configuration(address string, scene emulator.Scene) string {
	return strings.NewReplacer(
		"ADDRESS", address, "REGION", demoRegion, "PROJECT", c.Project, "ACCESS", demoKey, "SECRET", demoSecret, "TOKEN", demoToken,
		"DOMAIN", demoDomain, "USER", demoUser, "PASSWORD", demoPassword, "FIRMWARE", scene.Firmware, "SOFTWARE", scene.Software,
	).Replace(emulatorText)
}

// sample is a configuration for the demo: seconds instead of hours.
func sample(address string) string {
	return strings.NewReplacer("ADDRESS", address, "PROJECT", demoProject, "REGION", demoRegion, "ACCESS", demoKey, "SECRET", demoSecret).Replace(`connections:
  - name: emulator
    endpoint: http://ADDRESS
    region: REGION
    project_id: PROJECT
    auth: {aksk: {access_key: ACCESS, secret_key: SECRET}}
    requests_per_second: 50
policies:
  - name: upgrades
    schedule: "@every 2s"
    tasks: {backlog: true}
    attempts:
      max: 3
      backoff: {initial: 2s, multiplier: 2, max: 10s}
      settle: 1s
`)
}
