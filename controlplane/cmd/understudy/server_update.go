package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type serverUpdate struct {
	requestFlags
	autoPurge, dryRun bool
	etag              string
}

func (c *cli) newServerUpdate() *cobra.Command {
	f := &serverUpdate{}
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change settings of a server", Args: words([]string{"NAME"}),
		Long: `Change settings of a server. Only what is given changes.

Binlog auto purge and replication exclude each other, because MariaDB would
purge binary logs that a replica still needs: it is refused on a replica, and on
a primary that has replicas.`,
		Example: `  understudy server update db1 --binlog-auto-purge=true
  understudy server update db1 --binlog-auto-purge=false`,
		ValidArgsFunction: c.complete(c.serverIDs),
	}
	cmd.Flags().BoolVar(&f.autoPurge, "binlog-auto-purge", false,
		"let MariaDB purge binary logs by itself")
	cmd.Flags().StringVar(&f.etag, "etag", "", "change only while the record has this `ETAG`")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "validate only; change nothing")
	f.add(cmd)
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		if !cmd.Flags().Changed("binlog-auto-purge") {
			return usageError{message: "nothing to change: --binlog-auto-purge is required"}
		}
		return c.updateServer(ctx, f, args[0])
	})
	return cmd
}

func (c *cli) updateServer(ctx context.Context, f *serverUpdate, text string) error {
	name, err := serverName(text)
	if err != nil {
		return err
	}
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := a.servers.UpdateServer(ctx, &cpv1.UpdateServerRequest{
			Server:     &cpv1.Server{Name: name, BinlogAutoPurge: f.autoPurge, Etag: f.etag},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"binlog_auto_purge"}},
			RequestId:  requestID, ValidateOnly: f.dryRun,
		})
		if err != nil {
			return f.lost(err)
		}
		return c.print(answer,
			func(st show.Style) string { return c.serverRecord(st, answer.GetServer()) })
	})
}
