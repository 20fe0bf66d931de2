package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

type healthcheckCmd struct {
	URL   string `name:"url" placeholder:"URL" help:"Of the daemon, such as http://127.0.0.1:9464. Default: where the configuration has it listen."`
	Ready bool   `help:"Ask whether it is ready to retry, not only whether it runs."`
}

// Run asks the daemon.
func (c healthcheckCmd) Run(a *app) error {
	url := strings.TrimRight(c.URL, "/")
	if url == "" {
		loaded, err := a.load()
		if err != nil {
			return err
		}
		host, port, _ := net.SplitHostPort(loaded.Server.Listen) // it was checked
		if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
			host = "127.0.0.1"
		}
		url = "http://" + net.JoinHostPort(host, port)
	}
	path := "/-/healthy"
	if c.Ready {
		path = "/-/ready"
	}
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no daemon answers: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: HTTP %d: %s", url, path, resp.StatusCode, strings.TrimSpace(string(body)))
	}
	printf(a.stdout, "%s\n", strings.TrimSpace(string(body)))
	return nil
}
