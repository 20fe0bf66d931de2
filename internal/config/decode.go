package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
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

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "%s must be %s, not %s", key, wanted(v), kind(n))
		return
	}
	text, ok := d.substitute(n, n.Value)
	if !ok {
		if v.Kind() == reflect.String {
			v.SetString(n.Value) // not empty, which would be a second problem
		}
		return
	}
	switch {
	case v.Type() == durationType:
		duration, err := parseDuration(text)
		if err != nil {
			d.problem(n, "%s must be a duration such as 30s, 15m, 12h or 14d, not %q", key, clip(text))
		}
		v.SetInt(int64(duration))
	case v.Kind() == reflect.Int:
		number, err := strconv.Atoi(text)
		if err != nil {
			d.problem(n, "%s must be a whole number, not %q", key, clip(text))
		}
		v.SetInt(int64(number))
	case v.Kind() == reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			d.problem(n, "%s must be a number, not %q", key, clip(text))
			number = 0
		}
		v.SetFloat(number)
	default:
		v.SetString(text)
	}
}

func wanted(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 15m"
	case v.Kind() == reflect.Int, v.Kind() == reflect.Float64:
		return "a number"
	}
	return "a text"
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}

var variable = regexp.MustCompile(`\$?\$\{([^}]*)\}`)

// substitute puts in environment variables. $${ stands for ${ itself.
func (d *decoder) substitute(n *yaml.Node, text string) (string, bool) {
	ok := true
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name := m[2 : len(m)-1]
		value, set := d.env(name)
		if !set {
			d.problem(n, "the environment variable %s is not set; write $${%s} if the text itself is meant", name, name)
			ok = false
		}
		return value
	})
	return out, ok
}

const day = 24 * time.Hour

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

func parseDuration(text string) (time.Duration, error) {
	total := time.Duration(0)
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, err
		}
		total, text = time.Duration(n)*day, m[2]
		if text == "" {
			return total, nil
		}
	}
	if text == "0" {
		return 0, errors.New("no unit")
	}
	rest, err := time.ParseDuration(text)
	if err != nil || rest < 0 || total+rest < total {
		return 0, errors.New("not a duration")
	}
	return total + rest, nil
}

// clip keeps a message readable whatever was in the file.
func clip(text string) string {
	if r := []rune(text); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return text
}

// suggest gives the nearest of some words, or all of them.
func suggest(word string, words []string, intro string) string {
	best, distance := "", 3
	for _, w := range words {
		if n := edits(strings.ToLower(word), strings.ToLower(w)); n < distance {
			best, distance = w, n
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return fmt.Sprintf("; %s %s", intro, strings.Join(words, ", "))
}

// edits is the number of letters to change, add or drop to get from a to b.
func edits(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitution := diagonal
			if a[i-1] != b[j-1] {
				substitution++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, substitution)
		}
	}
	return row[len(b)]
}
