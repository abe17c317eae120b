package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newServerDelete() *cobra.Command {
	f := &deleteFlags{}
	cmd := &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"},
		Short: "Delete a server with its machine and its data", Args: words([]string{"NAME"}),
		Long: `Delete a server: its machine, its volumes with their data, and a replica's
account on its primary. Its snapshots stay. A primary that still has replicas is
refused.

The command asks for the server's name; --yes answers for scripts. It deletes
the record that it showed: when the record changes meanwhile, the control plane
refuses.`,
		Example: `  understudy server delete db2
  understudy server delete db2 --dry-run
  understudy server delete db2 --yes`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.deleteServer(ctx, f, args[0])
		}),
	}
	f.add(cmd)
	return cmd
}

func (c *cli) deleteServer(ctx context.Context, f *deleteFlags, text string) error {
	name, err := serverName(text)
	if err != nil {
		return err
	}
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.delete(ctx, f, deletion{name: name,
		read: func(ctx context.Context, a *api) (string, string, error) {
			s, err := getServer(ctx, a, name)
			return fmt.Sprintf(
				"This deletes the %s %s (%s), its machine %s and all data on its volume %s.",
				enum.Word(s.GetRole()), show.ID(name), trimEnum(s.GetState()),
				dash(s.GetMachine()), dash(s.GetDataVolume())), s.GetEtag(), err
		},
		send: func(ctx context.Context, a *api, etag string) (*cpv1.Job, error) {
			answer, err := a.servers.DeleteServer(ctx, &cpv1.DeleteServerRequest{Name: name,
				Etag: etag, RequestId: requestID, ValidateOnly: f.dryRun})
			return answer.GetJob(), err
		}})
}
