package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newAgentGrant(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CreateAgentGrantRequest{}, &cobra.Command{
		Use:   "grant SERVER --for TIME --reason WHY",
		Short: "Let an operator make changing calls on a server's agent for a while",
		Long: `Let an operator make changing calls on a server's agent for a while: calls with
grpcurl, past the jobs of the control plane. Reading calls need no grant.

The grant is for one server and for the operator's key. It outlives renewals of
the certificate. It ends with its time, with "agent revoke-grant", and when the
operator, or the server's agent, is revoked. What is being called under it ends
with it. The agent's audit log has its id with each call.

An agent that is out of reach is told as soon as it is back. One that starts
again is told within seconds. Without a control plane, root calls the agent over
its socket on the host.`,
		Example: `  understudy agent grant db2 --for 30m --reason "unmask MariaDB, ticket 4711"
  understudy agent grant db2 --for 2h --reason "on call" --operator bob`,
	}, "server")
	v.flag("duration", "for", "how long it lasts, such as 30m")
	v.flag("reason", "reason", "`WHY`; it is recorded")
	v.flag("operator", "operator", "for another `OPERATOR`; only an admin may", "yourself")
	v.flag("validate_only", "dry-run", "check the request; make no grant")
	v.flag("request_id", "request-id", "`UUID` under which a repeat is the same request",
		"a new one")
	return answer(v, (*api).CreateAgentGrant,
		func(_ show.Style, answer *cpv1.CreateAgentGrantResponse) string {
			g := answer.GetGrant()
			what := fmt.Sprintf("%s may make changing calls on the agent of %s until %s\n",
				show.Who(g.GetOperator()), show.ID(g.GetServer()),
				stamp(g.GetExpireTime().AsTime()))
			if v.req.GetValidateOnly() {
				return "would be granted: " + what
			}
			undelivered(c, answer.GetUndeliveredReason())
			return show.Clean(g.GetId()) + ": " + what
		})
}

// undelivered says that an agent does not know yet what becomes of a grant.
func undelivered(c *cli, why string) {
	if why != "" {
		fmt.Fprintln(c.Stderr, "the agent does not know it yet: "+show.Clean(why))
	}
}

func newAgentGrants(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListAgentGrantsRequest{}, &cobra.Command{
		Use: "grants [SERVER]", Short: "List the grants of changing calls on agents",
		Long: `List the grants of changing calls on agents, newest first: on which server's
agent, who may make them until when, and why. Those that are over are listed
until their records are pruned.`,
		Example: "  understudy agent grants\n  understudy agent grants db2 -o wide",
	}, "server")
	l := list[*cpv1.ListAgentGrantsRequest, *cpv1.ListAgentGrantsResponse, *cpv1.AgentGrant]{
		call: (*api).ListAgentGrants, rows: (*cpv1.ListAgentGrantsResponse).GetGrants,
		newest: true, empty: "no grants", columns: grantColumns}
	return l.command(v)
}

func grantColumns([]*cpv1.AgentGrant) []column[*cpv1.AgentGrant] {
	return []column[*cpv1.AgentGrant]{
		{head: "ID", path: "id"},
		{head: "SERVER", path: "server"},
		{head: "STATE", path: "state"},
		{head: "WHO", path: "operator",
			text: func(g *cpv1.AgentGrant) string { return show.Who(g.GetOperator()) }},
		{head: "BY", path: "creator", wide: true,
			text: func(g *cpv1.AgentGrant) string { return show.Who(g.GetCreator()) }},
		{head: "CREATED", path: "create_time", wide: true},
		{head: "EXPIRES", path: "expire_time",
			text: func(g *cpv1.AgentGrant) string { return stamp(g.GetExpireTime().AsTime()) }},
		{head: "REVOKED", path: "revoke_time", wide: true},
		{head: "REASON", path: "reason"},
	}
}

func newAgentRevokeGrant(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RevokeAgentGrantRequest{}, &cobra.Command{
		Use: "revoke-grant GRANT", Short: "End a grant of changing calls on an agent",
		Long: `End a grant before its time. Calls that are made under it end within a second of
the agent's hearing of it. A repeat changes nothing.`,
		Example: `  understudy agent revoke-grant grant-1f0c5a9e3b72
  understudy agent revoke-grant grant-1f0c5a9e3b72 --dry-run`,
	}, "id")
	v.flag("validate_only", "dry-run", "print what would be revoked; revoke nothing")
	v.flag("request_id", "request-id", "`UUID` under which a repeat is the same request",
		"a new one")
	return answer(v, (*api).RevokeAgentGrant,
		func(_ show.Style, answer *cpv1.RevokeAgentGrantResponse) string {
			g := answer.GetGrant()
			undelivered(c, answer.GetUndeliveredReason())
			return fmt.Sprintf("%s: %s: %s on the agent of %s\n", show.Clean(g.GetId()),
				word(v.req.GetValidateOnly(), "would be revoked", "over"),
				show.Who(g.GetOperator()), show.ID(g.GetServer()))
		})
}
