package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newJobCleanup() *cobra.Command {
	w := waitFlags{}
	var dryRun bool
	cmd := &cobra.Command{
		Use: "cleanup JOB", Short: "Remove exactly what a failed or cancelled job made",
		Args: words([]string{"JOB"}),
		Long: `Remove exactly what a failed or cancelled job made, found by its tags: machines, volumes, snapshots, accounts. Nothing else is touched.

Afterwards the job can no longer be retried. The exit code is 0 when everything was removed, though the job stays failed or cancelled.`,
		Example: `  understudy job cleanup JOB --dry-run
  understudy job cleanup JOB`,
		ValidArgsFunction: c.complete(c.jobIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(jobKind, args[0])
			if err != nil {
				return err
			}
			return c.cleanupJob(ctx, &cpv1.CleanupJobRequest{Name: name, ValidateOnly: dryRun}, w)
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed; remove nothing")
	w.add(cmd)
	return cmd
}

func (c *cli) cleanupJob(ctx context.Context, req *cpv1.CleanupJobRequest, w waitFlags) error {
	send := func(ctx context.Context, a *api) (*cpv1.Job, error) {
		answer, err := a.jobs.CleanupJob(ctx, req)
		return answer.GetJob(), err
	}
	if !req.GetValidateOnly() {
		return c.onJob(ctx, w, cleanedUp, send)
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		was, err := getJob(ctx, a, req.GetName())
		if err != nil {
			return err
		}
		plan, err := send(ctx, a)
		if err != nil {
			return err
		}
		return c.plan(cleanupPlan(was, plan))
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
