package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const replicaCreateLong = `Create a replica of a server: a machine, a data volume made from a
snapshot of the primary, and a MariaDB that follows the primary by GTID over TLS.
The primary goes on serving.

With --of PRIMARY a new snapshot is taken. With --from SNAPSHOT the replica is
made from that snapshot and follows the server that it was taken of. With both it
follows PRIMARY with the data of SNAPSHOT. Without a NAME the replica gets the
primary's name with a number: db1-r1.

--verify says how the data is compared before the replica is READY:

` + levels + `

A job that fails leaves the primary as it was, and says what it left of the
replica. --cleanup removes that at once; "understudy job retry" goes on;
"understudy job cleanup" removes it later.`

func newReplicaCreate(c *cli) *cobra.Command {
	req := &cpv1.CreateReplicaRequest{Verify: cpv1.VerifyLevel_VERIFY_LEVEL_SAMPLE}
	v := newVerb(c, req, &cobra.Command{
		Use:   "create [NAME] --of PRIMARY | --from SNAPSHOT",
		Short: "Create a replica of a server", Long: replicaCreateLong,
		Example: `  understudy replica create --of db1
  understudy replica create db2 --of db1 --verify full --quiesce-limit 2s
  understudy replica create db3 --from snap-4f7a0c1d2e3f --size 40GiB
  understudy replica create db2 --of db1 --if-absent
  understudy replica create --of db1 --dry-run`,
	}, "name")
	v.later = []string{"name"}
	v.flag("primary", "of", "`PRIMARY` to follow")
	v.flag("snapshot", "from", "`SNAPSHOT` to make it from", "a new one")
	v.flag("quiesce_limit", "quiesce-limit",
		"longest time that writes to the primary may be blocked for a new snapshot")
	v.flag("verify", "verify", "how the data is compared", "sample")
	v.flag("cleanup", "cleanup", "remove what the job made when it fails")
	image := machine(v, "the primary's", "the snapshot's")
	v.checks = append(v.checks, func() error {
		switch {
		case req.GetPrimary() == "" && req.GetSnapshot() == "":
			return usageError{message: "one of --of or --from is required"}
		case req.GetSnapshot() != "" && req.GetQuiesceLimit() != nil:
			return usageError{message: "--quiesce-limit and --from exclude each other",
				hint: "leave out --quiesce-limit: no new snapshot is taken"}
		}
		return nil
	})
	return jobVerb(v, (*api).CreateReplica, jobParts{news: c.sayServer,
		refused: ifAbsent(v, cpv1.Server_ROLE_REPLICA),
		prepare: func(ctx context.Context, a *api) error {
			if err := image(ctx, a); err != nil {
				return err
			}
			return nameReplica(ctx, a, req)
		}})
}

// nameReplica finds a free name for a replica that was given none.
func nameReplica(ctx context.Context, a *api, req *cpv1.CreateReplicaRequest) (err error) {
	if req.GetName() != "" {
		return nil
	}
	primary := req.GetPrimary()
	if primary == "" {
		snapshot, err := getSnapshot(ctx, a, req.GetSnapshot())
		if err != nil {
			return err
		}
		primary = snapshot.GetServer()
	}
	req.Name, err = freeReplicaName(ctx, a, primary)
	return err
}
