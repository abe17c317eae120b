package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobCancel() *cobra.Command {
	f := &changeFlags{}
	cmd := &cobra.Command{
		Use: "cancel JOB", Short: "Stop a job at its next safe point", Args: words([]string{"JOB"}),
		Long: `Stop a job at its next safe point. A primary that it quiesced is resumed.

What the job made stays: "job retry" goes on with it, "job cleanup" removes it.
The exit code is 0 when the job ended as cancelled.`,
		Example: `  understudy job cancel JOB
  understudy job cancel JOB && understudy job cleanup JOB`,
		ValidArgsFunction: c.complete(c.activeJobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(jobKind, args[0])
			if err != nil {
				return err
			}
			return c.change(ctx, f, always(cancelled), func(ctx context.Context, a *api,
				requestID string) (*cpv1.Job, error) {
				answer, err := a.jobs.CancelJob(ctx, &cpv1.CancelJobRequest{Name: name,
					RequestId: requestID})
				return answer.GetJob(), err
			})
		}),
	}
	f.add(cmd)
	return cmd
}

// cancelled is the ending of a cancel.
func cancelled(job *cpv1.Job) outcome {
	return outcome{good: job.GetState() == cpv1.Job_STATE_CANCELLED, line: show.Ended(job)}
}
