package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type replicaCreate struct {
	startFlags
	of, from, image, zone string
	verify                choice
	size                  size
	port                  port
	cleanup               bool
	options               map[string]string
	quiesce               span
}

const replicaCreateLong = `Make a verified replica: a machine of its own, a data volume made from a snapshot of the primary, and a MariaDB that follows the primary
by GTID over TLS. The primary goes on serving all along.

Say whose replica it is with --of PRIMARY, and a snapshot is taken too; or say which snapshot to make it from with --from SNAPSHOT, and
it follows the server that the snapshot is of. With both, it follows PRIMARY with the data of SNAPSHOT. Without a NAME it gets the
primary's name with a number, "db1-r1".

How the data is compared before the replica counts as READY:

  position  it has applied a target position that was taken on the primary after replication started
  sample    the same, and checksums of a sample of the tables are equal
  full      the same, and checksums of all tables are equal at one position, without blocking the primary

--dry-run prints what each step found and what it would do, and starts nothing.

A failed job leaves the primary as it was. It says what it left of the replica; with --cleanup that is removed at once, otherwise
"understudy job retry" goes on where it failed, and "understudy job cleanup" removes it.`

func (c *cli) newReplicaCreate() *cobra.Command {
	f := &replicaCreate{verify: choice{value: "position",
		allowed: enum.Words[cpv1.VerifyLevel]()},
		quiesce: span{min: time.Second, max: time.Minute}}
	cmd := &cobra.Command{
		Use:   "create --of PRIMARY | --from SNAPSHOT [NAME]",
		Short: "Make a verified replica of a primary", Args: words(nil, "NAME"),
		Long: replicaCreateLong,
		Example: `  understudy replica create --of db1
  understudy replica create --of db1 --verify full --quiesce-limit 2s db2
  understudy replica create --from snap-4f7a0c1d2e3f --size 40GiB db3
  understudy replica create --of db1 --dry-run`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.do(func(ctx context.Context,
			args []string) error {
			return c.createReplica(ctx, f, args)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.of, "of", "", "`PRIMARY` to follow")
	flags.StringVar(&f.from, "from", "",
		"`SNAPSHOT` to make it from; a new one is taken when not given")
	flags.Var(&f.quiesce, "quiesce-limit", "longest time that writes to the primary may be blocked for "+
		"a new snapshot; 10s when not given")
	flags.Var(&f.verify, "verify", "how the data is compared")
	flags.StringVar(&f.image, "image", "", "`IMAGE` of the machine, see \"understudy provider "+
		"images\"; the provider's default when not given")
	flags.StringVar(&f.zone, "zone", "", "`ZONE` of the machine; the primary's when not given")
	flags.Var(&f.size, "size", "size of the data volume, for example 10GiB; the snapshot's when "+
		"not given, and never smaller")
	flags.Var(&f.port, "port", "port of MariaDB; 3306 when not given")
	flags.BoolVar(&f.cleanup, "cleanup", false, "when the job fails, remove what it made")
	optionFlag(cmd, &f.options)
	f.add(cmd)
	mustComplete(cmd, "verify", f.verify.allowed)
	c.completeFlag(cmd, "of", c.serverIDs)
	c.completeFlag(cmd, "from", c.snapshotIDs)
	c.completeFlag(cmd, "image", c.imageNames)
	return cmd
}

// build makes the request of what was said, all but a name that has to be found.
func (f *replicaCreate) build(args []string) (*cpv1.CreateReplicaRequest, error) {
	req := &cpv1.CreateReplicaRequest{Image: f.image, Zone: f.zone, VolumeSizeBytes: f.size.bytes,
		Port: f.port.number, Cleanup: f.cleanup,
		Options: f.options, ValidateOnly: f.dryRun,
		Verify: enum.Of[cpv1.VerifyLevel](f.verify.value)}
	if f.of == "" && f.from == "" {
		return nil, usageError{message: "a replica of what?",
			hint: "say --of PRIMARY, or --from SNAPSHOT"}
	}
	if f.from != "" && f.quiesce.value > 0 {
		return nil, usageError{message: "--quiesce-limit is for a new snapshot, and " + f.from +
			" is taken", hint: "leave out --quiesce-limit, or --from"}
	}
	if f.quiesce.value > 0 {
		req.QuiesceLimit = durationpb.New(f.quiesce.value)
	}
	var err error
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
	for _, check := range []error{checkImage("image", f.image), checkImage("zone", f.zone),
		checkOptions(f.options)} {
		if check != nil {
			return nil, check
		}
	}
	req.RequestId, err = f.request()
	return req, err
}

func (c *cli) createReplica(ctx context.Context, f *replicaCreate, args []string) error {
	req, err := f.build(args)
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		if err := nameReplica(ctx, a, req); err != nil {
			return err
		}
		answer, err := a.servers.CreateReplica(ctx, req)
		if err != nil {
			return lost(err, req.GetRequestId())
		}
		if f.dryRun {
			return c.plan(answer.GetJob())
		}
		return c.finish(ctx, a, answer.GetJob(), f.waitFlags, succeeded,
			func(ctx context.Context, _ *cpv1.Job) {
				c.sayServer(ctx, a, req.GetName())
			})
	})
}

// nameReplica finds a free name for a replica that was given none.
func nameReplica(ctx context.Context, a *api, req *cpv1.CreateReplicaRequest) error {
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
	id, err := freeReplicaID(ctx, a, show.ID(primary))
	req.Name = serverKind + "/" + id
	return err
}
