// Command understudy is the control plane (`understudy serve`) and its command line. The command
// line talks gRPC alone, as any other client: it has no way of its own to the records.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app"
)

// version is set by the build.
var version = "dev"

func main() {
	// The nspawn provider starts this program anew to look after a machine.
	if handled, err := app.Supervise(os.Args); handled {
		if err != nil {
			fmt.Fprintln(os.Stderr, "understudy:", err)
			os.Exit(exitFailed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, World{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Now: time.Now, Version: version,
	})
	stop()
	os.Exit(code)
}
