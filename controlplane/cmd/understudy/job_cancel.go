package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobCancel(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CancelJobRequest{}, &cobra.Command{
		Use: "cancel JOB", Short: "Stop a job at its next safe point",
		Long: `Stop a job at its next safe point. A primary that it quiesced is resumed.

What the job made stays: "job retry" goes on with it, "job cleanup" removes it.
The exit code is 0 when the job ended as cancelled.`,
		Example: `  understudy job cancel JOB
  understudy job cancel JOB && understudy job cleanup JOB`,
	}, "name")
	v.cmd.ValidArgsFunction = c.complete(activeJobIDs)
	return jobVerb(v, (*api).CancelJob, jobParts{good: func(*cpv1.Job) ending { return cancelled }})
}

// cancelled is the ending of a cancel.
func cancelled(job *cpv1.Job) outcome {
	return outcome{good: job.GetState() == cpv1.Job_STATE_CANCELLED, line: show.Ended(job)}
}
