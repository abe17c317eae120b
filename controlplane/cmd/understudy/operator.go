package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const operatorLong = `An operator is a user of this command line, or of the API: a person or a
program. Their identity is a certificate that the control plane issued, in one
of three roles, each with all that the one before it may do:

  viewer    reads, and changes nothing
  operator  changes servers, snapshots, replicas and jobs
  admin     creates and revokes operators, and revokes agents

A viewer or an operator can be one for some servers alone (--servers), and sees
and changes no others. docs/roles.md has each call. With --local root says who
the operators are on the control plane's own host, when no admin is left to do so
(break-glass).`

func newOperator(c *cli) *cobra.Command {
	return group("operator", "Create, list and revoke the identities of operators", operatorLong,
		newOperatorCreate(c), newOperatorUpdate(c), newOperatorList(c), newOperatorRevoke(c),
		newOperatorReadmit(c))
}

func newOperatorList(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListOperatorsRequest{}, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the operators with their roles",
		Long: `List the operators with their roles: when the newest certificate of each was
issued, when it expires, and when it was revoked. Those whose certificate has
expired or was revoked are listed until their records are pruned, and so is who
was revoked before the first login. FROM says who was created, and who logs in
with which account.`,
		Example: `  understudy operator list
  understudy operator list -o wide
  understudy --local operator list`,
	})
	l := list[*cpv1.ListOperatorsRequest, *cpv1.ListOperatorsResponse, *cpv1.Operator]{
		call: (*api).ListOperators, rows: (*cpv1.ListOperatorsResponse).GetOperators,
		empty: "no operators", columns: func([]*cpv1.Operator) []column[*cpv1.Operator] {
			return []column[*cpv1.Operator]{
				{head: "NAME", path: "name",
					text: func(o *cpv1.Operator) string { return show.ID(o.GetName()) }},
				{head: "ROLE", path: "role"}, {head: "STATE", path: "state"},
				{head: "ISSUED", path: "issue_time"},
				{head: "EXPIRES", path: "expire_time", text: func(o *cpv1.Operator) string {
					if o.GetExpireTime() == nil { // who never logged in
						return ""
					}
					return stamp(o.GetExpireTime().AsTime())
				}},
				{head: "REVOKED", path: "revoke_time"},
				{head: "SERVERS", path: "servers", text: func(o *cpv1.Operator) string {
					return envOr(strings.Join(o.GetServers(), ","), "*")
				}},
				{head: "FROM", path: "account.shown_name", text: fromOf},
				{head: "WHY", path: "revoke_reason", wide: true},
				{head: "SERIAL", path: "serial", wide: true},
				{head: "ISSUER", path: "account.issuer", wide: true},
				{head: "SUBJECT", path: "account.subject", wide: true},
				{head: "LOGIN", path: "account.login_time", wide: true},
			}
		}}
	return l.command(v)
}

// fromOf is where an operator comes from: the account that somebody logs in with, or "operator
// create".
func fromOf(o *cpv1.Operator) string {
	if o.GetAccount() == nil {
		return "created"
	}
	return "login " + o.GetAccount().GetShownName()
}

func newOperatorReadmit(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ReadmitOperatorRequest{}, &cobra.Command{
		Use: "readmit OPERATOR", Short: "Let somebody who was revoked log in again",
		Long: `Let somebody who logs in with an account, and who was revoked, log in again. No
certificate is good again: they log in for another one. Operators who were
created are created again instead. Who never logged in is named by the subject, as
for "operator revoke".`,
		Example: `  understudy operator readmit oidc.alice-example.com.3fa9c1d2e4b5
  understudy operator readmit oidc:248289761001`,
	}, "name")
	byLogin(v, v.req.GetName, func(subject string) {
		v.req.Name, v.req.Subject = "", subject
	})
	v.flag("validate_only", "dry-run", "check the change; make none")
	return answer(v, (*api).ReadmitOperator,
		func(_ show.Style, answer *cpv1.ReadmitOperatorResponse) string {
			return fmt.Sprintf("%s %s log in again\n",
				show.ID(envOr(answer.GetName(), v.req.GetName())),
				word(v.req.GetValidateOnly(), "would be let", "may"))
		})
}

// byLogin lets somebody be named oidc:SUBJECT, as the identity provider names them.
func byLogin[Q proto.Message](v *verb[Q], name func() string, set func(subject string)) {
	v.checks = append(v.checks, func() error {
		_, id, _ := strings.Cut(name(), "/") // behind the kind that the field has
		if subject, is := strings.CutPrefix(id, "oidc:"); is {
			if subject == "" {
				return usageError{message: "OPERATOR oidc: names no subject"}
			}
			set(subject)
		}
		return nil
	})
}

func newOperatorUpdate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.UpdateOperatorRequest{}, &cobra.Command{
		Use:   "update OPERATOR --servers PATTERN",
		Short: "Change which servers an operator works with",
		Long: `Change which servers a viewer or an operator works with, who was created with
--servers. It counts from their next call on. To give servers to an operator who
works with all, revoke it and create it again.`,
		Example: `  understudy operator update alice --servers 'shop-*' --servers web-1
  understudy operator update alice --servers '*'`,
	}, "name")
	v.flag("servers", "servers", serversUsage)
	v.flag("validate_only", "dry-run", "check the change; make none")
	return answer(v, (*api).UpdateOperator,
		func(_ show.Style, answer *cpv1.UpdateOperatorResponse) string {
			return fmt.Sprintf("%s %s %s\n", show.ID(v.req.GetName()),
				word(v.req.GetValidateOnly(), "would work with", "works with"),
				serversOf(answer.GetServers()))
		})
}

const serversUsage = "only servers whose names match `PATTERN`, with * for any characters; can " +
	"be repeated"

// serversOf are the servers that an operator works with, in words.
func serversOf(patterns []string) string {
	if len(patterns) == 0 {
		return "all servers"
	}
	return "the servers " + show.Clean(strings.Join(patterns, ", "))
}

func newOperatorRevoke(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RevokeRequest{}, &cobra.Command{
		Use: "revoke OPERATOR --reason WHY", Short: "Revoke all certificates of an operator",
		Long: `Revoke all certificates of an operator. Open connections are refused from their
next call on, and end within a second. A repeat changes nothing. The key is not
certified again: create the operator anew for another one. Somebody who logs in
with an account does not log in any more, until "operator readmit" says so. One who
never logged in is named oidc:SUBJECT, by the claim "sub" that the identity
provider gives them, and is refused at the first login.

The last admin can be revoked, and the command warns then: who the operators are
is said with --local on the control plane's host alone, until that made an admin.`,
		Example: `  understudy operator revoke alice --reason "left the team"
  understudy operator revoke alice --reason "left the team" --dry-run
  understudy operator revoke oidc:248289761001 --reason "is never to get in"`,
	}, "name")
	v.cmd.ValidArgsFunction = cobra.NoFileCompletions
	byLogin(v, v.req.GetName, func(subject string) {
		v.req.Name, v.req.Subject = "", subject
	})
	v.checks = append(v.checks, func() error {
		if v.req.GetSubject() != "" {
			return nil
		}
		id := strings.TrimPrefix(v.req.GetName(), serverKind+"/")
		if err := identity.CheckName(id); err != nil {
			return usageError{message: "OPERATOR " + quote(id) + " is not valid: " + err.Error()}
		}
		v.req.Name = operatorKind + "/" + id
		return nil
	})
	return revoke(v)
}
