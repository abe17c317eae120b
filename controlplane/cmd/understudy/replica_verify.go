package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// newLevel is a flag with a level of verification.
func newLevel() choice {
	return choice{value: "position", allowed: enum.Words[cpv1.VerifyLevel]()}
}

// levels explains them.
const levels = `  position  the replica has applied a target position taken on the primary
  sample    and the checksums of a sample of the tables are equal
  full      and the checksums of all tables are equal, at one position, without
            blocking the primary`

func (c *cli) newReplicaVerify() *cobra.Command {
	f, level := &startFlags{}, newLevel()
	cmd := &cobra.Command{
		Use: "verify NAME", Short: "Compare a replica with its primary again",
		Args: words([]string{"NAME"}),
		Long: `Compare a replica with its primary again, and date the result. Both go on
serving. "server get" shows when a replica was verified, and how.

` + levels,
		Example: `  understudy replica verify db2
  understudy replica verify db2 --level full`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := serverName(args[0])
			if err != nil {
				return err
			}
			requestID, err := f.id()
			if err != nil {
				return err
			}
			return c.start(ctx, f, func(ctx context.Context, a *api) (*cpv1.Job, error) {
				answer, err := a.servers.VerifyReplica(ctx, &cpv1.VerifyReplicaRequest{Name: name,
					Level: enum.Of[cpv1.VerifyLevel](level.value), RequestId: requestID,
					ValidateOnly: f.dryRun})
				return answer.GetJob(), err
			}, c.sayServer)
		}),
	}
	cmd.Flags().Var(&level, "level", "how the data is compared")
	f.add(cmd)
	mustComplete(cmd, "level", level.allowed)
	return cmd
}
