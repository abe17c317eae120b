package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerStop(c *cli) *cobra.Command {
	req := &cpv1.StopServerRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "stop NAME", Short: "Stop MariaDB on a server and switch its machine off",
		Long: `Stop MariaDB on a server, for as long as it needs, and switch the machine off
through its provider. The machine and its volumes stay. The server is STOPPED
then: it is not READY, and no alarm. "server start" starts it again.

A primary is refused without --primary: nobody can write until it is started,
and its replicas are DEGRADED. Binary logs that a stopped replica needs are kept
on its primary for as long as it is stopped.`,
		Example: `  understudy server stop db2
  understudy server stop db1 --primary --dry-run`,
	}, "name")
	v.flag("allow_primary", "primary", primaryFlag)
	return jobVerb(v, (*api).StopServer, jobParts{news: c.sayServer})
}

func newServerStart(c *cli) *cobra.Command {
	req := &cpv1.StartServerRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "start NAME", Short: "Start a server that was stopped",
		Long: `Switch the machine of a server on through its provider, and prove that the
server does what its role says: its own volume is mounted, MariaDB serves on it,
a primary takes writes, and a replica has caught up. Start a primary before its
replicas.

It works for a STOPPED server, and for one whose machine somebody else has
switched off. A server that runs is proved again.`,
		Example: `  understudy server start db2
  understudy server start db2 --dry-run`,
	}, "name")
	return jobVerb(v, (*api).StartServer, jobParts{news: c.sayServer})
}
