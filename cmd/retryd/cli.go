package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPartial = 3 // some calls failed
)

type cli struct {
	Config []string `short:"c" sep:"none" placeholder:"FILE" help:"Configuration file, or a folder of *.yaml; several are read as one. Default: ./retryd.yaml, then /etc/retryd/retryd.yaml."`

	Run         runCmd         `cmd:"" help:"Run the daemon: sweep whenever a policy is due, until SIGTERM."`
	Check       checkCmd       `cmd:"" help:"Check configuration files and say everything that is wrong with them."`
	Plan        planCmd        `cmd:"" help:"Show what a sweep would do now. Changes nothing."`
	Sweep       sweepCmd       `cmd:"" aliases:"once" help:"Sweep once, now, and wait for the calls."`
	Reload      reloadCmd      `cmd:"" help:"Have a running daemon read its configuration again."`
	Pause       pauseCmd       `cmd:"" help:"Hold retries back: all of them, or those of a connection, a policy, a task or devices."`
	Resume      resumeCmd      `cmd:"" help:"End pauses and halts."`
	Approve     approveCmd     `cmd:"" help:"Open a task to a policy in mode approve."`
	Revoke      revokeCmd      `cmd:"" help:"End the approval of a task."`
	Ledger      ledgerCmd      `cmd:"" help:"Check the ledger, or back it up."`
	Demo        demoCmd        `cmd:"" help:"Watch a failing fleet recover, with nothing to install or configure."`
	Emulator    emulatorCmd    `cmd:"" help:"Serve an emulated IoTDA with a failing fleet, to try retryd on."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask a running daemon whether it is healthy. For containers."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// app is what commands share.
type app struct {
	ctx            context.Context
	config         []string // as it was named; none = look for it
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
	parser, err := kong.New(&c,
		kong.Name("retryd"),
		kong.Description("Retries the failed sub-tasks of Huawei Cloud IoTDA batch tasks (firmwareUpgrade, softwareUpgrade), by policy, on a schedule, and never more often than the policy allows."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "retryd: %s\nSee retryd --help.\n", err)
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

// printf writes for a reader who may have gone, which is no failure of the command.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func env(name string) (string, bool) { return os.LookupEnv(name) }
