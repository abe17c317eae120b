package main

import (
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerUpdate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.UpdateServerRequest{Server: &cpv1.Server{}}, &cobra.Command{
		Use: "update NAME", Short: "Change settings of a server",
		Long: `Change settings of a server. Only what is given changes.

Binlog auto purge and replication exclude each other, because MariaDB would
purge binary logs that a replica still needs: it is refused on a replica, and on
a primary that has replicas.`,
		Example: `  understudy server update db1 --binlog-auto-purge=true
  understudy server update db1 --binlog-auto-purge=false`,
	}, "server.name")
	v.flag("server.binlog_auto_purge", "binlog-auto-purge",
		"let MariaDB purge binary logs by itself")
	v.flag("server.etag", "etag", "change only while the record has this `ETAG`")
	v.flag("validate_only", "dry-run", "validate only; change nothing")
	v.flag("request_id", "request-id", "`UUID` under which a repeat is the same request",
		"a new one")
	v.checks = append(v.checks, func() error {
		if !v.cmd.Flags().Changed("binlog-auto-purge") {
			return usageError{message: "nothing to change: --binlog-auto-purge is required"}
		}
		v.req.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"binlog_auto_purge"}}
		return nil
	})
	return answer(v, (*api).UpdateServer,
		func(st show.Style, answer *cpv1.UpdateServerResponse) string {
			return serverRecord(c, st, answer.GetServer())
		})
}
