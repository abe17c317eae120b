package wire

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
)

// Starter starts jobs for the services.
type Starter interface {
	// Start makes the job and answers with it, or with the one that the same request id made
	// before.
	Start(ctx context.Context, ask workflow.Ask) (job.Job, error)
	// Plan says what the job would find and do, as a job without an id. It starts nothing.
	Plan(ctx context.Context, ask workflow.Ask) (job.Job, error)
}

// StartOrPlan is what a request with `validate_only` asks for.
func StartOrPlan(ctx context.Context, jobs Starter, validateOnly bool,
	ask workflow.Ask) (job.Job, error) {
	if validateOnly {
		made, err := jobs.Plan(ctx, ask)
		return made, Err(err)
	}
	made, err := jobs.Start(ctx, ask)
	return made, Err(err)
}
