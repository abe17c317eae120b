package query

import (
	"context"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// PastJobs reads jobs, also those of which nothing but events is left.
type PastJobs struct {
	Jobs interface {
		// Get reads a job, or answers errs.NotFound.
		Get(ctx context.Context, id string) (job.Job, error)
	}
	Events Events
}

// Get reads a job; of one that was pruned it knows ID and state alone.
func (p PastJobs) Get(ctx context.Context, id string) (job.Job, error) {
	j, err := p.Jobs.Get(ctx, id)
	if !errors.Is(err, errs.NotFound) {
		return j, err
	}
	for _, end := range []job.State{job.Succeeded, job.Failed, job.Cancelled} {
		past, _, readErr := p.Events.Events(ctx, EventFilter{Job: id, Action: "job." + string(end)},
			1, "")
		if readErr != nil {
			return j, readErr
		}
		if len(past) > 0 {
			return job.Job{ID: id, State: end}, nil
		}
	}
	return j, err
}
