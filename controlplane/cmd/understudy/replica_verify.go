package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// levels explains the levels of verification.
const levels = `  position  the replica has applied a target position taken on the primary
  sample    and the checksums of a sample of the tables are equal: up to 256 MiB,
            read in 30 s at most
  full      and the checksums of all tables are equal, at one position, without
            blocking the primary`

func newReplicaVerify(c *cli) *cobra.Command {
	req := &cpv1.VerifyReplicaRequest{Level: cpv1.VerifyLevel_VERIFY_LEVEL_SAMPLE}
	v := newVerb(c, req, &cobra.Command{
		Use: "verify NAME", Short: "Compare a replica with its primary again",
		Long: `Compare a replica with its primary again, and date the result. Both go on
serving. "server get" shows when a replica was verified, and how.

` + levels + `

A replica whose primary's binary log has another history than the one that it
follows (LINEAGE_BROKEN) is not compared. Where you know that nothing is lost,
--accept-history says why: the replica follows that history once all data is
equal.`,
		Example: `  understudy replica verify db2
  understudy replica verify db2 --level full
  understudy replica verify db2 --level full --accept-history 'a purge, see INC-7'`,
	}, "name")
	v.flag("level", "level", "how the data is compared", "sample")
	v.flag("accept_history", "accept-history", "why the history of its primary's binary log is "+
		"right as it is now; needs the level full")
	return jobVerb(v, (*api).VerifyReplica, jobParts{news: c.sayServer})
}
