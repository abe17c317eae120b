package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newServerUpdate() *cobra.Command {
	var autoPurge, dryRun bool
	var etag string
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change settings of a server", Args: words([]string{"NAME"}),
		Long: `Change settings of a server. Only what is given changes.

Binlog auto purge and replication exclude each other: MariaDB would throw away binary logs that a replica still needs. Turning it on is
refused on a replica, and on a primary that has replicas.`,
		Example: `  understudy server update db1 --binlog-auto-purge=true
  understudy server update db1 --binlog-auto-purge=false`,
		ValidArgsFunction: c.complete(c.serverIDs),
	}
	cmd.Flags().BoolVar(&autoPurge, "binlog-auto-purge", false,
		"let MariaDB purge binary logs by itself")
	cmd.Flags().StringVar(&etag, "etag", "",
		"`ETAG`: change it only if the record is still the one with this etag")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check; change nothing")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		name, err := serverName(args[0])
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("binlog-auto-purge") {
			return usageError{message: "nothing to change",
				hint: "say what: --binlog-auto-purge=true or --binlog-auto-purge=false"}
		}
		return c.updateServer(ctx, &cpv1.UpdateServerRequest{
			Server:     &cpv1.Server{Name: name, BinlogAutoPurge: autoPurge, Etag: etag},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"binlog_auto_purge"}},
			RequestId:  uuid.NewString(), ValidateOnly: dryRun,
		})
	})
	return cmd
}

func (c *cli) updateServer(ctx context.Context, req *cpv1.UpdateServerRequest) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := a.servers.UpdateServer(ctx, req)
		if err != nil {
			return err
		}
		return c.print(answer,
			func(st show.Style) string { return c.serverRecord(st, answer.GetServer()) })
	})
}
