package main

import (
	"embed"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash, zsh, fish or powershell."`
}

// Help says where the scripts belong.
func (completionCmd) Help() string {
	return `For the sessions to come:

  retryd completion bash > ~/.local/share/bash-completion/completions/retryd
  retryd completion zsh > "${fpath[1]}/_retryd"
  retryd completion fish > ~/.config/fish/completions/retryd.fish

For this one, in bash or in zsh:

  source <(retryd completion bash)

In PowerShell, in this session and, as a line in the file $PROFILE, in those to come:

  retryd completion powershell | Out-String | Invoke-Expression

The scripts do not run retryd: make those in files again after an upgrade. Those for bash, zsh and fish are tried in these shells. That for
PowerShell was not run with a PowerShell: it has only been read with its grammar.`
}

// Run prints the script.
func (c completionCmd) Run(a *app, parsed *kong.Context) error {
	return completionScript(a.stdout, c.Shell, modelOf(parsed.Model.Node))
}

//go:embed completion/*.tmpl
var completionTemplates embed.FS

// completionScript writes the script of a shell: all that can be completed is in it.
func completionScript(w io.Writer, shell string, c *command) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"function": func(words string) string {
			return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.TrimSpace("_retryd " + words))
		},
		"on": func(words string, v value) string { // where bash knows a flag
			if v.Global {
				return "*"
			}
			return shellQuoted(words)
		},
		"join":   strings.Join,
		"quote":  shellQuoted,
		"fish":   func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'" },
		"power":  powerQuoted,
		"zsh":    zshText,
		"except": func(v value) string { return strings.Join(v.Typed(), " ") },
	}).ParseFS(completionTemplates, "completion/*.tmpl")
	if err != nil {
		return fmt.Errorf("the templates of completions: %w", err)
	}
	if err := t.ExecuteTemplate(w, shell+".tmpl", c); err != nil {
		return fmt.Errorf("write the completion: %w", err)
	}
	return nil
}

func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// powerQuoted quotes a text for PowerShell, which takes curly quotes for quotes too.
func powerQuoted(text string) string {
	return "'" + strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b").Replace(text) + "'"
}

// zshText writes a text for a specification of _arguments, in single quotes.
func zshText(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`, "'", `'\''`).Replace(text)
}
