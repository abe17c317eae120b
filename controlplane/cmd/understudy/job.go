package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const jobLong = `A job is work that takes a while: taking a snapshot, making a replica, deleting
a server. It is made of steps. Each step observes, changes what differs, and
observes again, so any step can be retried.

A job survives the control plane and goes on when that is back. When a step
fails for good, the job stops, resumes a primary that it quiesced, and says why
and what to do:

  retry    go on at the step that failed, or run one step alone
  redo     run a step again as if it had never run, and go on
  skip     go on without the step that failed
  cancel   stop a job that runs or waits
  cleanup  remove what a failed or cancelled job made

The beginning of a job's id is enough, while no other job begins so. Every
request is recorded: see "understudy event list".`

func newJob(c *cli) *cobra.Command {
	return group("job", "Watch jobs, and decide about those that stopped", jobLong,
		newJobList(c), newJobGet(c), newJobWatch(c), newJobAttempts(c), newJobRetry(c),
		newJobRedo(c), newJobSkip(c), newJobCancel(c), newJobCleanup(c))
}

func getJob(ctx context.Context, a *api, name string) (*cpv1.Job, error) {
	answer, err := a.GetJob(ctx, &cpv1.GetJobRequest{Name: name})
	return answer.GetJob(), err
}
