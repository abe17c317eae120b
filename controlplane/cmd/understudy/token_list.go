package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newTokenList(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListJoinTokensRequest{}, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the join tokens, newest first",
		Long: `List the join tokens on record, newest first: for whose machine each is, who
made it, and what became of it. The tokens themselves are kept nowhere. A token
that nobody has used ends when the operator who made it is revoked.`,
		Example: "  understudy token list\n  understudy token list -o wide",
	})
	l := list[*cpv1.ListJoinTokensRequest, *cpv1.ListJoinTokensResponse, *cpv1.JoinToken]{
		call: (*api).ListJoinTokens, rows: (*cpv1.ListJoinTokensResponse).GetJoinTokens,
		empty: "no join tokens", columns: func([]*cpv1.JoinToken) []column[*cpv1.JoinToken] {
			return []column[*cpv1.JoinToken]{
				{head: "SERVER", path: "server",
					text: func(t *cpv1.JoinToken) string { return show.ID(t.GetServer()) }},
				{head: "MACHINE", path: "machine", wide: true},
				{head: "STATE", path: "state"},
				{head: "WHO", path: "creator",
					text: func(t *cpv1.JoinToken) string { return show.Who(t.GetCreator()) }},
				{head: "CREATED", path: "create_time"},
				{head: "EXPIRES", path: "expire_time", text: func(t *cpv1.JoinToken) string {
					return stamp(t.GetExpireTime().AsTime())
				}},
				{head: "USED", path: "use_time", wide: true},
				{head: "REVOKED", path: "revoke_time", wide: true},
			}
		}}
	return l.command(v)
}
