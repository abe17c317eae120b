package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newAgent(c *cli) *cobra.Command {
	return group("agent", "Let operators change agents, and revoke agents' identities",
		`An agent is the daemon on a server's machine. The control plane calls it, and
operators may too: to read at any time, and to change something while they have
a grant. Its identity is a certificate that the control plane issued.`,
		newAgentGrant(c), newAgentGrants(c), newAgentRevokeGrant(c), newAgentRevoke(c))
}

func newAgentRevoke(c *cli) *cobra.Command {
	return revoke(newVerb(c, &cpv1.RevokeRequest{}, &cobra.Command{
		Use: "revoke SERVER --reason WHY", Short: "Revoke all certificates of a server's agent",
		Long: `Revoke all certificates of a server's agent and its MariaDB, and all its join
tokens. Open connections are refused from their next call on. A replica's account on
its primary is dropped, and its sessions there are ended. "understudy token create"
lets the machine in again, and "understudy replica rotate-credentials" gives it an
account. A repeat changes nothing.`,
		Example: `  understudy agent revoke db2 --reason "the machine was lost"
  understudy agent revoke db2 --reason "the machine was lost" --dry-run`,
	}, "name"))
}

// revoke is the verb that revokes the certificates of an agent or an operator.
func revoke(v *verb[*cpv1.RevokeRequest]) *cobra.Command {
	v.flag("reason", "reason", "`WHY`; it is recorded")
	v.flag("validate_only", "dry-run", "print what would be revoked; revoke nothing")
	return answer(v, (*api).Revoke, func(_ show.Style, answer *cpv1.RevokeResponse) string {
		if answer.GetNoAdminLeft() {
			fmt.Fprintln(v.cli.Stderr, word(v.req.GetValidateOnly(), "no admin would be left",
				"no admin is left")+": `understudy --local operator create NAME --role admin "+
				"--out FILE`, as root on the control plane's host, makes one")
		}
		who := show.Clean(envOr(answer.GetName(), v.req.GetName()))
		switch dry := v.req.GetValidateOnly(); {
		case len(answer.GetSerials()) > 0:
		case v.req.GetSubject() != "":
			return who + word(dry, " would", " does") + " not log in any more\n"
		default:
			return who + " has no valid certificate\n"
		}
		return strings.Join(each(answer.GetSerials(), func(serial string) string {
			return word(v.req.GetValidateOnly(), "would be revoked", "revoked") +
				": certificate " + show.Clean(serial) + " of " + who + "\n"
		}), "")
	})
}
