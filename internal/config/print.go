package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// hashOf names a value by its content; secrets count, and cannot be had back.
func hashOf(v any) string {
	data, err := json.Marshal(revealed(reflect.ValueOf(v)))
	if err != nil {
		panic(err) // our own types
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

// revealed gives a value as JSON would have it, with secrets as themselves.
func revealed(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return t.UnixNano()
		}
		m := map[string]any{}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m[v.Type().Field(i).Name] = revealed(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = revealed(v.Index(i))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			m[k.String()] = revealed(v.MapIndex(k))
		}
		return m
	case reflect.Interface:
		return revealed(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Invalid:
		return nil
	}
	return v.Interface()
}

// plainly gives a raw section as nested maps of keys to values.
func plainly(v reflect.Value) any {
	if s, ok := addressable(v).Interface().(special); ok {
		return s.written()
	}
	switch v.Kind() {
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("key"); key != "" {
				m[key] = plainly(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainly(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

func addressable(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// Print writes the configuration as it is in force, each value with the place that it comes
// from, and no secret.
func (c *Config) Print(w io.Writer) {
	p := printer{w: w, d: c.d}
	p.mapping(reflect.ValueOf(c.raw).Elem(), 0, "")
}

type printer struct {
	w io.Writer
	d *decoder
}

func (p printer) line(indent int, text, origin string) {
	if origin != "" {
		text = fmt.Sprintf("%-*s # %s", 60-indent, text, origin)
	}
	_, _ = fmt.Fprintf(p.w, "%s%s\n", strings.Repeat(" ", indent), text)
}

// mapping prints the keys of a section; first stands before the first of them.
func (p printer) mapping(v reflect.Value, indent int, first string) {
	place := v.Addr().Interface().(interface {
		where(string) *yaml.Node
		origin(string) string
		replaced(string) bool
	})
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key := tag.Get("key")
		if key == "" || key == "defaults" { // each entry shows what it has of them
			continue
		}
		n := place.where(key)
		if place.replaced(key) { // by others, which are in force
			continue
		}
		if key == "auth" && n == nil {
			p.line(indent, "auth:", "")
			p.line(indent+2, "provider: chain", "default")
			continue
		}
		if n == nil && (silent(v, key) || unset(v.Field(i))) {
			continue
		}
		origin := place.origin(key)
		if n != nil {
			origin = fmt.Sprintf("%s:%d", p.d.fileOf(n), n.Line)
		}
		p.value(v.Field(i), indent, first, key, origin)
		if first != "" {
			first = strings.Repeat(" ", len(first))
		}
	}
}

// silent tells whether a key that was not written says nothing, whatever its default: of auth only the
// one that was chosen does, and a rule without a backoff has the policy's.
func silent(v reflect.Value, key string) bool {
	switch v.Interface().(type) {
	case rawAuth:
		return true
	case rawRule:
		return key == "backoff"
	}
	return false
}

// unset tells whether a value that was not written says nothing.
func unset(v reflect.Value) bool {
	if s, ok := v.Addr().Interface().(switchable); ok && !s.isOff() {
		return false
	}
	return v.IsZero() && v.Kind() != reflect.Bool || (v.Kind() == reflect.Slice && v.Len() == 0)
}

func (p printer) value(v reflect.Value, indent int, first, key, origin string) {
	if s, ok := v.Addr().Interface().(special); ok {
		p.line(indent-len(first), first+key+": "+scalarText(reflect.ValueOf(s.written())), origin)
		return
	}
	if s, ok := v.Addr().Interface().(switchable); ok && s.isOff() {
		p.line(indent-len(first), first+key+": off", origin)
		return
	}
	switch {
	case v.Kind() == reflect.Struct:
		p.line(indent-len(first), first+key+":", "")
		p.mapping(v, indent+2, "")
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0:
		p.line(indent-len(first), first+key+":", "")
		for i := range v.Len() {
			p.mapping(v.Index(i), indent+4, "- ")
		}
	default:
		p.line(indent-len(first), first+key+": "+scalarText(v), origin)
	}
}

func (a at) where(key string) *yaml.Node { return a.values[key] }

func (a at) replaced(key string) bool { return replaced(a.node, key) }

func (a at) origin(key string) string {
	if from := a.from[key]; from != "" {
		return from
	}
	return "default"
}

// scalarText writes a value that fits a line, as YAML.
func scalarText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return inDays(value)
	case Secret:
		return hidden
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = scalarText(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var items []string
		for _, k := range v.MapKeys() {
			items = append(items, k.String()+": "+scalarText(v.MapIndex(k)))
		}
		sort.Strings(items)
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.String:
		return quoted(v.String())
	}
	return fmt.Sprint(v.Interface())
}

var looksVariable = regexp.MustCompile(`\$\{[^}]*\}`)

// quoted writes a text as it is read back.
func quoted(s string) string {
	s = looksVariable.ReplaceAllStringFunc(s, func(m string) string { return "$" + m })
	inQuotes := strconv.Quote(s)
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(s), &n); err == nil && len(n.Content) == 1 && n.Content[0].Value == s && n.Content[0].Tag == "!!str" &&
		!strings.ContainsAny(s, "?#,[]{}:&*!|>'%@`") && inQuotes == `"`+s+`"` {
		return s
	}
	return inQuotes
}
