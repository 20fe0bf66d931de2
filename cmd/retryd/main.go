// Command retryd retries the failed sub-tasks of Huawei Cloud IoTDA batch tasks.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones of policies, on machines without them

	_ "golang.org/x/crypto/x509roots/fallback" // authorities, on machines without any: a machine's own are taken instead
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
