package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobSkip() *cobra.Command {
	w := waitFlags{}
	var reason string
	cmd := &cobra.Command{
		Use: "skip JOB STEP --reason WHY", Short: "Go on without a step that failed",
		Args: words([]string{"JOB", "STEP"}),
		Long: `Mark a step that failed as skipped, with the reason, and go on with the next one.

What the step was to make sure is then yours to make sure. Steps behind it still prove what they rely on, and refuse when it is not so.`,
		Example:           `  understudy job skip JOB upgrade_mariadb --reason "upgraded by hand"`,
		ValidArgsFunction: c.complete(c.jobIDs, c.stepNames),
		RunE: c.do(func(ctx context.Context, args []string) error {
			job, step, err := jobAndStep(args)
			if err != nil {
				return err
			}
			if err := checkReason(reason); err != nil {
				return err
			}
			return c.onJob(ctx, w, always(succeeded), func(ctx context.Context, a *api) (*cpv1.Job,
				error) {
				answer, err := a.jobs.SkipStep(ctx, &cpv1.SkipStepRequest{Name: job, Step: step,
					Reason: reason})
				return answer.GetJob(), err
			})
		}),
	}
	reasonFlag(cmd, &reason)
	w.add(cmd)
	return cmd
}
