package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The reference, the JSON Schema and the full example are made from the raw structs: their
// keys, comments, words and defaults. `go test ./internal/config -update` writes them.

// comments gives the comment of each field of each raw struct. A field that follows one with a
// comment, and has none, shares it.
func comments(t *testing.T) map[string]string {
	found := map[string]string{}
	for _, name := range []string{"raw.go", "raw_policy.go", "raw_notify.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		commentsOf(file, found)
	}
	return found
}

func commentsOf(file *ast.File, found map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		last := ""
		for _, field := range s.Fields.List {
			if field.Doc != nil {
				last = strings.Join(strings.Fields(field.Doc.Text()), " ")
			}
			for _, name := range field.Names {
				found[spec.Name.Name+"."+name.Name] = last
			}
		}
		return false
	})
}

// key is one key of the configuration.
type key struct {
	path, name, text, kind, standard, example string
	depth                                     int
	list                                      bool // an entry of a list begins with the keys below
	section                                   bool
	required                                  bool
	schema                                    map[string]any
}

// required are keys without which a file is refused.
var required = map[string]bool{
	"connections": true, "policies": true, "connections.name": true, "connections.endpoint": true, "connections.project_id": true,
	"policies.name": true, "policies.schedule": true, "budgets.name": true, "budgets.requests_per_second": true,
	"policies.windows.start": true, "policies.windows.duration": true, "policies.errors.name": true, "policies.errors.class": true,
	"blackouts.from": true, "blackouts.to": true, "connections.auth.iam.domain": true, "connections.auth.iam.user": true,
	"notify.name": true,
}

func walk(t *testing.T, texts map[string]string, v reflect.Value, path string, depth int, visit func(key)) map[string]any {
	if s, ok := v.Addr().Interface().(defaulted); ok {
		s.defaults()
	}
	properties := map[string]any{}
	var needed []string
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("key")
		if name == "" {
			continue
		}
		k := key{path: strings.TrimPrefix(path+"."+name, "."), name: name, depth: depth, example: field.Tag.Get("example")}
		k.text = texts[v.Type().Name()+"."+field.Name]
		require.NotEmpty(t, k.text, "%s.%s has no comment", v.Type().Name(), field.Name)
		k.required = required[k.path]
		if k.required {
			needed = append(needed, name)
		}
		if strings.HasPrefix(k.path, "defaults.") {
			schema := map[string]any{"type": "object", "description": k.text}
			properties[name] = schema
			visit(key{path: k.path, name: name, text: k.text, kind: "mapping", depth: depth})
			continue
		}
		f := v.Field(i)
		_, isSpecial := f.Addr().Interface().(special)
		k.section = f.Kind() == reflect.Struct && !isSpecial
		k.list = f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct
		k.kind, k.schema = kindOf(f, field.Tag.Get("one"))
		if !k.section && !k.list && !k.required {
			k.standard = defaultText(f)
		}
		visit(k)
		switch {
		case k.section:
			k.schema = walk(t, texts, f, k.path, depth+1, visit)
			if _, ok := f.Addr().Interface().(switchable); ok {
				k.schema = map[string]any{"anyOf": []any{k.schema, map[string]any{"enum": []any{"off", false}}}}
			}
		case k.list:
			k.schema = map[string]any{"type": "array", "items": walk(t, texts, reflect.New(f.Type().Elem()).Elem(), k.path, depth+1, visit)}
		}
		k.schema["description"] = k.text
		properties[name] = k.schema
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(needed) > 0 {
		schema["required"] = needed
	}
	return schema
}

const variableForm = `^.*\$\{[A-Za-z_][A-Za-z0-9_]*\}.*$`

// kindOf gives a key's type in words and as a schema. Where a number is expected, a
// ${VARIABLE} can stand.
func kindOf(v reflect.Value, one string) (string, map[string]any) {
	orVariable := func(schema map[string]any) map[string]any {
		return map[string]any{"anyOf": []any{schema, map[string]any{"type": "string", "pattern": variableForm}}}
	}
	if s, ok := v.Addr().Interface().(special); ok {
		kinds := map[string]string{"*config.count": "number or off", "*config.rawNames": "all, or list of names", "*config.rawSelector": "all, list of names, or labels"}
		return kinds[v.Addr().Type().String()], s.schema()
	}
	var words []any
	for _, w := range strings.Split(one, "|") {
		words = append(words, w)
	}
	switch {
	case v.Type() == durationType:
		return "duration", orVariable(map[string]any{"type": "string", "pattern": `^(\d+d)?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))*$`})
	case v.Kind() == reflect.Slice && v.Type().Elem() == durationType:
		return "list of durations", listOfStrings()
	case v.Kind() == reflect.Slice && one != "":
		return "list of " + strings.ReplaceAll(one, "|", ", "), map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"enum": words}}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return "list", nil
	case v.Kind() == reflect.Slice:
		return "list of texts", listOfStrings()
	case v.Kind() == reflect.Map:
		return "mapping", mapOfStrings()
	case v.Kind() == reflect.Struct:
		return "mapping", nil
	case v.Kind() == reflect.Bool:
		return "true or false", orVariable(map[string]any{"type": "boolean"})
	case v.Kind() == reflect.Int:
		return "number", orVariable(map[string]any{"type": "integer"})
	case v.Kind() == reflect.Float64:
		return "number", orVariable(map[string]any{"type": "number"})
	case one != "":
		return strings.ReplaceAll(one, "|", ", "), orVariable(map[string]any{"enum": words})
	}
	return "text", map[string]any{"type": []any{"string", "number"}}
}

