package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestThePageOfCommandsIsWhatTheyTake(t *testing.T) {
	c := theModel()
	var b strings.Builder
	table(&b, "exit code", "meaning", func(row func(term, meaning string)) {
		for _, e := range exitsOf("") {
			row(fmt.Sprint(e.Code), e.Meaning)
		}
	})
	b.WriteString("\n## Environment\n\nA configuration can name more variables, as `${NAME}`.\n\n")
	table(&b, "variable", "meaning", func(row func(term, meaning string)) {
		for _, w := range environmentOf(c) {
			row(code(w.Name), w.Meaning)
		}
	})
	b.WriteString("\n## Flags of all commands\n")
	flagTables(&b, c)
	for _, leaf := range c.Leaves() {
		section(&b, leaf)
	}
	golden(t, "docs/commands.md", "\n## Exit codes\n\n", b.String())
}

func section(b *strings.Builder, c *command) {
	fmt.Fprintf(b, "\n## %s\n\n    %s\n", c.Words, c.Usage())
	for _, p := range paragraphs(c.Help + "\n\n" + c.Detail) {
		indent := ""
		if p.Verbatim {
			indent = "    "
		}
		fmt.Fprintf(b, "\n%s%s\n", indent, strings.Join(p.Lines, "\n"+indent))
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso: `retryd %s`.\n", strings.Join(c.Aliases, "`, `retryd "))
	}
	if len(c.Args) > 0 {
		b.WriteString("\n")
		table(b, "argument", "meaning", func(row func(term, meaning string)) {
			for _, v := range c.Args {
				row(code(v.ShortSummary()), v.meaning())
			}
		})
	}
	flagTables(b, c)
	var codes []string
	for _, e := range exitsOf(c.Words) {
		text := fmt.Sprint(e.Code)
		if e.Of != nil {
			text += " (" + strings.ToLower(e.Meaning[:1]) + strings.TrimSuffix(e.Meaning[1:], ".") + ")"
		}
		codes = append(codes, text)
	}
	fmt.Fprintf(b, "\nExit codes: %s.\n", strings.Join(codes, ", "))
}

func flagTables(b *strings.Builder, c *command) {
	for _, g := range c.Groups() {
		b.WriteString("\n")
		if g.Title != "" {
			fmt.Fprintf(b, "%s\n\n", g.Title)
		}
		b.WriteString("| flag | default | variable | meaning |\n|---|---|---|---|\n")
		for _, v := range g.Flags {
			names := v.Typed()
			if shown := v.Shown(); shown != "" {
				names[len(names)-1] += "=" + shown
			}
			help := v.Help
			if v.Required {
				help += " Required."
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", code(names...), code(v.Default), code(v.Tag.Envs...), cell(help))
		}
	}
}

func table(b *strings.Builder, term, meaning string, rows func(row func(term, meaning string))) {
	fmt.Fprintf(b, "| %s | %s |\n|---|---|\n", term, meaning)
	rows(func(term, meaning string) { fmt.Fprintf(b, "| %s | %s |\n", term, cell(meaning)) })
}

// code puts words into backquotes.
func code(words ...string) string {
	text := strings.Join(words, "`, `")
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}

// cell keeps a text in its cell, and its signs from being Markdown's.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}
