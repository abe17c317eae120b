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
	return group("token", "Create join tokens for machines that were set up by hand", tokenLong,
		newTokenCreate(c))
}

func newTokenCreate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CreateJoinTokenRequest{}, &cobra.Command{
		Use: "create SERVER --out FILE", Short: "Create a join file with a one-time token",
		Long: `Create a one-time join token for the machine of a server, and write the join
file with it. Only its owner can read the file, and no file is overwritten. Put
it on the machine as /etc/understudy-agent/join.json before the agent's first
start.

The token works once, for that server alone, and expires after --ttl. With --out
- the file goes to standard output: it is a secret, so keep it out of logs and
argument lists.`,
		Example: `  understudy token create db4 --out join.json
  understudy token create db4 --ttl 1h --out - | ssh db4 'install -m 600 /dev/stdin join.json'`,
	}, "server")
	v.flag("ttl", "ttl", "how long the token is valid")
	out := v.outFlag("name the join file to write, or - for standard output")
	return v.does(func(ctx context.Context, a *api) error {
		var answer *cpv1.CreateJoinTokenResponse
		err := writeSecret(c, *out, func() (secret []byte, err error) {
			answer, err = a.CreateJoinToken(ctx, v.req)
			return answer.GetJoinFile(), err
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