func defaultText(v reflect.Value) string {
	if s, ok := v.Addr().Interface().(special); ok {
		v = reflect.ValueOf(s.written())
	}
	if v.Kind() == reflect.String && v.Len() == 0 || v.Kind() == reflect.Map && v.Len() == 0 {
		return ""
	}
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "[]"
	}
	return scalarText(v)
}

func golden(t *testing.T, file, text string) {
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, text == string(have), "%s is out of date: go test ./internal/config -update", file)
}

func TestTheReferenceSchemaAndFullExampleAreWhatTheCodeReads(t *testing.T) {
	texts := comments(t)
	var keys []key
	var raw rawFile
	schema := walk(t, texts, reflect.ValueOf(&raw).Elem(), "", 0, func(k key) { keys = append(keys, k) })
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", "retryd's configuration"
	delete(schema, "required") // one of several files may lack what another has
	data, err := json.MarshalIndent(schema, "", "  ")
	require.NoError(t, err)
	golden(t, "../../configs/retryd.schema.json", string(data)+"\n")
	golden(t, "../../docs/configuration.md", reference(keys))
	golden(t, "../../configs/full.yaml", fullExample(keys))
}

const referenceHead = `# Configuration

Every key of a configuration file. This page is made from the code that reads it.

` + "`--config`" + ` names a file, or a folder whose *.yaml are read in the order of their names; several can be
named. Without it ./retryd.yaml is used, else /etc/retryd/retryd.yaml. ` + "`budgets`, `connections`, `policies`, `blackouts`" + `
and ` + "`notify`" + ` of several files are joined; each other section is in one of them. ` + "`retryd check`" + ` says what is wrong, with
file, line and column; ` + "`retryd check --print`" + ` shows what is in force and where each value comes from.

Durations are written as 30s, 15m, 12h or 14d. ` + "`${NAME}`" + ` in a value is an environment variable, and one that is not
set is an error; ` + "`$${`" + ` is a plain ` + "`${`" + `. Patterns are RE2 and match the whole text, except ` + "`errors.message`" + `, which is
searched for. Each secret has a twin that ends in ` + "`_file`" + `, which is relative to $CREDENTIALS_DIRECTORY where that has such
a file, else to the file that names it.

An editor that knows JSON Schema helps with the keys if the file's first line is
` + "`# yaml-language-server: $schema=retryd.schema.json`" + `, with the path of [retryd.schema.json](../configs/retryd.schema.json).
[full.yaml](../configs/full.yaml) shows every key with its default.
`

func reference(keys []key) string {
	var b strings.Builder
	b.WriteString(referenceHead)
	cell := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
	}
	for _, k := range keys {
		if k.depth == 0 {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", k.name, k.text)
			continue
		}
		name := k.path[strings.Index(k.path, ".")+1:]
		standard := cell(k.standard)
		if k.required {
			standard = "required"
		}
		text := k.text
		if k.example != "" {
			text += " Example: " + cell(k.example)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, k.kind, standard, text)
	}
	return b.String()
}

// values are what the full example has for keys that have to be set.
var values = map[string]string{
	"connections.name": "prod", "policies.name": "upgrades", "connections.instance_id": `""`,
}

// shown are the keys that the full example sets; the others are comments.
var shown = map[string]bool{
	"connections": true, "connections.name": true, "connections.endpoint": true, "connections.project_id": true,
	"connections.auth": true, "connections.auth.aksk": true, "connections.auth.aksk.access_key": true, "connections.auth.aksk.secret_key": true,
	"policies": true, "policies.name": true, "policies.schedule": true,
}

func fullExample(keys []key) string {
	var b strings.Builder
	b.WriteString("# Every key that retryd knows. This file is made from the code that reads it. What is commented\n" +
		"# out shows its default, or an example where there is none; docs/configuration.md is the same as a page.\n")
	indent, entry := map[string]int{"": 0}, map[string]bool{}
	for _, k := range keys {
		parent := ""
		if i := strings.LastIndex(k.path, "."); i >= 0 {
			parent = k.path[:i]
		}
		in := indent[parent]
		if k.depth == 0 {
			b.WriteString("\n")
		}
		for _, line := range wrap(k.text, 96-in) {
			fmt.Fprintf(&b, "%s# %s\n", strings.Repeat(" ", in), line)
		}
		value := k.standard
		if value == "" || value == "[]" && k.example != "" {
			value = k.example
		}
		if v, ok := values[k.path]; ok {
			value = v
		}
		if value == "" && !k.section && !k.list && k.kind != "mapping" {
			value = `""`
		}
		if strings.Contains(value, "${") || strings.HasPrefix(value, "*") {
			value = `"` + value + `"`
		}
		dash := ""
		if entry[parent] {
			dash, entry[parent] = "- ", false
		}
		mark := "# "
		if shown[k.path] {
			mark = ""
		}
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(strings.Repeat(" ", in-len(dash))+mark+dash+k.name+": "+value, " "))
		switch {
		case k.list:
			indent[k.path], entry[k.path] = in+4, true
		default:
			indent[k.path] = in + 2
		}
	}
	return b.String()
}

func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
