package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerList(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListServersRequest{}, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List servers",
		Long: `List servers by name, with their role, their state and how a replica was
verified.

SEEN is when the server's agent last answered. A server whose agent cannot be
reached is UNREACHABLE, whatever its state was before. After a start of the
control plane a server is UNKNOWN until it was seen to be READY.`,
		Example: `  understudy server list
  understudy server list --of db1 --state degraded,unreachable
  understudy server list --watch
  understudy server list --sort -seen -o wide
  understudy server list -o json | jq -r '.servers[].name'`,
	})
	v.flag("role", "role", "only those of this `ROLE`: primary or replica")
	return listServers(v, "no servers; `understudy server create NAME` makes one")
}

// listServers lists the servers that a request means.
func listServers(v *verb[*cpv1.ListServersRequest], empty string) *cobra.Command {
	filters(v, "the name, primary, machine, address or reason")
	v.flag("show_deleted", "all", "with deleted servers")
	l := list[*cpv1.ListServersRequest, *cpv1.ListServersResponse, *cpv1.Server]{
		call: (*api).ListServers, rows: (*cpv1.ListServersResponse).GetServers, empty: empty,
		columns: func(rows []*cpv1.Server) []column[*cpv1.Server] {
			busy := slices.ContainsFunc(rows,
				func(s *cpv1.Server) bool { return len(s.GetJobs()) > 0 })
			return []column[*cpv1.Server]{
				{head: "NAME", path: "name"}, {head: "ROLE", path: "role"},
				{head: "STATE", path: "state"},
				{head: "JOB", path: "jobs", wide: !busy, text: jobWord},
				{head: "PRIMARY", path: "primary"},
				{head: "ADDRESS", path: "address", text: endpoint},
				{head: "MARIADB", path: "mariadb_version"},
				{head: "VERIFIED", path: "verified.level"},
				{head: "SEEN", path: "last_seen_time"},
				{head: "MACHINE", path: "machine", wide: true},
				{head: "VOLUME", path: "data_volume", wide: true},
				{head: "IMAGE", path: "image", wide: true},
				{head: "ZONE", path: "zone", wide: true},
				{head: "REASON", path: "state_reason", wide: true},
			}
		}}
	return l.command(v)
}

// jobWord is what the newest job on a server does.
func jobWord(s *cpv1.Server) string {
	if len(s.GetJobs()) == 0 {
		return ""
	}
	return enum.Word(s.GetJobs()[0].GetKind())
}

// allServers are all servers that a request means.
func allServers(ctx context.Context, a *api,
	req *cpv1.ListServersRequest) ([]*cpv1.Server, error) {
	all, err := pages(ctx, a, (*api).ListServers, req, 0)
	return all.GetServers(), err
}
