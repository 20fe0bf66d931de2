package config

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// webLines are the toolkit's errors that name a line. What they say in the words of Go is said in
// ours, without the values that they quote: one could be a password.
var webLines = []struct {
	form *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`^line (\d+): field (.+) not found in type .*$`), `unknown key "$2"`},
	{regexp.MustCompile(`^line (\d+): (?:key|field) "?(.+?)"? already set in .*$`), `$2 is here twice`},
	{regexp.MustCompile(`^line (\d+): cannot unmarshal .*$`), `the value is of the wrong kind`},
}

// webWords are the keys that an error without a line is about, by words that are in it.
var webWords = []struct {
	words string
	keys  []string
}{
	{"failed to read cert_file", []string{"cert_file"}},
	{"failed to read key_file", []string{"key_file"}},
	{"X509KeyPair", []string{"cert_file", "cert"}},
	{"ClientAuth", []string{"client_auth_type"}},
	{"client CA", []string{"client_ca_file", "client_ca"}},
	{"open ", []string{"client_ca_file"}},
	{"cipher", []string{"cipher_suites"}},
	{"curve", []string{"curve_preferences"}},
	{"TLS version", []string{"min_version", "max_version"}},
	{"HTTP header", []string{"headers"}},
	{"invalid value", []string{"headers"}},
	{"", []string{"tls_server_config"}},
}

// webProblems gives each of the toolkit's errors its place.
func (d *decoder) webProblems(doc *yaml.Node, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		place, said := webLine(doc, line)
		if place == nil {
			place, said = webKey(doc, line), line
		}
		d.problem(place, "%s", said)
	}
}

func webLine(doc *yaml.Node, line string) (*yaml.Node, string) {
	for _, l := range webLines {
		m := l.form.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if place := firstIn(doc, n); err == nil && place != nil {
			return place, l.form.ReplaceAllString(line, l.text)
		}
	}
	return nil, ""
}

func webKey(doc *yaml.Node, line string) *yaml.Node {
	for _, w := range webWords {
		if place := inside(doc, w.keys...); place != nil && strings.Contains(line, w.words) {
			return place
		}
	}
	return doc
}

// firstIn gives the first node that begins in a line.
func firstIn(n *yaml.Node, line int) *yaml.Node {
	if n.Line == line && n.Kind != yaml.DocumentNode && n.Kind != yaml.MappingNode {
		return n
	}
	for _, c := range n.Content {
		if found := firstIn(c, line); found != nil {
			return found
		}
	}
	return nil
}

// inside gives the value of the first of some keys that is in a mapping, or in a mapping in it.
func inside(n *yaml.Node, keys ...string) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.DocumentNode {
		return inside(n.Content[0], keys...)
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for _, key := range keys {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	for i := 1; i < len(n.Content); i += 2 {
		if found := inside(n.Content[i], keys...); found != nil {
			return found
		}
	}
	return nil
}
