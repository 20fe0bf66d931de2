package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"retryd/internal/config"
)

// note is what a daemon leaves beside its ledger about where it listens: the configuration may be edited while it
// runs, and those who look for it, such as a container's health check, must not take it for dead then. It is of no
// use to whoever may not read the ledger, who goes by the configuration.
type note struct {
	Listen string `json:"listen"`
	TLS    bool   `json:"tls"`
	Socket string `json:"socket,omitempty"`
}

// noteOf gives the file; empty = there is no folder for one.
func noteOf(c *config.Config) string {
	if c.Store.Path != "" {
		return c.Store.Path + ".daemon"
	}
	state, _ := env("STATE_DIRECTORY")
	if state, _, _ = strings.Cut(state, ":"); state == "" {
		return ""
	}
	return filepath.Join(state, "retryd.daemon")
}

// readNote reads what a daemon has left. One that was killed has left it too: who reads it looks who answers.
func readNote(file string) (place, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return place{}, err
	}
	var n note
	err = json.Unmarshal(data, &n)
	return place{listen: n.Listen, socket: n.Socket, tls: n.TLS}, err
}

// leaveNote writes it, and gives what takes it away. The daemon works without: it is no error where that cannot be.
func (h *house) leaveNote(at net.Addr, c *config.Config) (remove func()) {
	file := noteOf(c)
	data, err := json.Marshal(note{at.String(), c.Server.Web.TLS, c.Server.Socket})
	if file == "" || err != nil {
		return func() {}
	}
	made := file + ".new"
	if err := errors.Join(os.WriteFile(made, append(data, '\n'), 0o600), os.Rename(made, file)); err != nil {
		h.log.Info("where this daemon listens could not be noted beside the ledger: commands go by the configuration", zap.Error(err))
		return func() {}
	}
	return func() { _ = os.Remove(file) } // what stays is looked at with care
}
