package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobRetry() *cobra.Command {
	f, step := &changeFlags{}, ""
	cmd := &cobra.Command{
		Use: "retry JOB", Short: "Go on at the step that failed, or run one step alone",
		Args: words([]string{"JOB"}),
		Long: `Go on with a job that failed or waits for an operator, at the step that stopped
it.

With --step, run that step alone, whatever the state of the job, and leave the
job as it was. Steps observe before they act: a step whose work is done changes
nothing. The exit code says how the step ended.`,
		Example: `  understudy job retry JOB
  understudy job retry JOB --step configure_replica`,
		ValidArgsFunction: c.complete(c.jobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(jobKind, args[0])
			if err != nil {
				return err
			}
			good := succeeded
			if step != "" {
				if step, err = stepName(step); err != nil {
					return err
				}
				good = stepEnded(step)
			}
			return c.change(ctx, f, always(good), func(ctx context.Context, a *api,
				requestID string) (*cpv1.Job, error) {
				answer, err := a.jobs.RetryJob(ctx, &cpv1.RetryJobRequest{Name: name, Step: step,
					RequestId: requestID})
				return answer.GetJob(), err
			})
		}),
	}
	cmd.Flags().StringVar(&step, "step", "", "run this `STEP` alone")
	f.add(cmd)
	c.completeFlag(cmd, "step", c.stepNames)
	return cmd
}
