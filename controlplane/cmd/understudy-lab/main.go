// Command understudy-lab is the nspawn provider by hand: it builds images, opens a shell on a lab's
// host, and removes a lab.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
)

func main() {
	if handled, err := nspawn.Supervise(os.Args); handled {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(newCommand().ExecuteContext(ctx))
}

func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "understudy-lab:", err)
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() > 0 {
		os.Exit(failed.ExitCode())
	}
	os.Exit(1)
}
