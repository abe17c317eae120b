package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobRetry() *cobra.Command {
	w := waitFlags{}
	var step string
	cmd := &cobra.Command{
		Use: "retry JOB", Short: "Go on at the step that failed, or run one step alone",
		Args: words([]string{"JOB"}),
		Long: `Go on with a job that failed or waits for a decision, at the step that stopped it.

With --step, run that one step alone, whatever became of the job, and leave the job as it was. Steps look before they act: one whose
work is done already finds it done and changes nothing. The exit code tells how the step ended.`,
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
			return c.onJob(ctx, w, always(good), func(ctx context.Context, a *api) (*cpv1.Job,
				error) {
				answer, err := a.jobs.RetryJob(ctx, &cpv1.RetryJobRequest{Name: name, Step: step})
				return answer.GetJob(), err
			})
		}),
	}
	cmd.Flags().StringVar(&step, "step", "", "run this `STEP` alone")
	w.add(cmd)
	c.completeFlag(cmd, "step", c.stepNames)
	return cmd
}
