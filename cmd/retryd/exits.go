package main

import (
	"slices"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone          = 0
	exitFailed        = 1
	exitUsage         = 2
	exitPartial       = 3
	exitNothing       = 4
	exitConfiguration = 5
)

// exit is a code, and what a script may take it for.
type exit struct {
	Code    int
	Meaning string
	Of      map[string]string // the commands that end with it, and what it says there; nil = all can
}

// exits has every code. --help, the man page and docs/commands.md are made from it.
var exits = []exit{
	{exitDone, "Done.", nil},
	{exitFailed, "Failed: standard error says why.", nil},
	// A name that is asked for, and that nothing has or had, is wrong usage too: of a task, policy, connection,
	// status. It is not of a device: the ledger knows one from its first attempt on, so that it has none is an
	// answer, and what retry does not find in the task is listed by it.
	{exitUsage, "Wrong usage: a flag or a value that cannot be, or the name of a task or policy that there is not. Nothing was done. (A crash of the program ends with 2 as well, and with a stack.)", nil},
	{exitPartial, "Done in part.", map[string]string{
		"sweep":       "Some tasks could not be finished.",
		"plan":        "Some tasks could not be read.",
		"check":       "Some connections do not work, others do.",
		"notify test": "Some receivers could not be reached.",
		"retry":       "Some were retried before it went wrong.",
	}},
	{exitNothing, "Nothing is allowed now.", map[string]string{
		"retry": "Nothing of it may be retried now: it says why.",
	}},
	{exitConfiguration, "The configuration is refused.", map[string]string{
		"run": "The configuration is refused: to start it again does not help.",
	}},
}

// exitsOf gives the codes that a command can end with, and what they mean there; "" = those of all commands.
func exitsOf(words string) (of []exit) {
	for _, e := range exits {
		meaning, own := e.Of[words]
		switch {
		case own:
			e.Meaning = meaning
		case e.Of == nil || words == "" && len(e.Of) > 0:
		default:
			continue
		}
		of = append(of, e)
	}
	return of
}

// printHelp is kong's help with the exit codes: those of all commands with the list of commands, and those of one
// command where it has some of its own.
func printHelp(options kong.HelpOptions, parsed *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, parsed); err != nil {
		return err
	}
	words := ""
	if selected := parsed.Selected(); selected != nil {
		words = wordsOf(selected)
	}
	of := exitsOf(words)
	if words != "" && !slices.ContainsFunc(of, func(e exit) bool { return e.Of != nil }) {
		return nil
	}
	printf(parsed.Stdout, "\nExit codes:\n")
	for _, e := range of {
		printf(parsed.Stdout, "  %d    %s\n", e.Code, e.Meaning)
	}
	return nil
}
