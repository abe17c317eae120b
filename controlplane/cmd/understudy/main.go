//go:build !manpages

// Command understudy is the control plane (`understudy serve`) and its command line. The command
// line talks gRPC alone, as any other client: it has no way of its own to the records.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, World{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Now: time.Now, Version: version,
	})
	stop()
	os.Exit(code)
}
