package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobRedo() *cobra.Command {
	w := waitFlags{}
	var reason string
	cmd := &cobra.Command{
		Use: "redo JOB STEP --reason WHY", Short: "Make a step's effect anew, and go on from there",
		Args: words([]string{"JOB", "STEP"}),
		Long: `Make a step's effect anew, and go on from there with the steps behind it.

A retry finds what an earlier attempt has made, a machine or a volume, and goes on with it. Redo does not: the effect gets a new key, so that
the earlier one is not found again. It is for an effect that is there and is no good.`,
		Example:           `  understudy job redo JOB create_machine --reason "the machine's disk is broken"`,
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
				answer, err := a.jobs.RedoStep(ctx, &cpv1.RedoStepRequest{Name: job, Step: step,
					Reason: reason})
				return answer.GetJob(), err
			})
		}),
	}
	reasonFlag(cmd, &reason)
	w.add(cmd)
	return cmd
}
