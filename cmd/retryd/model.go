package main

import (
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// command is one command as completions, the man page and docs/commands.md tell of it. All of it is kong's model,
// which --help is made from too: they cannot disagree. What is hidden from --help is hidden here.
type command struct {
	*kong.Node
	Words    string     // what is typed after retryd, such as "ledger check"; empty = retryd itself
	Commands []*command // those right under it
	Flags    []value    // those of retryd first
	Args     []value
}

// value is a flag or an argument.
type value struct {
	*kong.Value
	Global bool // a flag of retryd itself, which all commands have
	Long   []string
	Short  string
	Takes  takes
	Words  []string // of an enum
}

// takes is what a completion offers for a value.
type takes string

// What a value can be.
const (
	takesNothing takes = "nothing" // a flag without a value
	takesText    takes = "text"    // that nobody can guess
	takesWord    takes = "word"    // of an enum
	takesFile    takes = "file"
	takesFolder  takes = "folder"
)

// modelOf reads a command, and all under it.
func modelOf(node *kong.Node) *command {
	c := &command{Node: node, Words: wordsOf(node)}
	for level, flags := range node.AllFlags(true) {
		for _, f := range flags {
			v := flagOf(f)
			v.Global = level == 0
			c.Flags = append(c.Flags, v)
		}
	}
	for _, p := range node.Positional {
		c.Args = append(c.Args, valueOf(p, p.Name))
	}
	for _, child := range node.Children {
		if !child.Hidden {
			c.Commands = append(c.Commands, modelOf(child))
		}
	}
	return c
}

func wordsOf(node *kong.Node) (words string) {
	for ; node.Parent != nil; node = node.Parent {
		words = strings.TrimSpace(node.Name + " " + words)
	}
	return words
}

// All gives a command, and all under it.
func (c *command) All() []*command {
	all := []*command{c}
	for _, under := range c.Commands {
		all = append(all, under.All()...)
	}
	return all
}

// Leaves gives the commands that do something.
func (c *command) Leaves() []*command {
	return slices.DeleteFunc(c.All(), func(c *command) bool { return len(c.Commands) > 0 })
}

// Spellings gives the words that choose a command after those of the one above it.
func (c *command) Spellings() []string { return append([]string{c.Name}, c.Aliases...) }

// Usage is the line that --help begins with, without other names of the command.
func (c *command) Usage() string {
	return "retryd " + c.Words + strings.TrimPrefix(c.Summary(), c.Path())
}

// Own gives the flags that the command does not share with all others.
func (c *command) Own() []value {
	return slices.DeleteFunc(slices.Clone(c.Flags), func(v value) bool { return v.Global && c.Parent != nil })
}

// Groups gives those by the headings that --help has them under.
func (c *command) Groups() (groups []group) {
	for _, v := range c.Own() {
		title := ""
		if v.Flag.Group != nil {
			title = v.Flag.Group.Title
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.Title == title })
		switch {
		case at < 0 && title == "":
			groups = slices.Insert(groups, 0, group{"", []value{v}})
		case at < 0:
			groups = append(groups, group{title, []value{v}})
		default:
			groups[at].Flags = append(groups[at].Flags, v)
		}
	}
	return groups
}

// group is some flags under a heading, which is empty for most.
type group struct {
	Title string
	Flags []value
}

func flagOf(f *kong.Flag) value {
	v := valueOf(f.Value, f.PlaceHolder)
	if f.IsBool() || f.IsCounter() {
		v.Takes = takesNothing
	}
	v.Long = append([]string{f.Name}, f.Aliases...)
	switch f.Tag.Negatable {
	case "":
	case "_": // kong's mark for the usual name
		v.Long = append(v.Long, "no-"+f.Name)
	default:
		v.Long = append(v.Long, f.Tag.Negatable)
	}
	if f.Short != 0 {
		v.Short = string(f.Short)
	}
	return v
}

// valueOf tells what a value takes by its enum, else by the last word of what --help calls it.
func valueOf(k *kong.Value, called string) value {
	v := value{Value: k, Takes: takesText}
	words := strings.FieldsFunc(strings.ToUpper(called), func(r rune) bool { return !unicode.IsLetter(r) })
	last := ""
	if len(words) > 0 {
		last = words[len(words)-1]
	}
	switch {
	case k.Enum != "":
		v.Takes = takesWord
		v.Words = slices.DeleteFunc(k.EnumSlice(), func(word string) bool { return word == "" })
	case last == "FILE":
		v.Takes = takesFile
	case last == "DIR" || last == "FOLDER":
		v.Takes = takesFolder
	}
	return v
}

// Shown is what stands for the value of a flag; "" where it has none.
func (v value) Shown() string {
	switch v.Takes {
	case takesNothing:
		return ""
	case takesWord:
		return strings.Join(v.Words, "|")
	}
	return v.Flag.FormatPlaceHolder()
}

// Typed gives the names of a flag as they are typed.
func (v value) Typed() (names []string) {
	if v.Short != "" {
		names = append(names, "-"+v.Short)
	}
	for _, name := range v.Long {
		names = append(names, "--"+name)
	}
	return names
}
