package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
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
	file     string // the first one
	order    []string
	env      Env
	observe  bool                  // every policy is in mode observe, whatever is written
	origin   map[*yaml.Node]string // the file that a node is in
	problems Problems
	warnings Problems
	told     map[*yaml.Node]bool // has a problem: what follows from it is not another
	misspelt map[keyIn]bool      // was written otherwise: that it is missing is not another problem
	sum      hash.Hash           // of everything that was read
}

// keyIn is a key of a mapping.
type keyIn struct {
	mapping *yaml.Node
	key     string
}

func newDecoder(env Env) *decoder {
	return &decoder{env: env, origin: map[*yaml.Node]string{}, told: map[*yaml.Node]bool{}, misspelt: map[keyIn]bool{}, sum: sha256.New()}
}

func (d *decoder) fileOf(n *yaml.Node) string {
	if file := d.origin[n]; file != "" {
		return file
	}
	return d.file
}

func (d *decoder) at(n *yaml.Node, format string, args []any) Problem {
	p := Problem{File: d.fileOf(n), Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.Line > 0 {
		p.Line, p.Column = n.Line, n.Column
	}
	return p
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	if n != nil && n.Kind != yaml.MappingNode { // a mapping can lack several keys
		if d.told[n] {
			return
		}
		d.told[n] = true
	}
	// What is wrong with a default is wrong with each entry, and is said once.
	if p := d.at(n, format, args); !slices.Contains(d.problems, p) {
		d.problems = append(d.problems, p)
	}
}

func (d *decoder) warn(n *yaml.Node, format string, args ...any) {
	if p := d.at(n, format, args); !slices.Contains(d.warnings, p) {
		d.warnings = append(d.warnings, p)
	}
}

func (d *decoder) sorted(problems Problems) Problems {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(d.order, a.File), slices.Index(d.order, b.File)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return problems
}

// document reads the one document that a file may hold; nil where it cannot.
func (d *decoder) document(file string, data []byte) *yaml.Node {
	if d.file == "" {
		d.file = file
	}
	d.order = append(d.order, file)
	_, _ = fmt.Fprintf(d.sum, "%s %d\n%s", file, len(data), data)
	here := &yaml.Node{Line: 1, Column: 1}
	d.origin[here] = file
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := reader.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || (err == nil && isEmpty(&doc)):
		d.problem(here, "the file is empty: it needs connections and policies")
		return nil
	case err != nil:
		d.syntax(file, err, data)
		return nil
	}
	d.own(&doc, file)
	if err := reader.Decode(&second); err == nil {
		d.own(&second, file)
		d.problem(&second, "a second document begins here: a file holds one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(file, err, data)
		return nil
	}
	return doc.Content[0]
}

// own notes which file a node and all in it are in.
func (d *decoder) own(n *yaml.Node, file string) {
	d.origin[n] = file
	for _, c := range n.Content {
		d.own(c, file)
	}
}

func isEmpty(doc *yaml.Node) bool { return len(doc.Content) == 0 || isNull(doc.Content[0]) }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// bareVariable is one without quotes between { } or [ ], where YAML takes its brace for one of its own, and says
// little of it, with a line that can be far above.
var bareVariable = regexp.MustCompile(`^[^#]*?(?:[{\[].*[:,]|\[)\s*\$\{(\w+)\}`)

// bare finds the first, and gives where it begins; else the place that there is.
func bare(text string, otherwise *yaml.Node) (line, column int, name string) {
	for i, text := range strings.Split(text, "\n") {
		at := bareVariable.FindStringSubmatchIndex(text)
		if at != nil && strings.Count(text[:at[2]], `"`)%2 == 0 && strings.Count(text[:at[2]], "'")%2 == 0 {
			return i + 1, at[2] - 1, text[at[2]:at[3]]
		}
	}
	return otherwise.Line, otherwise.Column, ""
}

func (d *decoder) syntax(file string, err error, data []byte) {
	text := err.Error()
	m := syntaxLine.FindStringSubmatch(text)
	n := &yaml.Node{Line: 1, Column: 1}
	if line, err := strconv.Atoi(m[1]); err == nil && line > 0 {
		n.Line = line
	}
	d.origin[n] = file
	text = strings.TrimPrefix(text, m[0])
	var name string
	if n.Line, n.Column, name = bare(string(data), n); name != "" {
		d.problem(n, "${%[1]s} needs quotes between { } or [ ]: write \"${%[1]s}\"", name)
		return
	}
	if strings.HasPrefix(text, "unknown anchor") { // it quotes what may be a secret that begins with *
		text = "an alias of nothing; a text that begins with * needs quotes"
	}
	d.problem(n, "this is not YAML: %s", text)
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
	if s, ok := v.Addr().Interface().(special); ok {
		s.read(d, n, key)
		return
	}
	if s, ok := v.Addr().Interface().(switchable); ok && n.Kind == yaml.ScalarNode && (n.Value == "off" || n.Value == "false") {
		s.switchOff()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, key)
	case reflect.Map:
		d.labels(n, v, key)
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
		or := ""
		if _, ok := v.Addr().Interface().(switchable); ok {
			or = ", or off"
		}
		d.problem(n, "%s must be a mapping of keys to values%s, not %s", key, or, kind(n))
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
			d.misspelt[keyIn{n, nearest(k.Value, names)}] = true
		case values[k.Value] != nil:
			d.problem(k, "%s is here twice; the first is in line %d", k.Value, values[k.Value].Line)
		default:
			values[k.Value] = value
			d.value(value, v.Field(field), k.Value)
			d.vocabulary(value, v.Field(field), k.Value, v.Type().Field(field).Tag.Get("one"))
		}
	}
	v.Addr().Interface().(placed).place(n, values)
}

// vocabulary holds a word, or each of a list, against those that the key can hold.
func (d *decoder) vocabulary(n *yaml.Node, v reflect.Value, key, one string) {
	if one == "" || d.told[n] {
		return
	}
	words := strings.Split(one, "|")
	switch v.Kind() {
	case reflect.String:
		if !slices.Contains(words, v.String()) {
			d.problem(n, "%s cannot be %q%s", key, clip(v.String()), suggest(v.String(), words, "it is one of"))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			d.problem(n, "%s is empty: leave the key out for the default", key)
		}
		for i := range v.Len() {
			if word := v.Index(i).String(); !slices.Contains(words, word) && i < len(n.Content) {
				d.problem(n.Content[i], "%s cannot hold %q%s", key, clip(word), suggest(word, words, "it holds some of"))
			}
		}
	}
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
