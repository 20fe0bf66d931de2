package main

import (
	"net/http"
	"time"
)

type healthcheckCmd struct {
	asker
	Ready bool `help:"Ask whether it is ready (configuration loaded, ledger writable), not only whether it runs."`
}

// Run asks the daemon.
func (c healthcheckCmd) Run(a *app) error {
	path := "/-/healthy"
	if c.Ready {
		path = "/-/ready"
	}
	answer, err := c.ask(a, http.MethodGet, path, 5*time.Second)
	if err != nil {
		return err
	}
	printf(a.stdout, "%s\n", answer)
	return nil
}
