package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type serverCreate struct {
	startFlags
	machineFlags
	filesystem choice
	autoPurge  bool
}

func (c *cli) newServerCreate() *cobra.Command {
	f := &serverCreate{filesystem: choice{value: "ext4", allowed: []string{"ext4", "xfs"}}}
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a primary", Args: words([]string{"NAME"}),
		Long: `Create a primary: a machine, a blank data volume, a new datadir, and a MariaDB
that answers on the machine's address with binary log and GTIDs on.

NAME is 2 to 40 lower-case letters, digits and dashes, a letter first.`,
		Example: `  understudy server create db1
  understudy server create db1 --size 20GiB --filesystem xfs
  understudy server create db1 --image bookworm --option max_connections=500`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.createServer(ctx, f, args[0])
		}),
	}
	f.machineFlags.add(c, cmd, "the provider's", "2GiB")
	cmd.Flags().Var(&f.filesystem, "filesystem", "filesystem of the data volume")
	cmd.Flags().BoolVar(&f.autoPurge, "binlog-auto-purge", false,
		"let MariaDB purge binary logs by itself while the server has no replica")
	f.startFlags.add(cmd)
	mustComplete(cmd, "filesystem", f.filesystem.allowed)
	return cmd
}

func (c *cli) createServer(ctx context.Context, f *serverCreate, text string) error {
	name, err := serverName(text)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.start(ctx, &f.startFlags, func(ctx context.Context, a *api) (*cpv1.Job, error) {
		answer, err := a.servers.CreateServer(ctx, &cpv1.CreateServerRequest{
			Name: name, Image: f.image, Zone: f.zone, VolumeSizeBytes: f.size.bytes,
			Filesystem: f.filesystem.value, Port: f.port.number, BinlogAutoPurge: f.autoPurge,
			Options: f.options, RequestId: requestID, ValidateOnly: f.dryRun,
		})
		return answer.GetJob(), err
	}, c.sayServer)
}
