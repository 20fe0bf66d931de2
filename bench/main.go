// Command bench measures retryd against what it could be held against: the official SDK used as its
// samples use it, and bare net/http without a ledger. Each contender is a process of its own, and so
// is the platform, which is internal/emulator: it says by its own record what reached it.
//
// `make bench-compare` runs the comparison; docs/scaling.md has the other measurements, and what
// they came to.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Compare compareCmd `cmd:"" help:"The official SDK, bare net/http and retryd, one after another."`

	Scale       scaleCmd       `cmd:"" help:"Sweeps of 10,000 to 1,000,000 failing sub-tasks."`
	Few         fewCmd         `cmd:"" help:"Few failing sub-tasks in a large task and in a small one, and sweeps in which nothing changed."`
	Rate        rateCmd        `cmd:"" help:"How much of an allowed rate is used."`
	Ledger      ledgerCmd      `cmd:"" help:"A ledger with millions of closed attempts against one with few."`
	Idle        idleCmd        `cmd:"" help:"A daemon with nothing to do, and how soon it is ready."`
	Connections connectionsCmd `cmd:"" help:"A thousand connections in one process."`
	Replicas    replicasCmd    `cmd:"" help:"One replica and three, on PostgreSQL."`

	Platform platformCmd `cmd:"" hidden:"" help:"Serve a platform."`
	SDK      sdkCmd      `cmd:"" hidden:"" name:"sdk" help:"Retry with the official SDK."`
	Floor    floorCmd    `cmd:"" hidden:"" help:"Retry with bare net/http."`
}

// app is what commands write to, and when they have to end.
type app struct {
	ctx context.Context
	out io.Writer
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

func main() {
	if err := run(contextOfMain(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contextOfMain ends with the first signal.
func contextOfMain() context.Context {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	return ctx
}

func run(ctx context.Context, args []string, out io.Writer) error {
	parser, err := kong.New(&commands{}, kong.Name("bench"), kong.Description("Measures retryd."))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	return command.Run(&app{ctx: ctx, out: out})
}
