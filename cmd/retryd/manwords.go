package main

import (
	"cmp"
	"slices"
	"strings"
)

// word is a name that the manual explains.
type word struct{ Name, Meaning string }

// variables are those of the environment that no flag is for.
var variables = []word{
	{"RETRYD_PASSWORD", "The password of --user, where the running daemon asks for one."},
	{"HUAWEICLOUD_SDK_AK", "With HUAWEICLOUD_SDK_SK the access key, where the configuration names none."},
	{"HUAWEICLOUD_SDK_SK", "The secret key."},
	{"HUAWEICLOUD_SDK_CREDENTIALS_FILE", "The profile of Huawei Cloud's SDK, where the key is not in the environment. Default: ~/.huaweicloud/credentials."},
	{"HC_CONTAINER_CREDENTIALS_FULL_URI", "Where a pod's identity is asked for. The platform sets it."},
	{"HTTPS_PROXY", "The proxy to the platform; NO_PROXY excepts hosts."},
	{"STATE_DIRECTORY", "The folder of the ledger, unless store.url has a whole path. systemd sets it."},
	{"CREDENTIALS_DIRECTORY", "Where files of secrets are looked for first. systemd sets it."},
}

// files are those that retryd looks for by itself.
var files = []word{
	{"retryd.yaml", "The configuration, in the working directory."},
	{"/etc/retryd/retryd.yaml", "The configuration, where that is not there."},
	{"retryd.db", "The ledger, in $STATE_DIRECTORY or else beside the configuration, unless store.url names another place."},
}

// environmentOf gives all variables that retryd reads, those of flags among them. A configuration can name others.
func environmentOf(c *command) []word {
	all := slices.Clone(variables)
	for _, under := range c.All() {
		for _, v := range under.Flags {
			for _, name := range v.Tag.Envs {
				if !slices.ContainsFunc(all, func(w word) bool { return w.Name == name }) {
					all = append(all, word{name, "Stands for --" + v.Name + ". " + v.Help})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b word) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// meaning is the help of a flag or an argument with its default and its variable.
func (v value) meaning() string {
	text := v.Help
	if v.HasDefault && v.Default != "" {
		text += " Default: " + v.Default + "."
	}
	if len(v.Tag.Envs) > 0 {
		text += " Or $" + strings.Join(v.Tag.Envs, ", $") + "."
	}
	if v.Required && v.Flag != nil {
		text += " Required."
	}
	return text
}

// paragraph is some lines of a text in go/doc's form, which --help prints. Those that are indented stay as they are.
type paragraph struct {
	Verbatim bool
	Lines    []string
}

func paragraphs(text string) (all []paragraph) {
	for block := range strings.SplitSeq(text, "\n\n") {
		var p paragraph
		for line := range strings.Lines(block) {
			p.Verbatim = p.Verbatim || strings.HasPrefix(line, " ")
			p.Lines = append(p.Lines, strings.TrimSpace(line))
		}
		if len(p.Lines) > 0 {
			all = append(all, p)
		}
	}
	return all
}
