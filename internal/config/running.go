package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

// Running is what a daemon tells of the configuration that it has in force: everything that decides,
// and no secret.
type Running struct {
	Hash        string              `json:"hash"`
	Ledger      string              `json:"ledger"` // where it is; nobody's password
	Connections []RunningConnection `json:"connections"`
	Policies    []RunningPolicy     `json:"policies"`
	Text        string              `json:"configuration"` // as Print writes it
}

// RunningConnection is who a connection is, whatever it is called.
type RunningConnection struct {
	Name     string `json:"name"`
	Identity string `json:"identity"`
}

// RunningPolicy is what the text does not say of a policy.
type RunningPolicy struct {
	Name       string   `json:"name"`
	Hash       string   `json:"hash"`
	IncludeIDs []string `json:"include_ids"` // what is in targets.include_file; null = it names none
	ExcludeIDs []string `json:"exclude_ids"`
}

// Running gives the configuration for whoever wants to compare it with another. Where the ledger
// is, its caller knows.
func (c *Config) Running(ledger string) Running {
	var text strings.Builder
	c.Print(&text)
	r := Running{Hash: c.Hash, Ledger: ledger, Text: text.String()}
	for _, connection := range c.Connections {
		r.Connections = append(r.Connections, RunningConnection{connection.Name, connection.Identity()})
	}
	for _, p := range c.Policies {
		r.Policies = append(r.Policies, RunningPolicy{p.Name, p.Hash, listed(p.Targets.IncludeIDs), listed(p.Targets.ExcludeIDs)})
	}
	return r
}

func listed(ids map[string]bool) []string {
	if ids == nil {
		return nil
	}
	return slices.AppendSeq(make([]string, 0, len(ids)), maps.Keys(ids))
}

// Decides gives the policies, as they decide in the daemon. Nothing is read beside the text, which
// need not have been written on this machine.
func (r Running) Decides() ([]*policy.Policy, error) {
	var doc yaml.Node
	err := yaml.Unmarshal([]byte(r.Text), &doc)
	if err == nil && len(doc.Content) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("the daemon's configuration is not YAML: %w", err)
	}
	root := only(doc.Content[0], "store", "connections", "policies", "blackouts")
	for _, n := range entries(root, "connections") {
		*n = *only(n, "name", "endpoint", "project_id", "instance_id", "labels")
		n.Content = append(n.Content, anybody().Content...)
	}
	for _, n := range entries(root, "policies") {
		if targets := child(n, "targets"); targets != nil {
			*targets = *without(targets, "include_file", "exclude_file")
		}
	}
	if store := child(root, "store"); store != nil {
		*store = *only(store, "retention")
	}
	d := newDecoder(func(string) (string, bool) { return "", false })
	d.file = "the daemon's configuration"
	d.order = []string{d.file}
	c, err := d.config([]document{{d.file, root}})
	if err != nil {
		return nil, fmt.Errorf("the daemon's configuration cannot be read by this version of retryd: %w", err)
	}
	return c.Policies, r.complete(c.Policies)
}

// complete adds to policies what the text does not say.
func (r Running) complete(policies []*policy.Policy) error {
	for _, p := range policies {
		i := slices.IndexFunc(r.Policies, func(known RunningPolicy) bool { return known.Name == p.Name })
		if i < 0 {
			return fmt.Errorf("the daemon's answer does not hold together: it says nothing of policy %q", p.Name)
		}
		known := r.Policies[i]
		p.Hash, p.Targets.IncludeIDs, p.Targets.ExcludeIDs = known.Hash, set(known.IncludeIDs), set(known.ExcludeIDs)
	}
	return nil
}

func set(ids []string) map[string]bool {
	if ids == nil {
		return nil
	}
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// anybody is who calls where nobody is going to.
func anybody() *yaml.Node {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("auth: {token: {value: nobody}}"), &n); err != nil {
		panic(err) // the text is above
	}
	return n.Content[0]
}

// entries gives the mappings of a list.
func entries(root *yaml.Node, key string) []*yaml.Node {
	list := child(root, key)
	if list == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(list.Content), func(n *yaml.Node) bool { return n.Kind != yaml.MappingNode })
}

func only(n *yaml.Node, keys ...string) *yaml.Node {
	return filtered(n, func(key string) bool { return slices.Contains(keys, key) })
}

func without(n *yaml.Node, keys ...string) *yaml.Node {
	return filtered(n, func(key string) bool { return !slices.Contains(keys, key) })
}

// filtered gives a mapping with some of its keys.
func filtered(n *yaml.Node, keep func(key string) bool) *yaml.Node {
	some := *n
	some.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Kind != yaml.MappingNode || keep(n.Content[i].Value) {
			some.Content = append(some.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &some
}
