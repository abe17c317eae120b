package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const tokenLong = `A join token lets the agent of one new machine get its identity, once. Machines
that a provider makes get theirs by themselves; create a token for a machine
that was set up in another way.`

func newToken(c *cli) *cobra.Command {
	return group("token", "Create and list join tokens for machines that were set up by hand",
		tokenLong, newTokenCreate(c), newTokenList(c))
}

func newTokenCreate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CreateJoinTokenRequest{}, &cobra.Command{
		Use: "create SERVER", Short: "Create a one-time token, and print the line to join with",
		Long: `Create a one-time join token for the machine of a server, and print the line
that makes the machine join. Paste it there as root: it checks the machine,
enrols it, and starts its agent.

The token works once, for that server alone, and expires after --ttl. The line
has the pin of the control plane's CA, so the machine gives the token to no other
control plane. Keep the line out of logs.

With --out the token goes into a join file instead, for images and user data: the
agent looks for it in /etc/understudy-agent/join.json. Only its owner can read
the file, and no file is overwritten. --out - is standard output.

A server whose agent has a certificate that is still valid gets a token with
--replace alone, which revokes that certificate: use it for a host that lost its
agent's files, or for another machine under the name. MariaDB's replication goes
on. If the host was stolen, use "understudy agent revoke" in place of it.

With --machine the token has no secret: the machine of that id alone can use it,
which EC2 signs for. The control plane has to take attestation ("attest" in its
configuration), and the machine joins within five minutes of its start.

A repeat with the --request-id of before, when its answer was lost, gives the
same token another secret: the one before is worth nothing then.`,
		Example: `  understudy token create db4
  understudy token create db4 --ttl 1h --out join.json
  understudy token create db4 --replace
  understudy token create db4 --machine i-0123456789abcdef0
  understudy token create db4 --out - | ssh root@db4 understudy-agent join --join-file -`,
	}, "server")
	v.flag("ttl", "ttl", "how long the token is valid")
	v.flag("machine", "machine", "`ID` of the EC2 instance that alone can use the token")
	v.flag("replace", "replace", "revoke the certificate that the server's agent has")
	v.flag("request_id", "request-id", "`UUID` under which a repeat is the same request",
		"a new one")
	out := v.cmd.Flags().String("out", "", "join `FILE` to write, - for standard output")
	return v.does(func(ctx context.Context, a *api) error {
		if *out == "" {
			return v.lost(printJoinLine(ctx, c, a, v.req))
		}
		var answer *cpv1.CreateJoinTokenResponse
		err := writeSecret(c, *out, func() (secret []byte, err error) {
			answer, err = a.CreateJoinToken(ctx, v.req)
			return answer.GetJoinFile(), v.lost(err)
		})
		if err != nil || *out == "-" {
			return err
		}
		return c.print(&cpv1.CreateJoinTokenResponse{ExpireTime: answer.GetExpireTime()},
			func(show.Style) string {
				return fmt.Sprintf("%s is a join file for %s, valid until %s\n", *out,
					show.ID(v.req.GetServer()), stamp(answer.GetExpireTime().AsTime()))
			})
	})
}

// printJoinLine prints the line alone on standard output, so that it can be piped and pasted.
func printJoinLine(ctx context.Context, c *cli, a *api, req *cpv1.CreateJoinTokenRequest) error {
	answer, err := a.CreateJoinToken(ctx, req)
	if err != nil {
		return err
	}
	answer.JoinFile = nil
	return c.print(answer, func(show.Style) string {
		fmt.Fprintf(c.Stderr,
			"run this line as root on the machine of %s; it works once, until %s\n",
			show.ID(req.GetServer()), stamp(answer.GetExpireTime().AsTime()))
		return answer.GetJoinCommand() + "\n"
	})
}
