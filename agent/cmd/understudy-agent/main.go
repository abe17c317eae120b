// Command understudy-agent is the daemon on each MariaDB host: the only thing of Understudy that
// touches the host.
package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// errReported ends the program with an exit code when everything was reported already.
var errReported = errors.New("reported already")

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "understudy-agent",
		Short: "The daemon that makes a MariaDB host part of an Understudy fleet",
		Long: `understudy-agent runs on each MariaDB host. It enrols once with a join token, then
serves a gRPC API over mutual TLS: systemd's units, block devices and mounts, MariaDB, and facts of
the host. It never runs a command of the caller's; units, mount points and devices are on
allow-lists in its configuration.

On a host it runs as a unit:

  understudy-agent join …                     make the host a server of a fleet, and start the unit
  journalctl -u understudy-agent -f           read its log
  understudy-agent check                      see what the host has and what is missing

In an image, enable the unit and write a join file of the control plane to
/etc/understudy-agent/join.json at the first boot.`,
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	root.AddCommand(newRun(), newJoin(), newCheck(), newRenew(), newVersion(), newFreezeGuard(),
		newThaw(), newQuiesce(), newEndQuiesce(), newUnreserve())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
	}
}
