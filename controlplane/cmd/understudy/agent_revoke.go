package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newAgent() *cobra.Command {
	return c.group("agent", "Revoke the identities of agents and operators",
		"An agent is the daemon on a server's machine. Its identity is a certificate that the "+
			"control plane\nissued.",
		c.newAgentRevoke())
}

func (c *cli) newAgentRevoke() *cobra.Command {
	var reason string
	var operator, dryRun bool
	cmd := &cobra.Command{
		Use: "revoke SERVER --reason WHY", Short: "Revoke all certificates of a server's agent",
		Args: words([]string{"SERVER"}),
		Long: `Revoke all certificates of a server's agent and its MariaDB, and all its join
tokens. Open connections are refused from their next call on. "understudy token
create" lets the machine in again.

With --operator the name is that of an operator. A repeat changes nothing.`,
		Example: `  understudy agent revoke db2 --reason "the machine was lost"
  understudy agent revoke --operator alice --reason "left the team"`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			req := &cpv1.RevokeRequest{Reason: reason, ValidateOnly: dryRun}
			var err error
			if req.Name, err = revokeName(args[0], operator); err != nil {
				return err
			}
			if err := checkReason("reason", reason, 200); err != nil {
				return err
			}
			return c.revoke(ctx, req)
		}),
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVar(&operator, "operator", false, "revoke an operator's certificates")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be revoked; revoke nothing")
	return cmd
}

func revokeName(text string, operator bool) (string, error) {
	if !operator {
		return serverName(text)
	}
	id := strings.TrimPrefix(text, "operators/")
	if err := identity.CheckName(id); err != nil {
		return "", usageError{message: quote(id) + " is not a valid operator name: " + err.Error()}
	}
	return "operators/" + id, nil
}

func (c *cli) revoke(ctx context.Context, req *cpv1.RevokeRequest) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := a.enrollment.Revoke(ctx, req)
		if err != nil {
			return err
		}
		return c.print(answer, func(show.Style) string {
			verb := "revoked"
			if req.GetValidateOnly() {
				verb = "would be revoked"
			}
			if len(answer.GetSerials()) == 0 {
				return req.GetName() + " has no valid certificate\n"
			}
			var b strings.Builder
			for _, serial := range answer.GetSerials() {
				b.WriteString(verb + ": certificate " + show.Clean(serial) + " of " +
					req.GetName() + "\n")
			}
			return b.String()
		})
	})
}
