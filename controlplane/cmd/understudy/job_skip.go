package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobSkip() *cobra.Command {
	cmd := &cobra.Command{
		Use: "skip JOB STEP --reason WHY", Short: "Go on without a step that failed",
		Long: `Mark a step that failed as skipped, with the reason, and go on with the next
one.

You answer for what the step makes true. Later steps still check what they rely
on, and refuse when it is not true.`,
		Example: `  understudy job skip JOB upgrade_mariadb --reason "upgraded by hand"
  understudy job skip JOB verify --reason "compared with pt-table-checksum"`,
	}
	c.stepVerb(&changeFlags{}, cmd, func(ctx context.Context, a *api,
		req *cpv1.RedoStepRequest) (*cpv1.Job, error) {
		answer, err := a.jobs.SkipStep(ctx, &cpv1.SkipStepRequest{Name: req.GetName(),
			Step: req.GetStep(), Reason: req.GetReason(), RequestId: req.GetRequestId()})
		return answer.GetJob(), err
	})
	return cmd
}
