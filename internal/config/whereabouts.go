package config

import (
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Whereabouts reads a configuration for a command that asks its daemon, or writes what a person says into its
// ledger: no mistake elsewhere in the files may take the brake away. broken is what Load says. Where it is not nil,
// c has Files, Server, Store and Lease only, and of these what is known: Listen, Socket, and Path or URL are empty where
// they are not. c is nil where nothing is known.
func Whereabouts(paths []string, env Env) (c *Config, broken error) {
	c, broken = Load(paths, env)
	if broken == nil {
		return c, nil
	}
	w := whereabouts{decoder: newDecoder(env)}
	for _, path := range paths {
		w.gather(path)
	}
	return w.config(), broken
}

// OnlyHere tells whether all that is wrong is that something cannot be read in this shell, which the daemon can read:
// variables of its environment, and files of secrets.
func OnlyHere(broken error) bool {
	var problems Problems
	return errors.As(broken, &problems) && !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Unread && !p.unset })
}

// whereabouts is a reading of the few sections that say where things are.
type whereabouts struct {
	*decoder
	documents []document
	unread    bool            // a file: what it says is not known
	lost      map[string]bool // keys whose lines are no YAML
}

var whereSections = []string{"server", "store", "lease"}

// gather reads a file, or those of a folder, as far as that goes.
func (w *whereabouts) gather(path string) {
	files, err := expand(path)
	if err != nil {
		w.unread = true
		return
	}
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			w.unread = true
			continue
		}
		root := w.document(file, data)
		if root == nil {
			root = w.salvage(string(data))
			w.own(root, file)
		}
		if root.Kind == yaml.MappingNode {
			w.documents = append(w.documents, document{file, only(root, whereSections...)})
		}
	}
}

var sectionBegins = regexp.MustCompile(`^([a-z_]+)\s*:`)

// salvage reads the sections of a text that is no YAML as a whole: a line that begins at its margin with a key begins one.
func (w *whereabouts) salvage(text string) *yaml.Node {
	sections, here := map[string][]string{}, ""
	for line := range strings.Lines(text) {
		if m := sectionBegins.FindStringSubmatch(line); m != nil {
			here = m[1]
		}
		sections[here] = append(sections[here], line)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(sections)), func(name string) bool { return name != "" }) {
		w.unread = true // it is empty, or begins no section that could be told
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range whereSections {
		if found := parsed(strings.Join(sections[name], "")); found != nil {
			root.Content = append(root.Content, found.Content...)
			continue
		}
		kept := ""
		for _, line := range sections[name] {
			if parsed(kept+line) != nil {
				kept += line
			} else {
				w.lose(name, line)
			}
		}
		if found := parsed(kept); found != nil {
			root.Content = append(root.Content, found.Content...)
		}
	}
	return root
}

// lose notes that a line cannot be read. The first one of a section has the section with it.
func (w *whereabouts) lose(section, line string) {
	if w.lost == nil {
		w.lost = map[string]bool{}
	}
	keys := map[string][]string{"server": {"listen", "socket", "web_config"}, "store": {"url"}}
	for _, key := range keys[section] {
		if strings.Contains(line, key) || sectionBegins.MatchString(line) {
			w.lost[key] = true
		}
	}
}

// parsed gives the mapping that a text is, nil where it is none.
func parsed(text string) *yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	return doc.Content[0]
}

// config makes of it what can be made.
func (w *whereabouts) config() *Config {
	if len(w.documents) == 0 {
		return nil
	}
	var raw rawFile
	raw.defaults()
	w.mapping(w.join(w.documents), reflect.ValueOf(&raw).Elem(), "the file")
	c := &Config{Files: w.order, Server: w.server(raw.Server), Store: w.store(raw.Store), Lease: Lease{TTL: raw.Lease.TTL}}
	if c.Lease.TTL < time.Second {
		c.Lease.TTL = 15 * time.Second
	}
	web := raw.Server.has("web_config") && c.Server.Web.fixed == "" // whether it is https is not known
	if web || w.unknown(raw.at, raw.Server.at, "server", "listen") || w.lost["web_config"] {
		c.Server.Listen = ""
	}
	if w.unknown(raw.at, raw.Server.at, "server", "socket") {
		c.Server.Socket = ""
	}
	if w.unknown(raw.at, raw.Store.at, "store", "url") || w.told[raw.Store.of("url_file")] {
		c.Store = Store{}
	}
	if c.Server.Listen+c.Server.Socket+c.Store.Path+c.Store.URL.Reveal() == "" {
		return nil
	}
	return c
}

// unknown tells whether a key of a section cannot be told: it is wrong, or would be in what cannot be read.
func (w *whereabouts) unknown(file, section at, name, key string) bool {
	switch {
	case w.told[section.of(key)] || w.lost[key]:
		return true
	case !file.has(name):
		return w.unread
	}
	return section.node == nil // it is there, and no mapping
}
