package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// lists are the sections that several files can add to; each other one is in one file.
var lists = []string{"budgets", "connections", "policies", "blackouts", "notify"}

// document is the one document of a file.
type document struct {
	file string
	root *yaml.Node
}

// join makes one document of those of all files, in their order.
func (d *decoder) join(documents []document) *yaml.Node {
	if len(documents) == 1 {
		return documents[0].root
	}
	joined := &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	first := map[string]*yaml.Node{}
	for _, doc := range documents {
		if doc.root.Kind != yaml.MappingNode {
			d.problem(doc.root, "the file must be a mapping of keys to values, not %s", kind(doc.root))
			continue
		}
		here := map[string]bool{}
		for i := 0; i+1 < len(doc.root.Content); i += 2 {
			k, v := doc.root.Content[i], doc.root.Content[i+1]
			earlier := first[k.Value]
			switch {
			case earlier == nil:
				if slices.Contains(lists, k.Value) && v.Kind == yaml.SequenceNode {
					clone := *v // it grows
					clone.Content = slices.Clone(v.Content)
					d.origin[&clone] = doc.file
					v = &clone
				}
				first[k.Value] = v
				joined.Content = append(joined.Content, k, v)
			case here[k.Value]:
				d.problem(k, "%s is here twice; the first is in line %d", k.Value, earlier.Line)
			case slices.Contains(lists, k.Value) && v.Kind == yaml.SequenceNode && earlier.Kind == yaml.SequenceNode:
				earlier.Content = append(earlier.Content, v.Content...)
			case slices.Contains(lists, k.Value):
				d.problem(v, "%s must be a list, not %s", k.Value, kind(v))
			default:
				d.problem(k, "%s is in %s:%d already: only one file can hold it", k.Value, d.fileOf(earlier), earlier.Line)
			}
			here[k.Value] = true
		}
	}
	return joined
}

// applyDefaults gives each entry of connections and policies the keys that it does not
// have itself.
func (d *decoder) applyDefaults(root *yaml.Node) {
	defaults := child(root, "defaults")
	for _, section := range []struct{ key, one string }{{"connections", "connection"}, {"policies", "policy"}} {
		common, entries := child(defaults, section.one), child(root, section.key)
		if common == nil || common.Kind != yaml.MappingNode || entries == nil || entries.Kind != yaml.SequenceNode {
			continue
		}
		if name := childKey(common, "name"); name != nil {
			d.problem(name, "name cannot be a default: each %s has its own", section.one)
		}
		for i, entry := range entries.Content {
			if entry.Kind == yaml.MappingNode {
				entries.Content[i] = d.merge(common, entry)
			}
		}
	}
}

// alternatives are keys of which one takes the place of the others.
var alternatives = [][2][]string{
	{{"budget"}, {"requests_per_second", "burst"}},
	{{"delays"}, {"initial", "multiplier", "max"}},
}

// merge gives the entry with what it lacks from the defaults: mappings key by key, lists and
// `auth` whole. The places of all values stay those at which they were written.
func (d *decoder) merge(common, entry *yaml.Node) *yaml.Node {
	merged := *entry
	merged.Content = slices.Clone(entry.Content)
	d.origin[&merged] = d.fileOf(entry)
	for i := 0; i+1 < len(common.Content); i += 2 {
		k, v := common.Content[i], common.Content[i+1]
		if k.Value == "name" || replaced(entry, k.Value) {
			continue
		}
		own := -1
		for j := 0; j+1 < len(entry.Content); j += 2 {
			if entry.Content[j].Value == k.Value {
				own = j + 1
			}
		}
		switch {
		case own < 0:
			merged.Content = append(merged.Content, k, v)
		case k.Value != "auth" && k.Value != "connections" && v.Kind == yaml.MappingNode && entry.Content[own].Kind == yaml.MappingNode:
			merged.Content[own] = d.merge(v, entry.Content[own])
		}
	}
	return &merged
}

// replaced tells whether the entry has keys that take the place of this one.
func replaced(entry *yaml.Node, key string) bool {
	for _, pair := range alternatives {
		for i := range pair {
			if slices.Contains(pair[i], key) && slices.ContainsFunc(pair[1-i], func(k string) bool { return child(entry, k) != nil }) {
				return true
			}
		}
	}
	return false
}

// child gives the value of a key of a mapping, nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func childKey(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i]
		}
	}
	return nil
}
