package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const primaryFlag = "`also` when the server takes writes: nobody writes on it meanwhile"

func newServerReboot(c *cli) *cobra.Command {
	req := &cpv1.RebootServerRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "reboot NAME", Short: "Restart the machine of a server",
		Long: `Restart the machine of a server through its provider, and prove that the server
does what its role says again: the kernel has another boot id, the server's own
volume is mounted, MariaDB serves on it, and a replica has caught up. The server
is PROVISIONING meanwhile.

A primary is refused without --primary: nobody can write until it is back. A
reboot that is interrupted anywhere goes on, and never restarts the machine
twice.`,
		Example: `  understudy server reboot db2
  understudy server reboot db1 --primary --dry-run`,
	}, "name")
	v.flag("allow_primary", "primary", primaryFlag)
	return jobVerb(v, (*api).RebootServer, jobParts{news: c.sayServer})
}
