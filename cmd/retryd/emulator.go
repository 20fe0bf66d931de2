package main

import (
	"context"
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
)

func newEmulator(o emulator.Options) *emulator.Emulator {
	o.ProjectID, o.Region, o.Keys, o.Signing = demoProject, demoRegion, map[string]string{demoKey: demoSecret}, "derived"
	return emulator.New(o)
}

type emulatorCmd struct {
	Listen  string        `default:"127.0.0.1:9465" help:"Address to serve on."`
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
		return fmt.Errorf("--listen: %w", err)
	}
	e := newEmulator(emulator.Options{Latency: c.Latency, Upgrade: c.Upgrade})
	scene, err := e.AddScene(c.Devices, time.Now())
	if err != nil {
		return err
	}
	printf(a.stdout, "An emulated IoTDA serves on http://%s. Tasks: %s (firmware), %s (software).\n", listener.Addr(), scene.Firmware, scene.Software)
	printf(a.stdout, "Put this into retryd.yaml, then try: retryd plan; retryd sweep --new-ledger; retryd plan\n\n%s", sample(listener.Addr().String()))
	err = serve(a.ctx, listener, e, func(ctx context.Context) error { <-ctx.Done(); return nil })
	accepted := 0
	for _, r := range e.Retries() {
		if r.Accepted {
			accepted++
		}
	}
	printf(a.stdout, "\nThe emulator answered %s and re-ran %s.\n", plural(len(e.Calls()), "call"), plural(accepted, "sub-task"))
	return err
}

// sample is a configuration for the emulator: seconds instead of hours.
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
