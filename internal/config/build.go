package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

func taskTypes() []string    { return words(policy.TaskTypes()) }
func taskStatuses() []string { return words(policy.TaskStatuses()) }

func words[W ~string](in []W) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}

// build checks values and makes the Config of them.
func (d *decoder) build(r *rawFile) *Config {
	c := &Config{
		Server: d.server(r.Server),
		Log:    Log{Level: r.Log.Level, Format: r.Log.Format},
		Store:  d.store(r.Store),
		Lease:  Lease{TTL: r.Lease.TTL},
	}
	d.positive(r.Store.at, "retention", r.Store.Retention > 0)
	switch ttl := r.Lease.TTL; {
	case ttl < time.Second || ttl > 5*time.Minute:
		d.problem(r.Lease.of("ttl"), "ttl must be between 1s and 5m")
	case ttl < 5*time.Second:
		d.warn(r.Lease.of("ttl"), "with a ttl below 5s a budget changes hands whenever the database is slow for a moment")
	}
	c.Budgets = d.budgets(r)
	c.Connections = d.connections(r, c)
	d.unused(r)
	c.Policies = d.policies(r, c)
	c.Receivers = d.receivers(r, c.Policies)
	return c
}

func (d *decoder) budgets(r *rawFile) []Budget {
	names := map[string]*yaml.Node{}
	budgets := make([]Budget, 0, len(r.Budgets))
	for _, raw := range r.Budgets {
		if raw.node == nil {
			continue
		}
		d.name(raw.at, "budget", "budgets", raw.Name, names)
		if !raw.has("requests_per_second") {
			d.problem(raw.node, "requests_per_second is missing: what the account may call in a second")
		}
		d.rate(raw.at, raw.RequestsPerSecond)
		d.positive(raw.at, "burst", raw.Burst > 0)
		budgets = append(budgets, Budget{raw.Name, raw.RequestsPerSecond, raw.Burst})
	}
	return budgets
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

func (d *decoder) positive(a at, key string, ok bool) {
	if !ok && a.has(key) {
		d.problem(a.of(key), "%s must be more than 0", key)
	}
}

// slowestRate is what it takes to list, read and retry within the 30 s that a read may be old.
const slowestRate = 0.2

func (d *decoder) rate(a at, perSecond float64) {
	if a.has("requests_per_second") && perSecond < slowestRate {
		d.problem(a.of("requests_per_second"), "requests_per_second must be at least %g: with less, what was read is too old before it can be retried by", slowestRate)
	}
}

func (d *decoder) between(a at, key string, value, low, high float64) {
	if value < low || value > high {
		d.problem(a.of(key), "%s must be between %g and %g", key, low, high)
	}
}

// required tells whether a key is there with something in it.
func (d *decoder) required(a at, key, value, hint string) bool {
	switch {
	case d.misspelt[keyIn{a.node, key}] && !a.has(key):
		return false
	case !a.has(key):
		d.problem(a.node, "%s is missing: %s", key, hint)
		return false
	case value == "" && a.values[key].Kind == yaml.ScalarNode && a.values[key].Tag != "!!null":
		d.problem(a.of(key), "%s is empty: %s", key, hint)
		return false
	}
	return value != "" && !d.unfilled(a, key, value, hint)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// wrongKind tells whether a list is there as something else, which has been said.
func wrongKind(a at, key string) bool { return a.has(key) && a.values[key].Kind != yaml.SequenceNode }

// name checks a name and that it is the only one.
func (d *decoder) name(a at, what, several, name string, taken map[string]*yaml.Node) {
	if !d.required(a, "name", name, "each "+what+" needs one") {
		return
	}
	if !nameForm.MatchString(name) {
		d.problem(a.of("name"), "name must be up to 64 letters, digits and . _ -, not %q", clip(name))
		return
	}
	if first := taken[name]; first != nil {
		d.problem(a.of("name"), "two %s are called %q; the first is in line %d", several, name, first.Line)
		return
	}
	taken[name] = a.of("name")
}

// path makes a path of the file relative to the file's folder; credentials are looked
// for in systemd's folder for them first.
func (d *decoder) path(n *yaml.Node, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	if folder, _ := d.env("CREDENTIALS_DIRECTORY"); folder != "" {
		if path := filepath.Join(folder, name); exists(path) {
			return path
		}
	}
	return absolute(filepath.Join(d.folder(n), name))
}

// folder gives the folder of the file that a node is in.
func (d *decoder) folder(n *yaml.Node) string { return filepath.Dir(d.fileOf(n)) }

// read gives what is in a file that the configuration names, which is part of what a reload
// compares.
func (d *decoder) read(n *yaml.Node, key, name string) ([]byte, bool) {
	path := d.path(n, name)
	data, err := os.ReadFile(path)
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		before := len(d.problems)
		d.problem(n, "%s cannot be read: %s: %s", key, pathError.Path, pathError.Err)
		for i := range d.problems[before:] {
			d.problems[before+i].Unread = true
		}
		return nil, false
	}
	_, _ = fmt.Fprintf(d.sum, "%s %d\n%s", path, len(data), data)
	return data, true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// secret gives a value, or what is in the file that is named instead.
func (d *decoder) secret(a at, key string, value Secret, file string) Secret {
	fileKey := key + "_file"
	switch {
	case a.has(key) && a.has(fileKey):
		d.problem(a.of(fileKey), "%s and %s are both set: one of them has to go", key, fileKey)
	case a.has(key) && value == "" && key != "security_token":
		d.problem(a.of(key), "%s is empty", key)
	case a.has(fileKey):
		data, ok := d.read(a.of(fileKey), fileKey, file)
		switch text := strings.TrimRight(string(data), "\r\n"); {
		case !ok:
		case text == "":
			d.problem(a.of(fileKey), "%s is empty: %s", fileKey, d.path(a.of(fileKey), file))
		default:
			return Secret(text)
		}
	}
	return value
}
