package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

type manCmd struct {
	Dir string `arg:"" optional:"" help:"Folder to write retryd.1 to, such as /usr/local/share/man/man1. Default: the standard output."`
}

// Run writes the page.
func (c manCmd) Run(a *app, parsed *kong.Context) error {
	text := manPage(modelOf(parsed.Model.Node), readVersion().Version, commitDay())
	if c.Dir == "" {
		_, err := io.WriteString(a.stdout, text)
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil { //nolint:gosec // everybody may read manuals
		return fmt.Errorf("write the man page: %w", err)
	}
	file := filepath.Join(c.Dir, "retryd.1")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // everybody may read manuals
		return fmt.Errorf("write the man page: %w", err)
	}
	printf(a.stdout, "%s is written.\n", file)
	return nil
}

// commitDay dates the page, so that one version always makes the same.
func commitDay() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				day, _, _ := strings.Cut(s.Value, "T")
				return day
			}
		}
	}
	return ""
}

// manPage writes one page with all commands, to be searched in one go.
func manPage(c *command, version, day string) string {
	m := &roff{}
	m.line(`.TH RETRYD 1 "` + day + `" "retryd ` + escaped(version) + `"`)
	m.heading("SH", "NAME")
	m.line(`retryd \- retry the failed sub\-tasks of Huawei Cloud IoTDA batch tasks`)
	m.heading("SH", "SYNOPSIS")
	m.line(bold("retryd") + " [" + bold("-c") + " " + italic("FILE") + "] " + italic("command") + " [" + italic("argument") + " ...]")
	m.heading("SH", "DESCRIPTION")
	m.prose(paragraphs(c.Help))
	m.heading("SH", "OPTIONS")
	m.groups(c.Groups())
	m.heading("SH", "COMMANDS")
	for _, leaf := range c.Leaves() {
		m.command(leaf)
	}
	m.heading("SH", "EXIT STATUS")
	for _, e := range exitsOf("") {
		m.item(bold(fmt.Sprint(e.Code)), e.Meaning)
	}
	m.heading("SH", "ENVIRONMENT")
	for _, v := range environmentOf(c) {
		m.item(bold(v.Name), v.Meaning)
	}
	m.heading("SH", "FILES")
	for _, f := range files {
		m.item(italic(f.Name), f.Meaning)
	}
	return m.String()
}

// roff is text for man, in the macros of man(7).
type roff struct{ strings.Builder }

func (m *roff) line(text string) { _, _ = m.WriteString(text + "\n") }

// heading writes a section's, SH, or that of one within it, SS.
func (m *roff) heading(macro, text string) {
	m.line("." + macro + ` "` + strings.ReplaceAll(escaped(text), `"`, `\(dq`) + `"`)
}

// prose writes paragraphs; the first goes on after a heading.
func (m *roff) prose(all []paragraph) {
	for i, p := range all {
		if i > 0 {
			m.line(".PP")
		}
		if p.Verbatim {
			m.line(".RS 4\n.nf")
		}
		for _, line := range p.Lines {
			m.line(escaped(line))
		}
		if p.Verbatim {
			m.line(".fi\n.RE")
		}
	}
}

// item writes a term with its meaning under it.
func (m *roff) item(term, meaning string) {
	m.line(".TP\n" + term)
	m.line(escaped(meaning))
}

func (m *roff) groups(groups []group) {
	for _, g := range groups {
		if g.Title != "" {
			m.line(".PP")
			m.line(escaped(g.Title))
		}
		for _, v := range g.Flags {
			m.item(flagTerm(v), v.meaning())
		}
	}
}

func (m *roff) command(c *command) {
	m.heading("SS", c.Usage())
	m.prose(paragraphs(c.Help + "\n\n" + c.Detail))
	if len(c.Aliases) > 0 {
		m.line(".PP")
		m.line("Also " + bold("retryd "+strings.Join(c.Aliases, ", retryd ")) + ".")
	}
	for _, v := range c.Args {
		m.item(italic(v.Name), v.meaning())
	}
	m.groups(c.Groups())
	for _, e := range exitsOf(c.Words) {
		if e.Of != nil {
			m.item("Exit status "+bold(fmt.Sprint(e.Code)), e.Meaning)
		}
	}
}

// flagTerm shows the names of a flag, and what is to be put there.
func flagTerm(v value) string {
	terms := v.Typed()
	for i := range terms {
		terms[i] = bold(terms[i])
	}
	text := strings.Join(terms, ", ")
	if shown := v.Shown(); shown != "" {
		text += "=" + italic(shown)
	}
	return text
}

func bold(text string) string   { return `\fB` + escaped(text) + `\fP` }
func italic(text string) string { return `\fI` + escaped(text) + `\fP` }

// escaped keeps roff from seeing commands in a text, and from printing what looks like ASCII but is not.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	var b strings.Builder
	for _, r := range text {
		if r < 128 {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\[u%04X]`, r)
	}
	if strings.HasPrefix(text, ".") {
		return `\&` + b.String()
	}
	return b.String()
}
