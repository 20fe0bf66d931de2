package main

import (
	"net"
	"net/http"
	"strings"
	"time"
)

type healthcheckCmd struct {
	daemonURL
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

// base gives the URL that was named, or where the configuration has the daemon listen.
func (d daemonURL) base(a *app) (string, error) {
	if d.URL != "" {
		return strings.TrimRight(d.URL, "/"), nil
	}
	c, err := a.load()
	if err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(c.Server.Listen) // it was checked
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
