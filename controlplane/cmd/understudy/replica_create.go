package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type replicaCreate struct {
	startFlags
	machineFlags
	of, from string
	verify   choice
	cleanup  bool
	quiesce  span
}

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

func (c *cli) newReplicaCreate() *cobra.Command {
	f := &replicaCreate{verify: newLevel(), quiesce: span{min: time.Second, max: time.Minute}}
	cmd := &cobra.Command{
		Use:   "create [NAME] --of PRIMARY | --from SNAPSHOT",
		Short: "Create a replica of a server", Args: words(nil, "NAME"),
		Long: replicaCreateLong,
		Example: `  understudy replica create --of db1
  understudy replica create db2 --of db1 --verify full --quiesce-limit 2s
  understudy replica create db3 --from snap-4f7a0c1d2e3f --size 40GiB
  understudy replica create --of db1 --dry-run`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.createReplica(ctx, f, args)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.of, "of", "", "`PRIMARY` to follow")
	flags.StringVar(&f.from, "from", "", "`SNAPSHOT` to make it from (default a new one)")
	flags.Var(&f.quiesce, "quiesce-limit",
		"longest time that writes to the primary may be blocked for a new snapshot (default 10s)")
	flags.Var(&f.verify, "verify", "how the data is compared")
	flags.BoolVar(&f.cleanup, "cleanup", false, "remove what the job made when it fails")
	f.machineFlags.add(c, cmd, "the primary's", "the snapshot's")
	f.startFlags.add(cmd)
	mustComplete(cmd, "verify", f.verify.allowed)
	c.completeFlag(cmd, "of", c.serverIDs)
	c.completeFlag(cmd, "from", c.snapshotIDs)
	return cmd
}

// build makes the request of the flags, all but a name that has to be found.
func (f *replicaCreate) build(args []string) (req *cpv1.CreateReplicaRequest, err error) {
	switch {
	case f.of == "" && f.from == "":
		return nil, usageError{message: "one of --of or --from is required"}
	case f.from != "" && f.quiesce.value > 0:
		return nil, usageError{message: "--quiesce-limit and --from exclude each other",
			hint: "leave out --quiesce-limit: no new snapshot is taken"}
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	req = &cpv1.CreateReplicaRequest{Image: f.image, Zone: f.zone, VolumeSizeBytes: f.size.bytes,
		Port: f.port.number, Cleanup: f.cleanup, Options: f.options, ValidateOnly: f.dryRun,
		Verify: enum.Of[cpv1.VerifyLevel](f.verify.value), QuiesceLimit: f.quiesce.proto()}
	if f.of != "" {
		if req.Primary, err = serverName(f.of); err != nil {
			return nil, err
		}
	}
	if f.from != "" {
		if req.Snapshot, err = resourceName(snapshotKind, f.from); err != nil {
			return nil, err
		}
	}
	if len(args) == 1 {
		if req.Name, err = serverName(args[0]); err != nil {
			return nil, err
		}
	}
	req.RequestId, err = f.id()
	return req, err
}

func (c *cli) createReplica(ctx context.Context, f *replicaCreate, args []string) error {
	req, err := f.build(args)
	if err != nil {
		return err
	}
	return c.start(ctx, &f.startFlags, func(ctx context.Context, a *api) (*cpv1.Job, error) {
		if err := nameReplica(ctx, a, req); err != nil {
			return nil, err
		}
		answer, err := a.servers.CreateReplica(ctx, req)
		return answer.GetJob(), err
	}, c.sayServer)
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
