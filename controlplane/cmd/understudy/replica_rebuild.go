package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const replicaRebuildLong = `Make a replica again on its machine: a fresh copy on a new
volume. It helps when nothing else does: replication stopped with an error, its
data differs, MariaDB does not start, its volume is gone.

The copy is made from a new snapshot of its primary, or from the one that --from
names. The replica keeps its name, its machine, its server_id and its options.
What it serves it serves until the new volume is attached.

The replica is no longer READY as soon as this is asked for. Its old volume is
kept until it is READY again, and is deleted then: the command asks for the
replica's name; --yes answers for scripts. A rebuild that fails keeps the old
volume. "understudy job retry" goes on with it, and another rebuild begins again.

--verify says how the data is compared before the replica is READY:

` + levels

func newReplicaRebuild(c *cli) *cobra.Command {
	req := &cpv1.RebuildReplicaRequest{Verify: cpv1.VerifyLevel_VERIFY_LEVEL_SAMPLE}
	v := newVerb(c, req, &cobra.Command{
		Use:   "rebuild NAME",
		Short: "Make a replica again from a fresh copy", Long: replicaRebuildLong,
		Example: `  understudy replica rebuild db2
  understudy replica rebuild db2 --dry-run
  understudy replica rebuild db2 --from snap-4f7a0c1d2e3f --verify full --yes`,
	}, "name")
	v.flag("snapshot", "from", "`SNAPSHOT` to make it from", "a new one")
	v.flag("quiesce_limit", "quiesce-limit",
		"longest time that writes to the primary may be blocked for a new snapshot")
	v.flag("verify", "verify", "how the data is compared", "sample")
	v.flag("volume_size_bytes", "size", "`SIZE` of the new volume, such as 20GiB",
		"the old one's")
	v.checks = append(v.checks, func() error {
		if req.GetSnapshot() != "" && req.GetQuiesceLimit() != nil {
			return usageError{message: "--quiesce-limit and --from exclude each other",
				hint: "leave out --quiesce-limit: no new snapshot is taken"}
		}
		return nil
	})
	prepare, stale := confirmed(v, getServer, func(s *cpv1.Server) string {
		return fmt.Sprintf("This makes the replica %s (%s) again, and deletes all data on its "+
			"volume %s once it is READY on another one.", show.ID(s.GetName()),
			trimEnum(s.GetState()), dash(s.GetDataVolume()))
	})
	return jobVerb(v, (*api).RebuildReplica,
		jobParts{news: c.sayServer, prepare: prepare, stale: stale})
}
