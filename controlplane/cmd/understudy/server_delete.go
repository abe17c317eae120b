package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerDelete(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.DeleteServerRequest{}, &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"},
		Short: "Delete a server with its machine and its data",
		Long: `Delete a server: its machine, its volumes with their data, and a replica's
account on its primary. Its snapshots stay. A primary that still has replicas is
refused.

The command asks for the server's name; --yes answers for scripts. It deletes
the record that it showed: when the record changes meanwhile, the control plane
refuses.`,
		Example: `  understudy server delete db2
  understudy server delete db2 --dry-run
  understudy server delete db2 --yes`,
	}, "name")
	return deleteVerb(v, (*api).DeleteServer, getServer, func(s *cpv1.Server) string {
		return fmt.Sprintf(
			"This deletes the %s %s (%s), its machine %s and all data on its volume %s.",
			enum.Word(s.GetRole()), show.ID(s.GetName()), trimEnum(s.GetState()),
			dash(s.GetMachine()), dash(s.GetDataVolume()))
	})
}
