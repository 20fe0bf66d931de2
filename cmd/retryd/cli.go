package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

type cli struct {
	Config []string `short:"c" sep:"none" placeholder:"FILE" help:"Configuration file, or a folder of *.yaml; several are read as one. Default: ./retryd.yaml, then /etc/retryd/retryd.yaml."`

	Init        initCmd        `cmd:"" help:"Write a configuration to begin with, which sends nothing."`
	Run         runCmd         `cmd:"" help:"Run the daemon: sweep whenever a policy is due, until SIGTERM."`
	Check       checkCmd       `cmd:"" help:"Check configuration files and say everything that is wrong with them."`
	Plan        planCmd        `cmd:"" help:"Show what a sweep would do now. Changes nothing."`
	Sweep       sweepCmd       `cmd:"" aliases:"once" help:"Sweep once, now, and wait for the calls."`
	Status      statusCmd      `cmd:"" help:"Say what goes on, what holds it up, and what to do about it."`
	Tasks       tasksCmd       `cmd:"" help:"List tasks: how far they are, and when they are done."`
	Targets     targetsCmd     `cmd:"" help:"List devices in tasks: which wait, which are given up, and why."`
	Explain     explainCmd     `cmd:"" help:"Say why a device waits and until when, with the arithmetic."`
	Attempts    attemptsCmd    `cmd:"" help:"List attempts and what they came to."`
	Sweeps      sweepsCmd      `cmd:"" help:"List sweeps and what they came to."`
	Actions     actionsCmd     `cmd:"" help:"List what people did: who, what, why."`
	Reload      reloadCmd      `cmd:"" help:"Have a running daemon read its configuration again."`
	Pause       pauseCmd       `cmd:"" help:"Hold retries back: all of them, or those of a connection, a policy, a task or devices."`
	Resume      resumeCmd      `cmd:"" help:"End pauses and halts."`
	Approve     approveCmd     `cmd:"" help:"Open a task to a policy in mode approve."`
	Revoke      revokeCmd      `cmd:"" help:"End the approval of a task."`
	Retry       retryCmd       `cmd:"" help:"Retry devices of a task now, by hand."`
	Forgive     forgiveCmd     `cmd:"" help:"Let targets that are given up begin anew."`
	Ledger      ledgerCmd      `cmd:"" help:"Check the ledger, or back it up."`
	Notify      notifyCmd      `cmd:"" help:"Try the receivers of notices."`
	Demo        demoCmd        `cmd:"" help:"Watch a failing fleet recover, with nothing to install or configure."`
	Emulator    emulatorCmd    `cmd:"" help:"Serve an emulated IoTDA with a failing fleet, to try retryd on."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask a running daemon whether it is healthy. For containers."`
	Completion  completionCmd  `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Man         manCmd         `cmd:"" help:"Write the man page."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// app is what commands share.
type app struct {
	ctx            context.Context
	config         []string // as it was named; none = look for it
	observe        bool     // every policy is in mode observe
	toldBroken     bool     // that the configuration cannot be used as it is
	stdout, stderr io.Writer
}

// failure is an error with an exit code of its own.
type failure struct {
	code int
	err  error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// exited is how kong's --help comes back here instead of ending the process.
type exited int

// run is the whole program; it gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if e, ok := recover().(exited); ok {
			code = int(e)
		}
	}()
	var c cli
	parser := newParser(&c, stdout, stderr)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "retryd: %s\nSee retryd --help.\n", withoutNone(err.Error()))
		return exitUsage
	}
	err = command.Run(&app{ctx: ctx, config: c.Config, stdout: stdout, stderr: stderr})
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "retryd: "+err.Error())
	var f failure
	if errors.As(err, &f) {
		return f.code
	}
	return exitFailed
}

// withoutNone takes the empty word from those that a flag can have: it stands for leaving the flag out.
func withoutNone(text string) string {
	return strings.NewReplacer(`must be one of "",`, "must be one of ", `,"" but got`, " but got").Replace(text)
}

// newParser reads the commands off the struct above: --help, completions and man pages are made from the same.
func newParser(c *cli, stdout, stderr io.Writer) *kong.Kong {
	parser, err := kong.New(c,
		kong.Name("retryd"),
		kong.Description("Retries the failed sub-tasks of Huawei Cloud IoTDA batch tasks (firmwareUpgrade, softwareUpgrade), by policy, on a schedule, and never more often than the policy allows."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(printHelp),
		kong.UsageOnError(),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	return parser
}

// printf writes for a reader who may have gone, which is no failure of the command.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func env(name string) (string, bool) { return os.LookupEnv(name) }
