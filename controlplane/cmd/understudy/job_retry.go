package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobRetry(c *cli) *cobra.Command {
	req := &cpv1.RetryJobRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "retry JOB", Short: "Go on at the step that failed, or run one step alone",
		Long: `Go on with a job that failed or waits for an operator, at the step that stopped
it.

With --step, run that step alone, whatever the state of the job, and leave the
job as it was. Steps observe before they act: a step whose work is done changes
nothing. The exit code says how the step ended.`,
		Example: `  understudy job retry JOB
  understudy job retry JOB --step configure_replica`,
	}, "name")
	v.flag("step", "step", "run this `STEP` alone")
	return jobVerb(v, (*api).RetryJob, jobParts{good: func(*cpv1.Job) ending {
		if req.GetStep() != "" {
			return stepEnded(req.GetStep())
		}
		return succeeded
	}})
}
