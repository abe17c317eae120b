package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobCleanup() *cobra.Command {
	f, req := &changeFlags{}, &cpv1.CleanupJobRequest{}
	cmd := &cobra.Command{
		Use: "cleanup JOB", Short: "Remove what a failed or cancelled job made",
		Args: words([]string{"JOB"}),
		Long: `Remove what a failed or cancelled job made, found by its tags: machines,
volumes, snapshots and accounts. Nothing else is touched. Afterwards the job
cannot be retried.

When that deletes data, the control plane refuses until --yes-delete names what
may be deleted. The exit code is 0 when everything was removed, though the job
stays failed or cancelled.`,
		Example: `  understudy job cleanup JOB --dry-run
  understudy job cleanup JOB
  understudy job cleanup JOB --yes-delete db2`,
		ValidArgsFunction: c.complete(c.jobIDs),
		RunE: c.do(func(ctx context.Context, args []string) (err error) {
			if req.Name, err = resourceName(jobKind, args[0]); err != nil {
				return err
			}
			return c.cleanupJob(ctx, req, f)
		}),
	}
	cmd.Flags().BoolVar(&req.ValidateOnly, "dry-run", false,
		"print what would be removed; remove nothing")
	f.add(cmd)
	f.addConfirm(c, cmd)
	return cmd
}

func (c *cli) cleanupJob(ctx context.Context, req *cpv1.CleanupJobRequest, f *changeFlags) error {
	if !req.GetValidateOnly() {
		return c.change(ctx, f, cleanedUp,
			func(ctx context.Context, a *api, requestID string) (job *cpv1.Job, err error) {
				req.RequestId = requestID
				if req.ConfirmDelete, err = c.confirmation(ctx, a, f.confirm); err != nil {
					return nil, err
				}
				answer, err := a.jobs.CleanupJob(ctx, req)
				return answer.GetJob(), unconfirmed(ctx, a, err, "CleanupJob", "name",
					req.GetName())
			})
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		was, err := getJob(ctx, a, req.GetName())
		if err != nil {
			return err
		}
		answer, err := a.jobs.CleanupJob(ctx, req)
		if err != nil {
			return err
		}
		return c.plan(cleanupPlan(was, answer.GetJob()))
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
	only.Steps = filter(only.GetSteps(), func(step *cpv1.Step) bool {
		ahead := step.GetState() == cpv1.Step_STATE_PENDING ||
			step.GetState() == cpv1.Step_STATE_UNSPECIFIED
		return !had[step.GetName()] || ahead && len(step.GetChanged()) > 0
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
