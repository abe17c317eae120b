package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerCreate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CreateServerRequest{}, &cobra.Command{
		Use: "create NAME", Short: "Create a primary",
		Long: `Create a primary: a machine, a blank data volume, a new datadir, and a MariaDB
that answers on the machine's address with binary log and GTIDs on.

NAME is 2 to 40 lower-case letters, digits and dashes, a letter first.`,
		Example: `  understudy server create db1
  understudy server create db1 --size 20GiB --filesystem xfs
  understudy server create db1 --if-absent
  understudy server create db1 --image bookworm --option max_connections=500`,
	}, "name")
	image := machine(v, "the provider's", "")
	v.flag("filesystem", "filesystem", "filesystem of the data volume")
	v.flag("binlog_auto_purge", "binlog-auto-purge",
		"let MariaDB purge binary logs by itself while the server has no replica")
	return jobVerb(v, (*api).CreateServer, jobParts{news: c.sayServer, prepare: image,
		refused: ifAbsent(v, cpv1.Server_ROLE_PRIMARY)})
}
