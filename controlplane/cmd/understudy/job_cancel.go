package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobCancel() *cobra.Command {
	w := waitFlags{}
	cmd := &cobra.Command{
		Use: "cancel JOB", Short: "Stop a job at its next safe point", Args: words([]string{"JOB"}),
		Long: `Stop a job at its next safe point. What it holds on the primary is released; the primary is as it was.

What it made stays, so that "job retry" can go on with it; "job cleanup" removes it. The exit code is 0 when the job ended as cancelled.`,
		Example: `  understudy job cancel JOB
  understudy job cancel JOB && understudy job cleanup JOB`,
		ValidArgsFunction: c.complete(c.activeJobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(jobKind, args[0])
			if err != nil {
				return err
			}
			return c.onJob(ctx, w, always(cancelled), func(ctx context.Context, a *api) (*cpv1.Job,
				error) {
				answer, err := a.jobs.CancelJob(ctx, &cpv1.CancelJobRequest{Name: name})
				return answer.GetJob(), err
			})
		}),
	}
	w.add(cmd)
	return cmd
}
