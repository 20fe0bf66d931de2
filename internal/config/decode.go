package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder reads YAML nodes into raw structs and collects what is wrong.
type decoder struct {
	file     string
	env      Env
	problems Problems
	warnings []string
	told     map[*yaml.Node]bool // has a problem: what follows from it is not another
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	if n != nil && n.Kind != yaml.MappingNode { // a mapping can lack several keys
		if d.told[n] {
			return
		}
		d.told[n] = true
	}
	p := Problem{File: d.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.Line > 0 {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) warn(n *yaml.Node, format string, args ...any) {
	d.warnings = append(d.warnings, Problem{d.file, n.Line, n.Column, fmt.Sprintf(format, args...)}.String())
}

func (d *decoder) sorted() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.problems
}

// document reads the one document that a file may hold.
func (d *decoder) document(data []byte, raw *rawFile) {
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := reader.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || (err == nil && isEmpty(&doc)):
		d.problem(nil, "the file is empty: it needs connections and policies")
		return
	case err != nil:
		d.syntax(err)
		return
	}
	if err := reader.Decode(&second); err == nil {
		d.problem(&second, "a second document begins here: a file holds one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return
	}
	raw.defaults()
	d.mapping(doc.Content[0], reflect.ValueOf(raw).Elem(), "the file")
}

func isEmpty(doc *yaml.Node) bool { return len(doc.Content) == 0 || isNull(doc.Content[0]) }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func (d *decoder) syntax(err error) {
	text := err.Error()
	m := syntaxLine.FindStringSubmatch(text)
	n := &yaml.Node{Line: 1, Column: 1}
	if line, err := strconv.Atoi(m[1]); err == nil && line > 0 {
		n.Line = line
	}
	d.problem(n, "this is not YAML: %s", strings.TrimPrefix(text, m[0]))
}

var durationType = reflect.TypeFor[time.Duration]()

// value reads one node. key is what the value is called in messages.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.problem(n, "%s is an alias: write the value out", key)
		return
	case isNull(n):
		d.problem(n, "%s has no value: give one, or leave the key out", key)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, key)
	case reflect.Slice:
		d.list(n, v, key)
	default:
		d.scalar(n, v, key)
	}
}

type placed interface {
	place(*yaml.Node, map[string]*yaml.Node)
}

type defaulted interface{ defaults() }

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s must be a mapping of keys to values, not %s", key, kind(n))
		return
	}
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("key"); name != "" {
			fields[name] = i
			names = append(names, name)
		}
	}
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		field, known := fields[k.Value]
		switch {
		case k.Value == "<<":
			d.problem(k, "merging with << is not supported: write the keys out")
		case k.Kind != yaml.ScalarNode || !known:
			d.problem(k, "unknown key %q%s", clip(k.Value), suggest(k.Value, names, "the keys here are"))
		case values[k.Value] != nil:
			d.problem(k, "%s is here twice; the first is in line %d", k.Value, values[k.Value].Line)
		default:
			values[k.Value] = value
			d.value(value, v.Field(field), k.Value)
		}
	}
	v.Addr().Interface().(placed).place(n, values)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "%s must be a list, not %s", key, kind(n))
		return
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		if e, ok := list.Index(i).Addr().Interface().(defaulted); ok {
			e.defaults()
		}
		d.value(item, list.Index(i), "an entry of "+key)
	}
	v.Set(list)
}
