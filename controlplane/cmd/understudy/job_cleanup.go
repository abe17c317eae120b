package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newJobCleanup(c *cli) *cobra.Command {
	req := &cpv1.CleanupJobRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "cleanup JOB", Short: "Remove what a failed or cancelled job made",
		Long: `Remove what a failed or cancelled job made, found by its tags: machines,
volumes, snapshots and accounts. Nothing else is touched. Afterwards the job
cannot be retried.

When that deletes data, the control plane refuses until --yes-delete names what
may be deleted. The exit code is 0 when everything was removed, though the job
stays failed or cancelled.`,
		Example: `  understudy job cleanup JOB --dry-run
  understudy job cleanup JOB
  understudy job cleanup JOB --yes-delete db2`,
	}, "name")
	confirm := confirms(v, func(what *cpv1.DeleteConfirmation) { req.ConfirmDelete = what })
	var was *cpv1.Job
	return jobVerb(v, (*api).CleanupJob, jobParts{good: cleanedUp,
		prepare: func(ctx context.Context, a *api) (err error) {
			if req.GetValidateOnly() {
				was, err = getJob(ctx, a, req.GetName())
				return err
			}
			return confirm(ctx, a)
		},
		refused: func(ctx context.Context, a *api, err error) (*cpv1.Job, error) {
			return nil, unconfirmed(ctx, a, err, "CleanupJob", "name", req.GetName())
		},
		plan: func(plan *cpv1.Job) *cpv1.Job { return cleanupPlan(was, plan) },
	})
}

// cleanupPlan is the part of a job that is about removing: the steps that the job does not have
// yet, or that would still change something.
func cleanupPlan(was, plan *cpv1.Job) *cpv1.Job {
	had := map[string]bool{}
	for _, step := range was.GetSteps() {
		had[step.GetName()] = true
	}
	only := proto.CloneOf(plan)
	only.Title, only.Error = "remove what "+show.ID(was.GetName())+" made", nil
	only.Steps = slices.DeleteFunc(only.GetSteps(), func(step *cpv1.Step) bool {
		ahead := step.GetState() == cpv1.Step_STATE_PENDING ||
			step.GetState() == cpv1.Step_STATE_UNSPECIFIED
		return had[step.GetName()] && !(ahead && len(step.GetChanged()) > 0)
	})
	return only
}

// cleanedUp is the ending of a clean-up: the steps that were to be done are, whatever became of the
// others before.
func cleanedUp(asked *cpv1.Job) ending {
	due := map[string]bool{}
	for _, s := range asked.GetSteps() {
		switch s.GetState() {
		case cpv1.Step_STATE_PENDING, cpv1.Step_STATE_RUNNING, cpv1.Step_STATE_WAITING:
			due[s.GetName()] = true
		}
	}
	return func(job *cpv1.Job) outcome {
		for _, s := range job.GetSteps() {
			if failed := s.GetState() == cpv1.Step_STATE_FAILED ||
				s.GetState() == cpv1.Step_STATE_ACTION_REQUIRED; failed && due[s.GetName()] {
				return outcome{line: fmt.Sprintf("not all that %s made was removed: step %s is %s",
					show.ID(job.GetName()), s.GetName(), stepWord(s))}
			}
		}
		return outcome{good: true, line: "what " + show.ID(job.GetName()) + " made was removed"}
	}
}
