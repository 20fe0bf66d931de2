package config

import (
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// switchable is a section that `off` can stand for.
type switchable interface {
	switchOff()
	isOff() bool
}

// special is a value that can be written in several ways.
type special interface {
	read(d *decoder, n *yaml.Node, key string)
	written() any // as it is printed
	schema() map[string]any
}

func (c *count) read(d *decoder, n *yaml.Node, key string) {
	text, ok := "", n.Kind == yaml.ScalarNode
	if ok {
		if text, ok = d.substitute(n, n.Value); !ok {
			return
		}
	}
	if text == "off" || text == "false" {
		*c = 0
		return
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		d.problem(n, "%s must be a whole number, or off, not %s", key, said(n, text))
		return
	}
	*c = count(number)
}

func (c *count) written() any { return int(*c) }

func (c *count) schema() map[string]any {
	return map[string]any{"anyOf": []any{map[string]any{"type": "integer", "minimum": 0}, map[string]any{"const": "off"}}}
}

func said(n *yaml.Node, text string) string {
	if n.Kind != yaml.ScalarNode {
		return kind(n)
	}
	return strconv.Quote(clip(text))
}

func (r *rawNames) read(d *decoder, n *yaml.Node, key string) {
	r.place(n, nil)
	r.all, r.names = false, nil
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "all":
		r.all = true
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		d.list(n, reflect.ValueOf(&r.names).Elem(), key)
	default:
		d.problem(n, "%s must be all, or a list of names", key)
	}
}

func (r *rawNames) written() any {
	if r.all {
		return "all"
	}
	return r.names
}

func (r *rawNames) schema() map[string]any {
	return map[string]any{"anyOf": []any{map[string]any{"const": "all"}, listOfStrings()}}
}

func (r *rawSelector) read(d *decoder, n *yaml.Node, key string) {
	r.place(n, nil)
	r.all, r.names, r.labels = false, nil, nil
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "all":
		r.all = true
	case n.Kind == yaml.SequenceNode:
		if len(n.Content) == 0 {
			d.problem(n, "%s is empty: the policy would do nothing", key)
			return
		}
		d.list(n, reflect.ValueOf(&r.names).Elem(), key)
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		d.labels(n, reflect.ValueOf(&r.labels).Elem(), key)
	default:
		d.problem(n, "%s must be all, a list of names, or a mapping of labels, not %s", key, said(n, n.Value))
	}
}

func (r *rawSelector) written() any {
	switch {
	case r.all:
		return "all"
	case r.labels != nil:
		return r.labels
	}
	return r.names
}

func (r *rawSelector) schema() map[string]any {
	return map[string]any{"anyOf": []any{map[string]any{"const": "all"}, listOfStrings(), mapOfStrings()}}
}

func listOfStrings() map[string]any {
	return map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
}

func mapOfStrings() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
}

// labels reads a mapping of texts to texts.
func (d *decoder) labels(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s must be a mapping of names to values, not %s", key, kind(n))
		return
	}
	m := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || !nameForm.MatchString(k.Value) {
			d.problem(k, "a label's name must be up to 64 letters, digits and . _ -")
			continue
		}
		if _, twice := m[k.Value]; twice {
			d.problem(k, "label %s is here twice", k.Value)
			continue
		}
		var text string
		d.value(value, reflect.ValueOf(&text).Elem(), "label "+k.Value)
		m[k.Value] = text
	}
	v.Set(reflect.ValueOf(m))
}
