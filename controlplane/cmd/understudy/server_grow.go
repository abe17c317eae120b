package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerGrow(c *cli) *cobra.Command {
	req := &cpv1.GrowServerRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "grow NAME", Short: "Make the data volume of a server larger",
		Long: `Make the data volume of a server larger, and the filesystem on it, while MariaDB
serves. It works for a primary, for a replica, and for a server whose MariaDB
waits for room on a full volume.

A volume never shrinks. The same size again completes what was left half done: a
volume that was grown at the provider, and whose filesystem was not. EC2 grows a
volume four times in 24 hours.`,
		Example: `  understudy server grow db1 --size 20GiB --dry-run
  understudy server grow db1 --size 20GiB`,
	}, "name")
	v.flag("size_bytes", "size", "`SIZE` that the volume gets, such as 20GiB")
	return jobVerb(v, (*api).GrowServer, jobParts{news: c.sayServer})
}
