package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type serverList struct {
	filterFlags
	role   enums[cpv1.Server_Role]
	states enums[cpv1.Server_State]
}

func (c *cli) newServerList() *cobra.Command {
	f := &serverList{filterFlags: filterFlags{cli: c}}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List servers", Args: words(nil),
		Long: `List servers by name, with their role, their state and how a replica was
verified.

SEEN is when the server's agent last answered. A server whose agent cannot be
reached is UNREACHABLE, whatever its state was before.`,
		Example: `  understudy server list
  understudy server list --of db1 --state degraded,unreachable
  understudy server list -o json | jq -r '.servers[].name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.listServers(ctx, f, "no servers; `understudy server create NAME` makes one")
		}),
	}
	f.add(cmd)
	addEnums(cmd, &f.role, "role")
	return cmd
}

func (f *serverList) add(cmd *cobra.Command) {
	f.addOf(cmd, "only the replicas of `PRIMARY`")
	addEnums(cmd, &f.states, "state")
	f.addText(cmd, "the name, primary, machine, address or reason")
	f.addAll(cmd, "with deleted servers")
}

func (c *cli) listServers(ctx context.Context, f *serverList, empty string) error {
	primary, err := f.server()
	if err != nil {
		return err
	}
	req := &cpv1.ListServersRequest{Primary: primary, ShowDeleted: f.all, Text: f.text,
		States: f.states.values}
	if len(f.role.values) == 1 {
		req.Role = f.role.values[0]
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, err := allServers(ctx, a, req)
		if err != nil {
			return err
		}
		return c.list(&cpv1.ListServersResponse{Servers: all},
			[]string{"NAME", "ROLE", "STATE", "PRIMARY", "ADDRESS", "MARIADB", "VERIFIED", "SEEN"},
			func(st show.Style) [][]string {
				return rows(all, func(s *cpv1.Server) []string { return c.serverRow(st, s) })
			}, empty)
	})
}

func (c *cli) serverRow(st show.Style, s *cpv1.Server) []string {
	return []string{
		show.ID(s.GetName()), enum.Word(s.GetRole()), st.State(trimEnum(s.GetState())),
		show.ID(s.GetPrimary()), endpoint(s), show.Clean(s.GetMariadbVersion()),
		enum.Word(s.GetVerified().GetLevel()), show.Age(c.Now(), s.GetLastSeenTime().AsTime()),
	}
}
