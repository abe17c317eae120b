package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const operatorLong = `An operator is a user of this command line, or of the API. Their
identity is a certificate that the control plane issued.`

func newOperator(c *cli) *cobra.Command {
	return group("operator", "Create and revoke the identities of operators", operatorLong,
		newOperatorCreate(c), newOperatorRevoke(c))
}

func newOperatorRevoke(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RevokeRequest{}, &cobra.Command{
		Use: "revoke OPERATOR --reason WHY", Short: "Revoke all certificates of an operator",
		Long: `Revoke all certificates of an operator. Open connections are refused from their
next call on. A repeat changes nothing.`,
		Example: `  understudy operator revoke alice --reason "left the team"
  understudy operator revoke alice --reason "left the team" --dry-run`,
	}, "name")
	v.cmd.ValidArgsFunction = cobra.NoFileCompletions
	v.checks = append(v.checks, func() error {
		id := strings.TrimPrefix(v.req.GetName(), serverKind+"/")
		if err := identity.CheckName(id); err != nil {
			return usageError{message: "OPERATOR " + quote(id) + " is not valid: " + err.Error()}
		}
		v.req.Name = operatorKind + "/" + id
		return nil
	})
	return revoke(v)
}
