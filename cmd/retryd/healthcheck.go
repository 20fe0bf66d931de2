package main

import (
	"net/http"
	"time"
)

type healthcheckCmd struct {
	asker
	Ready bool `help:"Ask whether it is ready (configuration loaded, ledger writable), not only whether it runs."`
}

// Help says what the files have to do with it.
func (healthcheckCmd) Help() string {
	return "The daemon's answer counts. That a file of the configuration has been edited since, and cannot be used, is said only where it does not answer as it should: a probe asks every few seconds."
}

// Run asks the daemon.
func (c healthcheckCmd) Run(a *app) error {
	path := "/-/healthy"
	if c.Ready {
		path = "/-/ready"
	}
	a.toldBroken = true // it is not, yet
	answer, err := c.ask(a, http.MethodGet, path, 5*time.Second)
	if err != nil {
		if c.URL == "" {
			a.toldBroken = false
			_, _ = a.whereabouts() // says what is wrong with the files: that may be why
		}
		return err
	}
	printf(a.stdout, "%s\n", answer)
	return nil
}
