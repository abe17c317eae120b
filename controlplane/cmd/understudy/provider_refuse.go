package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// maxTaskText is how long a reason for refusing a task may be, in bytes.
const maxTaskText = 200

func (c *cli) newProviderRefuse() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "refuse TASK --reason WHY", Short: "Report that a manual task will not be done",
		Args: words([]string{"TASK"}),
		Long: `Report that a manual task will not be done, and why. The job that needs it fails
with that reason; "job retry" asks again.`,
		Example: `  understudy provider refuse task-1f0c52a9be31 --reason 'no room in rack 4'
  understudy provider tasks --all`,
		ValidArgsFunction: c.complete(c.taskIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			if err := checkReason("reason", reason, maxTaskText); err != nil {
				return err
			}
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.providers.RefuseTask(ctx,
					&cpv1.RefuseTaskRequest{Id: args[0], Reason: reason})
				if err != nil {
					return err
				}
				return c.print(answer, func(show.Style) string {
					return show.Clean(answer.GetTask().GetId()) + " is refused\n"
				})
			})
		}),
	}
	reasonFlag(cmd, &reason)
	return cmd
}
